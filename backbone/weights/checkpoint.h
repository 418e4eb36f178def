// From a checkpoint file into modules, and back.
//
// load() copies by name and is strict: every parameter and buffer of the module must be in the
// file with the same shape, and every tensor of the file must have a place in the module;
// otherwise an Error(kWeights) lists what is missing, unexpected and of another shape, in a table.
// BatchNorm's num_batches_tracked counters are of no use at inference and may come and go.
#pragma once

#include <hornet/backbone/weights/tensor_file.h>
#include <torch/nn/module.h>

#include <functional>
#include <string>
#include <vector>

namespace hornet::weights {

struct LoadOptions {
  std::string prefix;          // load only the file's keys below it ("backbone."), without it
  bool allow_partial = false;  // load what fits and only report the rest
  // What messages call a key, where the file's tensors have been renamed.
  std::function<std::string(const std::string&)> shown_as = {};
};

struct LoadReport {
  int64_t loaded = 0;                   // tensors copied
  int64_t expected = 0;                 // tensors that the module has
  std::vector<std::string> missing;     // in the module, not in the file
  std::vector<std::string> unexpected;  // in the file, not in the module
  std::vector<std::string> mismatched;  // "key: file [8,3], model [8,4]"
  bool complete() const { return missing.empty() && unexpected.empty() && mismatched.empty(); }
  std::string table() const;  // a line per key, at most 20 of a kind
};

// Copies the file's tensors into the module's parameters and buffers, converting types.
LoadReport load(torch::nn::Module& module, const File& file, const LoadOptions& options = {});

// A tensor of the file as a tensor of its own, on the CPU, in the file's type.
torch::Tensor to_torch(const Tensor& tensor);

// Views of CPU tensors for write_safetensors and write_pth; `tensor` must stay alive.
Tensor from_torch(const torch::Tensor& tensor);

// All parameters and buffers of a module as the file format that the path's extension names
// (.safetensors, or .pth and .pt).
void save(const torch::nn::Module& module, const std::filesystem::path& path,
          const Metadata& meta = {});

// {name: tensor} to a .safetensors file.
void save_tensors(const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                  const std::filesystem::path& path);

}  // namespace hornet::weights
