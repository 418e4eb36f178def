// The kernels of overlapping windows against LibTorch's ops, and against cases done by hand.
#include <gtest/gtest.h>
#include <hornet/heads/ops/blend_windows.h>
#include <hornet/heads/ops/blend_windows_sample.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace hornet::ops {
namespace {

double largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.to(torch::kFloat64) - b.to(torch::kFloat64)).abs().max().item<double>();
}

torch::Tensor composite(const PlacedWindows& windows, const PixelRectangle& part) {
  return blended_scores_composite(windows.logits, windows.x, windows.y, windows.row_weights,
                                  windows.column_weights, part.x, part.y, part.width, part.height);
}

struct Sizes {
  int64_t low_height, low_width, height, width, classes;
};

// Windows that overlap a rectangle's corners and each other, one within it, one far away.
PlacedWindows placed(const Sizes& s) {
  PlacedWindows windows;
  windows.x = {-3, s.width / 2, -3, s.width / 2, 4, 1000};
  windows.y = {0, 0, s.height / 2, s.height / 2 + 1, 5, 3};
  for (size_t i = 0; i < windows.x.size(); ++i) {
    windows.logits.push_back(torch::randn({s.low_height, s.low_width, s.classes}));
  }
  windows.row_weights = torch::rand({s.height}) + 0.01;
  windows.column_weights = torch::rand({s.width}) + 0.01;
  return windows;
}

std::vector<PixelRectangle> rectangles(const Sizes& s) {
  return {{0, 0, s.width + 9, s.height + 3},    // with pixels that no window covers
          {s.width / 3, s.height / 2, 17, 5}};  // parts of windows
}

class BlendWindows : public ::testing::TestWithParam<Sizes> {
 protected:
  void SetUp() override { torch::manual_seed(1); }
};

TEST_P(BlendWindows, ScoresAreTheWeightedMeanOfResizedLogits) {
  const PlacedWindows windows = placed(GetParam());
  for (const PixelRectangle& part : rectangles(GetParam())) {
    const torch::Tensor scores = blended_scores(windows, part);
    EXPECT_LT(largest_difference(scores, composite(windows, part)), 3e-6);
    EXPECT_GT(scores.abs().max().item<double>(), 0.1);
  }
}

TEST_P(BlendWindows, LabelsAreTheLargestScores) {
  const PlacedWindows windows = placed(GetParam());
  for (const PixelRectangle& part : rectangles(GetParam())) {
    const torch::Tensor labels = blended_labels(windows, part);
    const torch::Tensor scores = composite(windows, part);
    EXPECT_EQ(labels.scalar_type(), GetParam().classes <= 255 ? torch::kUInt8 : torch::kInt32);
    const torch::Tensor chosen = scores.gather(2, labels.to(torch::kInt64).unsqueeze(2));
    EXPECT_LT(largest_difference(chosen, scores.amax(2, true)), 3e-6);
  }
}

