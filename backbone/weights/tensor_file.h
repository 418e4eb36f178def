// Named tensors in a file: the checkpoints that PyTorch users hold, read without LibTorch.
//
// read() takes what `torch.save` has written (.pth, .pt: the zip layout and the older one),
// and .safetensors. A pickle is a program; this reader is not an interpreter for it. It knows
// the opcodes that torch.save writes, builds plain values, and never imports, constructs or calls
// anything that the file names. Objects of unknown classes in parts that are not needed
// (argparse.Namespace, numpy scalars, optimizer state) become opaque values.
//
//   weights::File file = weights::read("hornet_tiny_gf_in1k.pth");
//   for (const auto& [name, tensor] : file.tensors) ...
//
// The state dict is found by itself: under 'state_dict', 'model', or at the top. A `module.`
// prefix that all its keys share is removed. The file stays mapped while a File (or a copy of
// it) lives; tensors point into the mapping. Every extent is checked against the file's size
// before it is believed, with overflow checked before each multiplication, and no tensor is
// larger than its file. Compressed, encrypted and big-endian files are refused; checksums are
// not verified.
//
// Errors: hornet::Error(kWeights) that names the file and what is wrong with it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace hornet::weights {

enum class DType {
  kFloat64,
  kFloat32,
  kFloat16,
  kBFloat16,
  kInt64,
  kInt32,
  kInt16,
  kInt8,
  kUInt8,
  kBool
};

int64_t element_size(DType dtype);    // bytes
const char* dtype_name(DType dtype);  // "float32", "bfloat16", ...

// A strided view into a mapped file. `data` is the first element and may be unaligned.
struct Tensor {
  DType dtype = DType::kFloat32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements, one per dimension, never negative
  const std::byte* data = nullptr;

  int64_t numel() const;
  bool is_contiguous() const;
};

// The elements in row-major order, rounded to float32 where they are not that already.
std::vector<float> to_floats(const Tensor& tensor);

// What a checkpoint says about itself, where it does.
struct Metadata {
  std::vector<std::string> classes;             // meta.CLASSES or dataset_meta.classes
  std::vector<std::array<uint8_t, 3>> palette;  // RGB, one per class
  std::map<std::string, std::string> entries;   // meta's other scalars as text ("epoch",
                                                // "config", ...); safetensors' metadata
};

struct File {
  std::filesystem::path path;
  std::string format;                     // "torch zip", "torch legacy", "safetensors"
  std::map<std::string, Tensor> tensors;  // the state dict
  Metadata meta;
  std::shared_ptr<const void> storage;  // keeps what the tensors point into alive
};

// Reads a checkpoint; the format is recognised by content, not by name.
File read(const std::filesystem::path& path);

// The same for bytes in memory (they are not copied and must outlive the File); `name` stands
// for the path in messages. This is what the fuzzers call.
File parse(const std::byte* data, size_t size, const std::string& name);

// Writes contiguous copies of `tensors`. The file appears under its name when it is complete
// (written beside it and renamed), or not at all: then there is an Error(kOutput). safetensors
// metadata is text to text; classes and palette are kept in it as the JSON entries "classes" and
// "palette".
void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, Tensor>& tensors, const Metadata& meta = {});

// Writes {'state_dict': {...}, 'meta': {...}} in torch.save's zip layout, which
// torch.load(weights_only=True) reads; meta holds CLASSES, PALETTE and the entries.
void write_pth(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
               const Metadata& meta = {});

}  // namespace hornet::weights
