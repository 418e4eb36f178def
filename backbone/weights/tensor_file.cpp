#include <fcntl.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/internal/dtypes.h>
#include <hornet/backbone/weights/internal/formats.h>
#include <hornet/backbone/weights/tensor_file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace hornet::weights {
namespace {

using internal::Bytes;

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw Error(ErrorCode::kWeights, name + " cannot be read: " + what);
}

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

struct Mapping {
  std::shared_ptr<const void> owner;
  Bytes bytes;
};

Mapping map_file(const std::filesystem::path& path) {
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.number < 0) fail(path.string(), std::strerror(errno));
  struct stat status {};
  if (fstat(file.number, &status) != 0) fail(path.string(), std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(path.string(), "it is not a file");
  if (status.st_size == 0) fail(path.string(), "it is empty");
  const auto size = static_cast<size_t>(status.st_size);
  void* start = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (start == MAP_FAILED) fail(path.string(), std::strerror(errno));
  const auto unmap = [size](const void* address) { munmap(const_cast<void*>(address), size); };
  return {std::shared_ptr<const void>(start, unmap), {static_cast<const std::byte*>(start), size}};
}

bool starts_with(Bytes file, std::string_view start) {
  return file.text().substr(0, start.size()) == start;
}

// What people hold in their hands instead of a checkpoint.
std::string describe_stranger(Bytes file) {
  constexpr size_t kTarMagicAt = 257;
  if (file.size > kTarMagicAt + 5 && file.text().substr(kTarMagicAt, 5) == "ustar") {
    return "it has the tar layout of PyTorch before 0.1.12; load and save it with a newer one";
  }
  if (starts_with(file, "version https://git-lfs")) {
    return "it is a Git LFS pointer, not the file itself; `git lfs pull` fetches that";
  }
  if (starts_with(file, "<")) return "it is a web page; did its download fail?";
  return "it is neither a checkpoint of torch.save nor safetensors";
}

File parse_bytes(Bytes file) {
  if (internal::is_zip(file)) return internal::read_torch_zip(file);
  if (internal::is_safetensors(file)) return internal::read_safetensors(file);
  if (internal::is_pickle(file)) return internal::read_torch_legacy(file);
  throw internal::FormatError(describe_stranger(file));
}

}  // namespace

int64_t element_size(DType dtype) { return internal::dtype_row(dtype).size; }

const char* dtype_name(DType dtype) { return internal::dtype_row(dtype).name; }

int64_t Tensor::numel() const {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

bool Tensor::is_contiguous() const {
  if (numel() == 0) return true;
  const auto expected = internal::contiguous_strides(shape);
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] != 1 && strides[d] != expected[d]) return false;
  }
  return true;
}

File read(const std::filesystem::path& path) {
  const Mapping mapping = map_file(path);
  File file = parse(mapping.bytes.data, mapping.bytes.size, path.string());
  file.storage = mapping.owner;
  return file;
}

File parse(const std::byte* data, size_t size, const std::string& name) {
  try {
    File file = parse_bytes({data, size});
    file.path = name;
    return file;
  } catch (const internal::FormatError& error) {
    fail(name, error.what());
  }
}

}  // namespace hornet::weights
