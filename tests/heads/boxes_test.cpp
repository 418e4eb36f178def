// Anchors and box decoding, number by number.
#include <gtest/gtest.h>
#include <hornet/heads/boxes.h>

#include "tests/modules.h"

namespace hornet {
namespace {

using testing::expect_close;
using torch::Tensor;
constexpr DeltaStds kOnes = {1.0, 1.0, 1.0, 1.0};

// (y, x, anchor): centred on the corner of each cell, as wide as stride * scale / sqrt(ratio).
Tensor reference_anchors(const AnchorOptions& options, int64_t height, int64_t width,
                         int64_t stride) {
  std::vector<float> values;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (const double ratio : options.ratios) {
        for (const double scale : options.scales) {
          const double half_w = 0.5 * static_cast<double>(stride) * scale / std::sqrt(ratio);
          const double half_h = 0.5 * static_cast<double>(stride) * scale * std::sqrt(ratio);
          const auto cx = static_cast<double>(x * stride), cy = static_cast<double>(y * stride);
          for (const double v : {cx - half_w, cy - half_h, cx + half_w, cy + half_h}) {
            values.push_back(static_cast<float>(v));
          }
        }
      }
    }
  }
  return torch::tensor(values).view({-1, 4});
}

TEST(Anchors, AreWhereTheDefinitionSays) {
  for (const int64_t stride : {4, 16, 64}) {
    const Tensor anchors = level_anchors({}, 5, 7, stride, torch::kCPU);
    EXPECT_EQ(anchors.scalar_type(), torch::kFloat);
    expect_close(anchors, reference_anchors({}, 5, 7, stride), 1e-6);
  }
  AnchorOptions many;
  many.scales = {4.0, 8.0};
  many.ratios = {0.3, 2.0, 3.0};
  EXPECT_EQ(many.per_position(), 6);
  expect_close(level_anchors(many, 1, 3, 8, torch::kCPU), reference_anchors(many, 1, 3, 8), 1e-6);
}

TEST(Anchors, AreNotRounded) {
  const Tensor first = level_anchors({}, 1, 1, 4, torch::kCPU)[0];
  expect_close(first, torch::tensor({-22.627417f, -11.3137085f, 22.627417f, 11.3137085f}), 1e-7);
}

TEST(Anchors, AreRoundedOnRequest) {
  AnchorOptions options;
  options.rounded = true;
  const Tensor anchors = level_anchors(options, 1, 2, 4, torch::kCPU);
  expect_close(anchors[0], torch::tensor({-23.f, -11.f, 23.f, 11.f}), 0);
  expect_close(anchors[4], torch::tensor({-12.f, -16.f, 20.f, 16.f}), 0);
}

TEST(Anchors, StepAsTheInputFitsTheMapOnRequest) {
  AnchorOptions options;
  options.fit_input = true;
  // A map of 13 rows for 800 pixels: every second one of 25, so 61 pixels a step and not 64.
  const Tensor anchors = level_anchors(options, 13, 21, 64, torch::kCPU, {800, 1344});
  const Tensor first = level_anchors({}, 1, 1, 64, torch::kCPU)[0];
  const Tensor step = torch::tensor({64.f, 61.f, 64.f, 61.f});
  expect_close(anchors.view({13, 21, 3, 4})[12][20][0],
               first + step * torch::tensor({20.f, 12.f, 20.f, 12.f}), 1e-6);
  EXPECT_EQ(level_anchors(options, 0, 0, 64, torch::kCPU, {0, 0}).size(0), 0);
}

TEST(Anchors, AreNoneOnAnEmptyMap) {
  EXPECT_EQ(level_anchors({}, 0, 7, 4, torch::kCPU).sizes(), (torch::IntArrayRef{0, 4}));
}

float clip(float value, int64_t limit) {
  return std::min(std::max(value, 0.f), static_cast<float>(limit));
}

// One axis of one box: low and high end, moved by a shift and a log ratio.
std::pair<float, float> move(float low, float high, float shift, float log_ratio) {
  const float largest = std::log(1000.f / 16.f);
  const float size = high - low, centre = (low + high) * 0.5f + size * shift;
  const float half = 0.5f * size * std::exp(std::min(std::max(log_ratio, -largest), largest));
  return {centre - half, centre + half};
}

