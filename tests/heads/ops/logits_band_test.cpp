// The band's kernels against LibTorch's ops, and against what sliding windows add up to.
#include <gtest/gtest.h>
#include <hornet/heads/ops/logits_band.h>
#include <hornet/heads/ops/logits_band_sample.h>
#include <hornet/heads/uper_head.h>
#include <torch/torch.h>

namespace hornet::ops {
namespace {

double largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.to(torch::kFloat64) - b.to(torch::kFloat64)).abs().max().item<double>();
}

struct Sizes {
  int64_t low_height, low_width, height, width;
};

class AddWindow : public ::testing::TestWithParam<Sizes> {};

TEST_P(AddWindow, EqualsResizingWeightingAndAdding) {
  torch::manual_seed(1);
  const Sizes s = GetParam();
  const int64_t ring = s.height + 3, columns = s.width + 5;
  const torch::Tensor logits = torch::randn({7, s.low_height, s.low_width});
  const torch::Tensor down = torch::rand({s.height}), across = torch::rand({s.width});
  for (const WindowPlace& place : {WindowPlace{2, 0, 0, 1000}, WindowPlace{-3, 5, 7, 1000},
                                   WindowPlace{9, 11, 0, 11 + s.height / 2}}) {
    const torch::Tensor start = torch::randn({ring, 7, columns});
    const torch::Tensor fast = start.clone(), plain = start.clone();
    add_window(fast, logits, down, across, place);
    add_window_composite(plain, logits, down, across, place.x, place.y, place.row_begin,
                         place.row_end);
    EXPECT_LT(largest_difference(fast, plain), 2e-6);
    EXPECT_GT(largest_difference(fast, start), 1e-2);
  }
}

// What a GPU's threads do, one after the other.
template <typename Elements>
void run_elements(const Elements& elements) {
  for (int64_t i = 0; i < elements.count(); ++i) elements.run(i);
}

