// A file that appears complete or not at all, and what both writers need besides.
#pragma once

#include <hornet/backbone/weights/internal/bytes.h>
#include <hornet/backbone/weights/tensor_file.h>

#include <filesystem>
#include <map>
#include <string>

namespace hornet::weights::internal {

// Written beside its place under a temporary name, which is removed unless commit() has put the
// file under its own name. Failures are hornet::Error(kOutput).
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, size_t size);
  void write(const Tensor& tensor);  // its elements in row-major order
  void commit();

 private:
  [[noreturn]] void fail(const std::string& what) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

// The tensor's elements in row-major order: its own bytes, or a copy that `buffer` then holds.
Bytes contiguous_bytes(const Tensor& tensor, std::string& buffer);

// Throws hornet::Error(kOutput) where a name or text is not UTF-8, which both formats demand.
void require_utf8(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                  const Metadata& meta);

}  // namespace hornet::weights::internal