Tensor reference_decode(const Tensor& boxes, const Tensor& deltas, const DeltaStds& stds,
                        const ImageSize& image) {
  Tensor out = torch::empty_like(deltas);
  const auto box = boxes.accessor<float, 2>(), delta = deltas.accessor<float, 2>();
  auto moved = out.accessor<float, 2>();
  for (int64_t k = 0; k < boxes.size(0); ++k) {
    for (int64_t c = 0; c < deltas.size(1); c += 4) {
      const auto d = [&](int64_t i) { return delta[k][c + i] * static_cast<float>(stds[i]); };
      const auto [x1, x2] = move(box[k][0], box[k][2], d(0), d(2));
      const auto [y1, y2] = move(box[k][1], box[k][3], d(1), d(3));
      moved[k][c] = clip(x1, image.width);
      moved[k][c + 1] = clip(y1, image.height);
      moved[k][c + 2] = clip(x2, image.width);
      moved[k][c + 3] = clip(y2, image.height);
    }
  }
  return out;
}

Tensor random_boxes(int64_t n) {
  const Tensor corners = torch::rand({n, 2}) * 80;
  return torch::cat({corners, corners + torch::rand({n, 2}) * 40}, 1);
}

TEST(DecodeDeltas, MovesEveryClassOnItsOwn) {
  torch::manual_seed(1);
  const Tensor boxes = random_boxes(9);
  for (const int64_t classes : {1, 3}) {
    const Tensor deltas = torch::randn({9, 4 * classes});
    for (const DeltaStds& stds :
         {kOnes, DeltaStds{0.1, 0.1, 0.2, 0.2}, DeltaStds{0.033, 0.05, 0.067, 0.5}}) {
      const Tensor moved = decode_deltas(boxes, deltas, stds, {90, 110});
      ASSERT_EQ(moved.sizes(), deltas.sizes());
      expect_close(moved, reference_decode(boxes, deltas, stds, {90, 110}));
    }
  }
}

TEST(DecodeDeltas, LeavesBoxesWhereTheyAreWithoutDeltas) {
  const Tensor boxes = random_boxes(5);
  expect_close(decode_deltas(boxes, torch::zeros({5, 4}), kOnes, {200, 200}), boxes);
}

TEST(DecodeDeltas, ClipsToTheImage) {
  const Tensor box = torch::tensor({{10.f, 20.f, 30.f, 60.f}});
  const ImageSize image = {100, 50};
  const auto moved = [&](float dx, float dy) {
    return decode_deltas(box, torch::tensor({{dx, dy, 0.f, 0.f}}), kOnes, image);
  };
  expect_close(moved(1, 1), torch::tensor({{30.f, 60.f, 50.f, 100.f}}));
  expect_close(moved(2, 2), torch::tensor({{50.f, 100.f, 50.f, 100.f}}));
  expect_close(moved(-1, -1), torch::tensor({{0.f, 0.f, 10.f, 20.f}}));
  expect_close(moved(-9, -9), torch::tensor({{0.f, 0.f, 0.f, 0.f}}));
}

TEST(DecodeDeltas, LimitsTheChangeOfSizeButNotOfPlace) {
  const Tensor box = torch::tensor({{5000.f, 5000.f, 5016.f, 5016.f}});
  const ImageSize image = {100000, 100000};
  const auto moved = [&](std::vector<float> deltas) {
    return decode_deltas(box, torch::tensor(deltas).view({1, 4}), kOnes, image);
  };
  expect_close(moved({0, 0, 50, 50}), torch::tensor({{4508.f, 4508.f, 5508.f, 5508.f}}), 1e-6);
  expect_close(moved({0, 0, -50, -50}),
               torch::tensor({{5007.872f, 5007.872f, 5008.128f, 5008.128f}}), 1e-6);
  expect_close(moved({500, 100, 0, 0}), torch::tensor({{13000.f, 6600.f, 13016.f, 6616.f}}), 1e-6);
}