TEST_P(AddWindow, IsTheSameElementByElement) {
  torch::manual_seed(3);
  const Sizes s = GetParam();
  const int64_t ring = s.height + 3, columns = s.width + 5;
  const torch::Tensor logits = torch::randn({7, s.low_height, s.low_width});
  const torch::Tensor down = torch::rand({s.height}), across = torch::rand({s.width});
  for (const WindowPlace& place : {WindowPlace{2, 0, 0, 1000}, WindowPlace{-3, 5, 7, 1000},
                                   WindowPlace{9, 11, 0, 11 + s.height / 2}}) {
    const torch::Tensor start = torch::randn({ring, 7, columns});
    const torch::Tensor expected = start.clone(), band = start.clone();
    add_window(expected, logits, down, across, place);
    WindowElements window = {};
    window.band = band.mutable_data_ptr<float>();
    window.logits = logits.const_data_ptr<float>();
    window.row_weights = down.const_data_ptr<float>();
    window.column_weights = across.const_data_ptr<float>();
    window.band_rows = ring;
    window.classes = 7;
    window.band_width = columns;
    window.low_height = s.low_height;
    window.low_width = s.low_width;
    window.height = s.height;
    window.width = s.width;
    window.x = place.x;
    window.y = place.y;
    window.top = std::max(place.y, place.row_begin);
    window.bottom = std::min(place.y + s.height, place.row_end);
    window.left = std::max<int64_t>(place.x, 0);
    window.right = std::min(place.x + s.width, columns);
    run_elements(window);
    EXPECT_LT(largest_difference(band, expected), 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(OddAndEvenSizes, AddWindow,
                         ::testing::Values(Sizes{8, 8, 32, 32}, Sizes{7, 5, 27, 21},
                                           Sizes{13, 21, 13, 21}, Sizes{1, 3, 9, 64},
                                           Sizes{16, 17, 11, 13}));

TEST(AddWindow, LeavesOtherPixelsAlone) {
  const torch::Tensor band = torch::zeros({10, 2, 20});
  add_window(band, torch::ones({2, 1, 1}), torch::ones({4}), torch::ones({6}), {3, 8, 9, 11});
  torch::Tensor wanted = torch::zeros({10, 2, 20});
  for (int64_t row : {9, 10}) wanted[row % 10].slice(1, 3, 9).fill_(1);
  EXPECT_TRUE(band.equal(wanted));
}

TEST(AddWindow, TakesHalfPrecisionAndStridedLogits) {
  const torch::Tensor logits = torch::randn({4, 6, 3}).permute({1, 0, 2});  // [6,4,3]
  const torch::Tensor a = torch::zeros({8, 6, 12}), b = torch::zeros({8, 6, 12});
  add_window(a, logits.to(torch::kBFloat16), torch::ones({8}), torch::ones({12}), {0, 0, 0, 8});
  add_window(b, logits.to(torch::kBFloat16).to(torch::kFloat32).contiguous(), torch::ones({8}),
             torch::ones({12}), {0, 0, 0, 8});
  EXPECT_TRUE(a.equal(b));
}

TEST(AddWindow, RefusesWhatDoesNotFit) {
  const torch::Tensor band = torch::zeros({4, 3, 8});
  const torch::Tensor ones = torch::ones({4});
  EXPECT_THROW(add_window(band, torch::ones({2, 1, 1}), ones, ones, {0, 0, 0, 4}), c10::Error);
  EXPECT_THROW(add_window(band, torch::ones({3, 1, 1}), torch::ones({5}), ones, {0, 0, 0, 4}),
               c10::Error);
}

TEST(BandLabels, AreThoseOfTheMean) {
  torch::manual_seed(2);
  for (int64_t classes : {1, 2, 19, 255, 256, 300}) {
    const torch::Tensor rows = torch::randn({5, classes, 37});
    const torch::Tensor down = torch::randint(1, 4, {5}).to(torch::kFloat32);
    const torch::Tensor across = torch::randint(1, 4, {37}).to(torch::kFloat32);
    const torch::Tensor labels = band_labels(rows, down, across);
    EXPECT_EQ(labels.scalar_type(), classes <= 255 ? torch::kUInt8 : torch::kInt32);
    EXPECT_TRUE(labels.equal(band_labels_composite(rows, down, across))) << classes;
  }
}

TEST(BandLabels, AreTheSameElementByElement) {
  torch::manual_seed(4);
  const torch::Tensor rows = torch::randint(0, 9, {5, 11, 37}).to(torch::kFloat32);  // with ties
  const torch::Tensor down = torch::rand({5}) + 0.5, across = torch::rand({37}) + 0.5;
  const torch::Tensor labels = torch::full({5, 37}, 99, torch::kInt32);
  run_elements(LabelElements<int32_t>{rows.const_data_ptr<float>(), down.const_data_ptr<float>(),
                                      across.const_data_ptr<float>(),
                                      labels.mutable_data_ptr<int32_t>(), 5, 11, 37});
  EXPECT_TRUE(labels.equal(band_labels(rows, down, across).to(torch::kInt32)));
}

TEST(LogitsBandCuda, EqualsTheCpu) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  torch::manual_seed(5);
  for (const int64_t classes : {3, 300}) {
    const torch::Tensor band = torch::randn({30, classes, 41}), on_gpu = band.cuda();
    const torch::Tensor logits = torch::randn({classes, 7, 5});
    const torch::Tensor down = torch::rand({27}), across = torch::rand({21});
    for (const WindowPlace& place : {WindowPlace{2, 0, 0, 1000}, WindowPlace{-3, 5, 7, 1000},
                                     WindowPlace{30, 11, 0, 20}, WindowPlace{50, 0, 0, 1000}}) {
      add_window(band, logits, down, across, place);
      add_window(on_gpu, logits.cuda(), down.cuda(), across.cuda(), place);
      EXPECT_LT(largest_difference(on_gpu.cpu(), band), 1e-5);
    }
    const torch::Tensor rows = torch::rand({30}) + 0.5, columns = torch::rand({41}) + 0.5;
    EXPECT_TRUE(band_labels(band.cuda(), rows.cuda(), columns.cuda())
                    .cpu()
                    .equal(band_labels(band, rows, columns)));
  }
}

TEST(BandLabels, TheFirstOfEqualsWins) {
  const torch::Tensor rows = torch::zeros({1, 3, 20});
  rows[0][1].fill_(2);
  rows[0][2].fill_(2);
  EXPECT_TRUE(band_labels(rows, torch::ones({1}), torch::ones({20}))
                  .equal(torch::ones({1, 20}, torch::kUInt8)));
}

}  // namespace
}  // namespace hornet::ops
