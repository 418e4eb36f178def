// Numbers of every type as float32, without LibTorch.
#include <cmath>

#include "tests/weights/helpers.h"

namespace hornet::weights {
namespace {

template <typename T>
std::vector<float> floats_of(DType dtype, const std::vector<T>& elements) {
  const auto size = static_cast<int64_t>(elements.size());
  return to_floats({dtype, {size}, {1}, reinterpret_cast<const std::byte*>(elements.data())});
}

TEST(ToFloats, KnowsHalfPrecision) {
  const std::vector<float> values = floats_of<uint16_t>(
      DType::kFloat16, {0x3c00, 0xc000, 0x3555, 0x7bff, 0x0001, 0x8000, 0x0400, 0x7c00, 0xfc00});
  EXPECT_EQ(values[0], 1.0f);
  EXPECT_EQ(values[1], -2.0f);
  EXPECT_EQ(values[2], 0.333251953125f);
  EXPECT_EQ(values[3], 65504.0f);
  EXPECT_EQ(values[4], std::ldexp(1.0f, -24));  // the smallest, without an implicit one
  EXPECT_TRUE(values[5] == 0.0f && std::signbit(values[5]));
  EXPECT_EQ(values[6], std::ldexp(1.0f, -14));
  EXPECT_EQ(values[7], HUGE_VALF);
  EXPECT_EQ(values[8], -HUGE_VALF);
  EXPECT_TRUE(std::isnan(floats_of<uint16_t>(DType::kFloat16, {0x7e00})[0]));
}

TEST(ToFloats, KnowsTheOtherTypes) {
  EXPECT_EQ(floats_of<uint16_t>(DType::kBFloat16, {0x3fc0, 0xc000}),
            (std::vector<float>{1.5f, -2.0f}));
  EXPECT_EQ(floats_of<float>(DType::kFloat32, {0.1f, -3.5f}), (std::vector<float>{0.1f, -3.5f}));
  EXPECT_EQ(floats_of<double>(DType::kFloat64, {0.1, 1e300}),
            (std::vector<float>{0.1f, HUGE_VALF}));
  EXPECT_EQ(floats_of<int64_t>(DType::kInt64, {-7}), std::vector<float>{-7.0f});
  EXPECT_EQ(floats_of<int8_t>(DType::kInt8, {-7, 5}), (std::vector<float>{-7.0f, 5.0f}));
  EXPECT_EQ(floats_of<uint8_t>(DType::kUInt8, {255}), std::vector<float>{255.0f});
}

TEST(ToFloats, FollowsStridesAndUnalignedData) {
  const std::vector<float> grid = {0, 1, 2, 3, 4, 5};
  const auto* start = reinterpret_cast<const std::byte*>(grid.data());
  EXPECT_EQ(to_floats({DType::kFloat32, {3, 2}, {1, 3}, start}),
            (std::vector<float>{0, 3, 1, 4, 2, 5}));
  std::string bytes = "x" + bytes_of(1.25f) + bytes_of(-0.5f);
  EXPECT_EQ(to_floats({DType::kFloat32, {2}, {1}, reinterpret_cast<std::byte*>(bytes.data()) + 1}),
            (std::vector<float>{1.25f, -0.5f}));
  EXPECT_TRUE(to_floats({DType::kFloat32, {0}, {1}, start}).empty());
}

}  // namespace
}  // namespace hornet::weights
