#include <hornet/backbone/weights/internal/output.h>
#include <hornet/backbone/weights/tensor_file.h>

#include <cmath>
#include <cstring>

namespace hornet::weights {
namespace {

// IEEE binary16: one bit of sign, five of exponent, ten of mantissa.
float from_half(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f, mantissa = bits & 0x3ff;
  float value = 0;
  if (exponent == 0) {
    value = std::ldexp(static_cast<float>(mantissa), -24);
  } else if (exponent == 0x1f) {
    value = mantissa ? std::nanf("") : HUGE_VALF;
  } else {
    value = std::ldexp(static_cast<float>(mantissa | 0x400), exponent - 25);
  }
  return bits & 0x8000 ? -value : value;
}

// The upper half of a binary32.
float from_bfloat16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

template <typename T, typename Convert>
std::vector<float> convert(internal::Bytes bytes, Convert&& to_float) {
  std::vector<float> values(bytes.size / sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    T element;
    std::memcpy(&element, bytes.data + i * sizeof(T), sizeof(T));
    values[i] = to_float(element);
  }
  return values;
}

template <typename T>
std::vector<float> convert(internal::Bytes bytes) {
  return convert<T>(bytes, [](T element) { return static_cast<float>(element); });
}

}  // namespace

std::vector<float> to_floats(const Tensor& tensor) {
  std::string buffer;
  const internal::Bytes bytes = internal::contiguous_bytes(tensor, buffer);
  switch (tensor.dtype) {
    case DType::kFloat64:
      return convert<double>(bytes);
    case DType::kFloat32:
      return convert<float>(bytes);
    case DType::kFloat16:
      return convert<uint16_t>(bytes, from_half);
    case DType::kBFloat16:
      return convert<uint16_t>(bytes, from_bfloat16);
    case DType::kInt64:
      return convert<int64_t>(bytes);
    case DType::kInt32:
      return convert<int32_t>(bytes);
    case DType::kInt16:
      return convert<int16_t>(bytes);
    case DType::kInt8:
      return convert<int8_t>(bytes);
    case DType::kUInt8:
    case DType::kBool:
      return convert<uint8_t>(bytes);
  }
  return {};
}

}  // namespace hornet::weights