TEST(DecodeDeltas, ShrinksFreelyOnRequest) {
  const Tensor box = torch::tensor({{0.f, 0.f, 100.f, 100.f}});
  const Tensor deltas = torch::tensor({{0.f, 0.f, -9.f, 9.f}});
  const Tensor moved = decode_deltas(box, deltas, kOnes, {9000, 9000}, /*limit_shrinking=*/false);
  EXPECT_NEAR((moved[0][2] - moved[0][0]).item<float>(), 100 * std::exp(-9.0), 1e-5);
  EXPECT_NEAR((moved[0][3] - moved[0][1]).item<float>(), 50 + 3125, 1e-3);  // half is clipped
}

TEST(ApplyDeltas, IsDecodingWithoutTheClip) {
  const Tensor box = torch::tensor({{10.f, 20.f, 30.f, 60.f}});
  const Tensor moved = apply_deltas(box, torch::tensor({{2.f, -2.f, 0.f, 0.f}}), kOnes);
  expect_close(moved, torch::tensor({{50.f, -60.f, 70.f, -20.f}}));
}

TEST(EncodeDeltas, AreShiftsAndLogRatios) {
  const Tensor box = torch::tensor({{0.f, 0.f, 10.f, 20.f}});
  const Tensor object = torch::tensor({{10.f, 10.f, 30.f, 20.f}});
  const float log2 = std::log(2.f);
  expect_close(encode_deltas(box, object, {0.1, 0.1, 0.2, 0.2}),
               torch::tensor({{15.f, 2.5f, 5 * log2, -5 * log2}}));
  EXPECT_EQ(encode_deltas(torch::empty({0, 4}), torch::empty({0, 4}), kOnes).sizes(),
            (torch::IntArrayRef{0, 4}));
  EXPECT_THROW(encode_deltas(box, torch::zeros({2, 4}), kOnes), c10::Error);
}

TEST(EncodeDeltas, AreWhatApplyDeltasTakesBack) {
  torch::manual_seed(2);
  const DeltaStds stds = {0.033, 0.05, 0.067, 0.5};
  const Tensor boxes = random_boxes(9) + torch::tensor({0.f, 0.f, 5.f, 5.f});
  const Tensor objects = random_boxes(9) + torch::tensor({0.f, 0.f, 5.f, 5.f});
  expect_close(apply_deltas(boxes, encode_deltas(boxes, objects, stds), stds), objects, 1e-4);
}

TEST(LargeEnough, NeedsBothSides) {
  const Tensor boxes = torch::tensor({{0.f, 0.f, 2.f, 2.f},
                                      {0.f, 0.f, 2.f, 1.f},
                                      {5.f, 5.f, 5.f, 9.f},
                                      {9.f, 0.f, 3.f, 9.f},
                                      {0.f, 0.f, 0.5f, 2.f}});
  const auto rows = [&](double size) { return large_enough(boxes, size); };
  EXPECT_TRUE(rows(0).equal(torch::tensor({0, 1, 4}, torch::kLong)));
  EXPECT_TRUE(rows(1).equal(torch::tensor({0, 1}, torch::kLong)));
  EXPECT_EQ(large_enough(torch::empty({0, 4}), 1).size(0), 0);
}

TEST(DecodeDeltas, TakesNoBoxes) {
  EXPECT_EQ(decode_deltas(torch::empty({0, 4}), torch::empty({0, 12}), kOnes, {9, 9}).sizes(),
            (torch::IntArrayRef{0, 12}));
}

TEST(DecodeDeltas, RefusesShapesThatDoNotMatch) {
  EXPECT_THROW(decode_deltas(torch::zeros({2, 4}), torch::zeros({3, 4}), kOnes, {9, 9}),
               c10::Error);
  EXPECT_THROW(decode_deltas(torch::zeros({2, 4}), torch::zeros({2, 6}), kOnes, {9, 9}),
               c10::Error);
  EXPECT_THROW(decode_deltas(torch::zeros({2, 5}), torch::zeros({2, 4}), kOnes, {9, 9}),
               c10::Error);
}

}  // namespace
}  // namespace hornet