// What a GPU's threads do, one after the other.
TEST_P(BlendWindows, IsTheSameElementByElement) {
  const Sizes s = GetParam();
  const PlacedWindows windows = placed(s);
  std::vector<PlacedLogits> table;
  for (size_t i = 0; i < windows.x.size(); ++i) {
    table.push_back({windows.logits[i].const_data_ptr<float>(), windows.x[i], windows.y[i]});
  }
  for (const PixelRectangle& part : rectangles(s)) {
    const torch::Tensor scores = torch::full({part.height, part.width, s.classes}, 99.0f);
    BlendElements blend = {};
    blend.windows = table.data();
    blend.window_count = static_cast<int64_t>(table.size());
    blend.row_weights = windows.row_weights.const_data_ptr<float>();
    blend.column_weights = windows.column_weights.const_data_ptr<float>();
    blend.scores = scores.mutable_data_ptr<float>();
    blend.low_height = s.low_height;
    blend.low_width = s.low_width;
    blend.classes = s.classes;
    blend.window_height = s.height;
    blend.window_width = s.width;
    blend.x = part.x;
    blend.y = part.y;
    blend.width = part.width;
    blend.height = part.height;
    for (int64_t i = 0; i < blend.count(); ++i) blend.run(i);
    EXPECT_LT(largest_difference(scores, blended_scores(windows, part)), 3e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(OddAndEvenSizes, BlendWindows,
                         ::testing::Values(Sizes{8, 8, 32, 32, 7}, Sizes{7, 5, 27, 21, 16},
                                           Sizes{13, 21, 13, 21, 1}, Sizes{1, 3, 9, 64, 150},
                                           Sizes{16, 17, 11, 13, 33}, Sizes{4, 4, 16, 16, 300}));

PlacedWindows constants(const std::vector<torch::Tensor>& values, int64_t side) {
  PlacedWindows windows;
  for (const torch::Tensor& value : values) {
    windows.logits.push_back(value.view({1, 1, -1}));
    windows.x.push_back(0);
    windows.y.push_back(0);
  }
  windows.row_weights = windows.column_weights = torch::ones({side});
  return windows;
}

TEST(BlendedLabels, TheFirstOfEqualsWins) {
  torch::Tensor scores = torch::zeros({40});
  for (int64_t c : {3, 18, 19, 35}) scores[c] = 2;
  EXPECT_TRUE(blended_labels(constants({scores}, 20), {0, 0, 20, 1})
                  .equal(torch::full({1, 20}, 3, torch::kUInt8)));
  scores[3] = 0;
  EXPECT_EQ(blended_labels(constants({scores}, 20), {0, 0, 1, 1}).item<int>(), 18);
}

TEST(BlendedLabels, LanesWithoutAClassNeverWin) {
  const torch::Tensor scores = torch::full({3}, -1e30f);
  EXPECT_EQ(blended_labels(constants({scores}, 4), {0, 0, 1, 1}).item<int>(), 0);
}

TEST(BlendedLabels, TwoWindowsDecideTogether) {
  const PlacedWindows windows =
      constants({torch::tensor({3.0f, 2.0f, 0.0f}), torch::tensor({0.0f, 2.0f, 3.0f})}, 4);
  EXPECT_EQ(blended_labels(windows, {1, 1, 1, 1}).item<int>(), 1);
  EXPECT_TRUE(blended_scores(windows, {1, 1, 1, 1})
                  .equal(torch::tensor({1.5f, 2.0f, 1.5f}).view({1, 1, 3})));
}

TEST(BlendedLabels, WideRectanglesGoInParts) {
  torch::manual_seed(6);
  PlacedWindows windows;
  for (int64_t x = 0; x < 2500; x += 40) {
    windows.logits.push_back(torch::randn({16, 16, 5}));
    windows.x.push_back(x);
    windows.y.push_back(0);
  }
  windows.row_weights = windows.column_weights = torch::rand({64});
  const PixelRectangle part = {7, 3, 2490, 2};
  EXPECT_LT(largest_difference(blended_scores(windows, part), composite(windows, part)), 3e-6);
}

TEST(BlendedLabels, DoNotDependOnTheRectangle) {
  torch::manual_seed(2);
  const Sizes sizes{9, 11, 33, 44, 19};
  const PlacedWindows windows = placed(sizes);
  const torch::Tensor all = blended_scores(windows, {0, 0, 60, 40});
  const torch::Tensor part = blended_scores(windows, {13, 7, 21, 11});
  EXPECT_TRUE(part.equal(all.slice(0, 7, 18).slice(1, 13, 34)));
  EXPECT_TRUE(blended_labels(windows, {13, 7, 21, 11})
                  .equal(blended_labels(windows, {0, 0, 60, 40}).slice(0, 7, 18).slice(1, 13, 34)));
}

TEST(BlendWindowsCalls, RefuseWhatDoesNotFit) {
  PlacedWindows windows = constants({torch::ones({3}), torch::ones({3})}, 4);
  EXPECT_THROW(blended_labels({}, {0, 0, 1, 1}), c10::Error);
  EXPECT_THROW(blended_labels(windows, {0, 0, 0, 1}), c10::Error);
  windows.logits[1] = torch::ones({1, 1, 4});
  EXPECT_THROW(blended_labels(windows, {0, 0, 1, 1}), c10::Error);
  windows.logits[1] = torch::ones({1, 1, 3}, torch::kFloat64);
  EXPECT_THROW(blended_scores(windows, {0, 0, 1, 1}), c10::Error);
  windows.logits[1] = torch::ones({1, 1, 6}).slice(2, 0, 6, 2);
  EXPECT_THROW(blended_scores(windows, {0, 0, 1, 1}), c10::Error);
}

TEST(BlendWindowsCuda, EqualsTheCpu) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  torch::manual_seed(5);
  for (const int64_t classes : {3, 300}) {
    const Sizes sizes{7, 5, 27, 21, classes};
    const PlacedWindows windows = placed(sizes);
    PlacedWindows on_gpu = windows;
    for (torch::Tensor& logits : on_gpu.logits) logits = logits.cuda();
    for (const PixelRectangle& part : rectangles(sizes)) {
      const torch::Tensor scores = blended_scores(on_gpu, part);
      EXPECT_LT(largest_difference(scores.cpu(), blended_scores(windows, part)), 1e-5);
      EXPECT_TRUE(blended_labels(on_gpu, part).to(torch::kInt64).equal(scores.argmax(2)));
    }
  }
}

}  // namespace
}  // namespace hornet::ops
