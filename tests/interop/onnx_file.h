// What stands in an ONNX file. In a target of its own: LibTorch brings other protobuf headers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace hornet::testing {

struct OnnxValue {
  std::string name;
  std::vector<int64_t> shape;  // 0 where a dimension has a name
  std::string batch;           // the name of the first dimension
};

struct OnnxFile {
  int64_t opset = 0;
  std::vector<OnnxValue> inputs, outputs;
  std::set<std::string> operations;
};

// Throws if the file is no ONNX, or breaks the rules of its operations.
OnnxFile read_onnx(const std::filesystem::path& path);

}  // namespace hornet::testing
