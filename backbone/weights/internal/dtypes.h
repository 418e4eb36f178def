// What each element type is called in the formats, one row per type.
#pragma once

#include <hornet/backbone/weights/tensor_file.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace hornet::weights::internal {

struct DTypeRow {
  DType dtype;
  int64_t size;               // bytes per element
  const char* name;           // as in torch.float32
  const char* torch_storage;  // as in torch.FloatStorage
  const char* safetensors;
};

// In the order of the enumeration.
inline constexpr std::array<DTypeRow, 10> kDTypes = {{
    {DType::kFloat64, 8, "float64", "DoubleStorage", "F64"},
    {DType::kFloat32, 4, "float32", "FloatStorage", "F32"},
    {DType::kFloat16, 2, "float16", "HalfStorage", "F16"},
    {DType::kBFloat16, 2, "bfloat16", "BFloat16Storage", "BF16"},
    {DType::kInt64, 8, "int64", "LongStorage", "I64"},
    {DType::kInt32, 4, "int32", "IntStorage", "I32"},
    {DType::kInt16, 2, "int16", "ShortStorage", "I16"},
    {DType::kInt8, 1, "int8", "CharStorage", "I8"},
    {DType::kUInt8, 1, "uint8", "ByteStorage", "U8"},
    {DType::kBool, 1, "bool", "BoolStorage", "BOOL"},
}};

constexpr const DTypeRow& dtype_row(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

// The type that a format calls `text` in the given column, e.g. &DTypeRow::safetensors.
inline std::optional<DType> find_dtype(const char* const DTypeRow::*column, std::string_view text) {
  for (const DTypeRow& row : kDTypes) {
    if (text == row.*column) return row.dtype;
  }
  return std::nullopt;
}

// Row-major strides.
inline std::vector<int64_t> contiguous_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t step = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = step;
    if (shape[d] > 1) step *= shape[d];
  }
  return strides;
}

}  // namespace hornet::weights::internal
