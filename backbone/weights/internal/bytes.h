// Bytes that nobody vouches for: views whose every step is checked against their end.
//
// Parsers throw FormatError with what is wrong; parse() adds the file's name and makes it a
// hornet::Error. All formats here are little-endian, as are the machines that this runs on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

namespace hornet::weights::internal {

struct FormatError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Bytes {
  const std::byte* data = nullptr;
  size_t size = 0;

  std::string_view text() const { return {reinterpret_cast<const char*>(data), size}; }

  Bytes sub(uint64_t offset, uint64_t length) const {
    if (offset > size || length > size - offset) {
      throw FormatError("it is cut short: bytes " + std::to_string(offset) + " + " +
                        std::to_string(length) + " are needed, " + std::to_string(size) +
                        " are there");
    }
    return {data + offset, static_cast<size_t>(length)};
  }
};

// Reads values one after the other.
class Cursor {
 public:
  explicit Cursor(Bytes bytes, uint64_t position = 0) : bytes_(bytes), position_(position) {}

  uint64_t position() const { return position_; }

  Bytes take(uint64_t length) {
    const Bytes taken = bytes_.sub(position_, length);
    position_ += length;
    return taken;
  }

  template <typename T>
  T read() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data, sizeof(T));
    return value;
  }

  // Up to the next newline, which is passed over.
  std::string_view line() {
    const std::string_view rest = bytes_.text().substr(position_);
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) throw FormatError("it is cut short: a line has no end");
    position_ += end + 1;
    return rest.substr(0, end);
  }

 private:
  Bytes bytes_;
  uint64_t position_;
};

constexpr size_t kMostDimensions = 64;  // of a tensor, as in PyTorch

inline int64_t checked_add(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) throw FormatError("a size exceeds 64 bits");
  return sum;
}

inline int64_t checked_multiply(int64_t a, int64_t b) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) throw FormatError("a size exceeds 64 bits");
  return product;
}

// The number of elements of a shape whose sizes come from a file.
template <typename Shape>
int64_t checked_numel(const Shape& shape) {
  if (shape.size() > kMostDimensions) {
    throw FormatError("it has " + std::to_string(shape.size()) + " dimensions");
  }
  int64_t numel = 1;
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) throw FormatError("a dimension is negative: " + std::to_string(size));
    if (size == 0) {
      empty = true;
    } else {
      numel = checked_multiply(numel, size);
    }
  }
  return empty ? 0 : numel;
}

// A name from a file, quoted and fit for a terminal: no control characters, not endless.
inline std::string in_quotes(std::string_view name) {
  constexpr size_t kLongest = 120;
  std::string text(name.substr(0, kLongest));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return "'" + text + (name.size() > kLongest ? "...'" : "'");
}

}  // namespace hornet::weights::internal
