#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/tiler.h>

namespace hornet {
namespace {

TEST(Tiler, CoversEveryPixelAndKeepsOneSize) {
  for (int size : {33, 63, 64, 65, 107, 200, 1000}) {
    const Tiling tiling = make_tiling({size, 2 * size}, {64, 43}, Blend::kMean);
    EXPECT_EQ(tiling.tile(), cv::Size(std::min(size, 64), std::min(2 * size, 64)));
    EXPECT_EQ(tiling.x.starts.front(), 0);
    EXPECT_EQ(tiling.x.starts.back() + tiling.x.tile, size);
    for (size_t i = 1; i < tiling.x.starts.size(); ++i) {
      EXPECT_GT(tiling.x.starts[i], tiling.x.starts[i - 1]);
      EXPECT_LE(tiling.x.starts[i], tiling.x.starts[i - 1] + tiling.x.tile);
    }
    EXPECT_EQ(tiling.x.length, size);
  }
}

TEST(Tiler, KnowsHowManyWindowsOverlap) {
  const auto overlapping = [](int size, SlideOptions options) {
    return make_tiling({size, 64}, options, Blend::kMean).x.overlapping();
  };
  EXPECT_EQ(overlapping(50, {64, 43}), 1);
  EXPECT_EQ(overlapping(100, {64, 43}), 2);  // at 0 and 36
  EXPECT_EQ(overlapping(110, {64, 43}), 3);  // at 0, 43 and 46
  EXPECT_EQ(overlapping(640, {64, 64}), 1);
  EXPECT_EQ(overlapping(1000, {64, 16}), 5);  // the last is at 936, the one before at 928
  EXPECT_EQ(overlapping(992, {64, 16}), 4);
}

TEST(Tiler, HannIsSymmetricPositiveAndVanishesAtTheBorder) {
  const TileAxis axis = make_tiling({512, 512}, {512, 341}, Blend::kHann).x;
  for (int i = 0; i < 512; ++i) {
    EXPECT_GT(axis.window[i], 0.0f);
    EXPECT_NEAR(axis.window[i], axis.window[511 - i], 1e-6);
  }
  EXPECT_LT(axis.window[0], 1e-4f);
  EXPECT_NEAR(axis.window[255], 1.0f, 1e-4);
}

TEST(Tiler, TouchingIsTheWindowsThatOverlap) {
  const TileAxis axis = make_tiling({1000, 64}, {64, 43}, Blend::kMean).x;
  for (int begin = 0; begin < 1000; begin += 37) {
    const int end = std::min(begin + 50, 1000);
    const auto [first, last] = axis.touching(begin, end);
    for (size_t i = 0; i < axis.starts.size(); ++i) {
      const bool overlaps = axis.starts[i] < end && axis.starts[i] + axis.tile > begin;
      EXPECT_EQ(overlaps, i >= first && i < last) << begin << ' ' << i;
    }
  }
}

TEST(Tiler, KnowsItsBlends) {
  EXPECT_EQ(parse_blend("mean"), Blend::kMean);
  EXPECT_EQ(parse_blend("hann"), Blend::kHann);
  EXPECT_THROW(parse_blend("max"), Error);
}

}  // namespace
}  // namespace hornet
