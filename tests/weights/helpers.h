// What the tests of the readers and writers share.
#pragma once

#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/tensor_file.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace hornet::weights {

inline std::filesystem::path checkpoint(const std::string& name) {
  return std::filesystem::path(HORNET_TEST_DATA) / "checkpoints" / name;
}

inline std::string load_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// parse() on a copy of exactly the text's size, so that sanitizers see reads beyond it.
inline File parse_text(const std::string& text) {
  const auto* start = reinterpret_cast<const std::byte*>(text.data());
  const auto bytes = std::make_shared<std::vector<std::byte>>(start, start + text.size());
  File file = parse(bytes->data(), bytes->size(), "memory");
  file.storage = bytes;
  return file;
}

// The message of the Error that `action` throws, which must be one of `code`.
template <typename Action>
std::string error_of(Action action, ErrorCode code = ErrorCode::kWeights) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

inline std::string error_of_text(const std::string& text) {
  return error_of([&text] { parse_text(text); });
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

// The elements in row-major order.
template <typename T>
std::vector<T> values(const Tensor& tensor) {
  std::vector<T> out;
  std::vector<int64_t> index(tensor.shape.size(), 0);
  for (int64_t left = tensor.numel(); left > 0; --left) {
    int64_t at = 0;
    for (size_t d = 0; d < index.size(); ++d) at += index[d] * tensor.strides[d];
    T value;
    std::memcpy(&value, tensor.data + at * static_cast<int64_t>(sizeof(T)), sizeof(T));
    out.push_back(value);
    for (size_t d = index.size(); d-- > 0 && ++index[d] == tensor.shape[d];) index[d] = 0;
  }
  return out;
}

// The little-endian bytes of a number.
template <typename T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// A folder that goes away with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = ::testing::TempDir() + "hornet-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  size_t file_count() const {
    return std::distance(std::filesystem::directory_iterator(path_), {});
  }

 private:
  std::filesystem::path path_;
};

}  // namespace hornet::weights
