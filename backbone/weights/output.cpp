#include <fcntl.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/internal/output.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace hornet::weights::internal {
namespace {

std::filesystem::path temporary_name(const std::filesystem::path& path) {
  static std::atomic<int> count{0};
  auto name = path.filename();
  name += ".tmp-" + std::to_string(getpid()) + "-" + std::to_string(count++);
  return path.parent_path() / name;
}

void copy_strided(const Tensor& tensor, char* out) {
  const auto size = static_cast<size_t>(element_size(tensor.dtype));
  std::vector<int64_t> index(tensor.shape.size(), 0);
  int64_t at = 0;
  for (int64_t left = tensor.numel(); left > 0; --left, out += size) {
    std::memcpy(out, tensor.data + at * static_cast<int64_t>(size), size);
    for (size_t d = index.size(); d-- > 0;) {
      at += tensor.strides[d];
      if (++index[d] < tensor.shape[d]) break;
      at -= index[d] * tensor.strides[d];
      index[d] = 0;
    }
  }
}

bool is_utf8(const std::string& text) {
  try {
    nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

}  // namespace

OutputFile::OutputFile(std::filesystem::path path)
    : path_(std::move(path)), temporary_(temporary_name(path_)) {
  descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(std::strerror(errno));
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) {
    close(descriptor_);
    unlink(temporary_.c_str());
  }
}

void OutputFile::write(const void* data, size_t size) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(descriptor_, next, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(std::strerror(errno));
    next += written;
    size -= static_cast<size_t>(written);
  }
}

void OutputFile::write(const Tensor& tensor) {
  std::string buffer;
  const Bytes bytes = contiguous_bytes(tensor, buffer);
  write(bytes.data, bytes.size);
}

void OutputFile::commit() {
  if (fsync(descriptor_) != 0) fail(std::strerror(errno));
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail(std::strerror(errno));
  close(descriptor_);
  descriptor_ = -1;
}

void OutputFile::fail(const std::string& what) const {
  throw Error(ErrorCode::kOutput, path_.string() + " cannot be written: " + what);
}

Bytes contiguous_bytes(const Tensor& tensor, std::string& buffer) {
  const auto size = static_cast<size_t>(tensor.numel() * element_size(tensor.dtype));
  if (tensor.is_contiguous()) return {tensor.data, size};
  buffer.resize(size);
  copy_strided(tensor, buffer.data());
  return {reinterpret_cast<const std::byte*>(buffer.data()), size};
}

void require_utf8(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                  const Metadata& meta) {
  const auto require = [&path](const std::string& text) {
    if (!is_utf8(text)) {
      throw Error(ErrorCode::kOutput,
                  path.string() + " cannot be written: " + in_quotes(text) + " is not UTF-8");
    }
  };
  for (const auto& named : tensors) require(named.first);
  for (const auto& name : meta.classes) require(name);
  for (const auto& [key, text] : meta.entries) {
    require(key);
    require(text);
  }
}

}  // namespace hornet::weights::internal
