// Whole safetensors files, or else the JSON header of one, to which the length and some data are
// added: mutations of the header need not get the length right.
#include <hornet/backbone/error.h>

#include "touch_tensors.h"

namespace {

constexpr size_t kLengthSize = 8;
constexpr size_t kDataSize = 64;

// length, header, and some bytes for tensors to point at.
std::vector<std::byte> with_length(const uint8_t* header, uint64_t size) {
  std::vector<std::byte> file(kLengthSize + size + kDataSize);
  for (size_t i = 0; i < kLengthSize; ++i) file[i] = static_cast<std::byte>(size >> (8 * i));
  for (size_t i = 0; i < size; ++i) file[kLengthSize + i] = static_cast<std::byte>(header[i]);
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const bool whole = size > kLengthSize && data[kLengthSize] == '{';
  const auto* start = reinterpret_cast<const std::byte*>(data);
  const auto file = whole ? std::vector<std::byte>(start, start + size) : with_length(data, size);
  try {
    hornet::weights::touch_tensors(hornet::weights::parse(file.data(), file.size(), "fuzz"));
  } catch (const hornet::Error&) {
  }
  return 0;
}
