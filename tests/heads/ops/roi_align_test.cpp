#include "heads/ops/roi_align.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <limits>

#include "tests/gradcheck.h"

namespace hornet::ops {
namespace {

using torch::Tensor;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

// The value between the pixels of plane [h,w], zero more than one pixel outside.
double bilinear(const Tensor& plane, double y, double x) {
  const int64_t h = plane.size(0), w = plane.size(1);
  if (!(y >= -1 && y <= h && x >= -1 && x <= w)) return 0;
  y = std::min(std::max(y, 0.), h - 1.);
  x = std::min(std::max(x, 0.), w - 1.);
  const int64_t top = y, left = x;
  const int64_t bottom = std::min(top + 1, h - 1), right = std::min(left + 1, w - 1);
  const auto value = plane.accessor<double, 2>();
  return (1 - (y - top)) * ((1 - (x - left)) * value[top][left] + (x - left) * value[top][right]) +
         (y - top) * ((1 - (x - left)) * value[bottom][left] + (x - left) * value[bottom][right]);
}

// The definition, in plain loops and float64.
Tensor reference_roi_align(const Tensor& features, const Tensor& rois, double scale, int64_t pooled,
                           int64_t ratio, bool aligned = true) {
  const Tensor maps = features.to(torch::kDouble).contiguous(), boxes = rois.to(torch::kDouble);
  Tensor output = torch::zeros({rois.size(0), features.size(1), pooled, pooled}, torch::kDouble);
  auto result = output.accessor<double, 4>();
  for (int64_t k = 0; k < rois.size(0); ++k) {
    const auto roi = boxes.accessor<double, 2>()[k];
    const double shift = aligned ? 0.5 : 0, least = aligned ? 0 : 1;
    const double x0 = roi[1] * scale - shift, y0 = roi[2] * scale - shift;
    const double bin_w = std::max(roi[3] * scale - shift - x0, least) / pooled;
    const double bin_h = std::max(roi[4] * scale - shift - y0, least) / pooled;
    if (!(bin_w > 0 && bin_h > 0)) continue;
    const int64_t gw = ratio > 0 ? ratio : std::ceil(bin_w);
    const int64_t gh = ratio > 0 ? ratio : std::ceil(bin_h);
    for (int64_t c = 0; c < features.size(1); ++c) {
      const Tensor plane = maps[static_cast<int64_t>(roi[0])][c];
      for (int64_t i = 0; i < pooled * gh; ++i) {
        for (int64_t j = 0; j < pooled * gw; ++j) {
          result[k][c][i / gh][j / gw] +=
              bilinear(plane, y0 + (i + 0.5) * bin_h / gh, x0 + (j + 0.5) * bin_w / gw) / (gh * gw);
        }
      }
    }
  }
  return output;
}

// RoIs inside, across the border, outside, tiny and large, over `images` images of w x h pixels.
Tensor various_rois(int64_t images, double h, double w) {
  const Tensor boxes = torch::tensor({{0.0, 0.0, 1.0, 1.0},
                                      {0.2, 0.3, 0.5, 0.9},
                                      {-0.5, 0.1, 0.4, 1.7},
                                      {0.9, 0.9, 1.3, 1.2},
                                      {1.5, 1.5, 2.0, 2.0},
                                      {-3.0, -3.0, -2.0, -2.0},
                                      {0.41, 0.42, 0.43, 0.44},
                                      {-2.03, -1.98, 4.04, 4.01}},
                                     torch::kDouble) *
                       torch::tensor({w, h, w, h}, torch::kDouble);
  const Tensor image = torch::arange(boxes.size(0), torch::kDouble).remainder(images).unsqueeze(1);
  return torch::cat({image, boxes}, 1).to(torch::kFloat);
}

Tensor rois_of(std::vector<double> values) {
  return torch::tensor(values, torch::kDouble).view({-1, 5}).to(torch::kFloat);
}

TEST(RoiAlign, ARoiOnThePixelGridReadsThePixels) {
  const Tensor features = torch::arange(16, torch::kFloat).view({1, 1, 4, 4});
  EXPECT_TRUE(roi_align(features, rois_of({0, 0, 0, 4, 4}), 1, 4).equal(features));
  EXPECT_TRUE(roi_align(features, rois_of({0, 4, 8, 12, 16}), 0.25, 2)[0][0].equal(
      torch::tensor({{9., 10.}, {13., 14.}}, torch::kFloat)));
}

TEST(RoiAlign, AveragesTheSamplesOfABin) {
  // One bin of 2 x 2 pixels: ceil(2) x ceil(2) samples, each on a pixel.
  const Tensor features =
      torch::tensor({{1., 2., 0.}, {3., 6., 0.}}, torch::kFloat).view({1, 1, 2, 3});
  EXPECT_FLOAT_EQ(roi_align(features, rois_of({0, 0, 0, 2, 2}), 1, 1).item<float>(), 3);
  // With one sample, that sample is in the middle of the four: the same here.
  EXPECT_FLOAT_EQ(roi_align(features, rois_of({0, 0, 0, 2, 2}), 1, 1, 1).item<float>(), 3);
  // Half a pixel outside counts as the border; two of four samples are too far outside, count as 0.
  EXPECT_FLOAT_EQ(roi_align(features, rois_of({0, -2, 0, 0, 1}), 1, 1).item<float>(), 0.5);
}

TEST(RoiAlign, OfARampIsTheCentreOfTheBin) {
  const Tensor features =
      torch::arange(20, torch::kFloat).view({1, 1, 1, 20}).expand({1, 1, 9, 20});
  const Tensor pooled = roi_align(features, rois_of({0, 3, 2, 13, 7}), 1, 4);
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(pooled[0][0][2][i].item<float>(), 3 - 0.5 + (i + 0.5) * 2.5, 1e-5);
  }
}

TEST(RoiAlign, EqualsTheReference) {
  torch::manual_seed(1);
  const std::pair<int64_t, int64_t> sizes[] = {{7, 5}, {13, 21}, {1, 9}, {9, 1}, {1, 1}, {32, 33}};
  for (const auto& [h, w] : sizes) {
    const Tensor features = torch::randn({2, 3, h, w});
    for (const double scale : {1.0, 0.25, 0.3}) {
      const Tensor on_grid = various_rois(2, h / scale, w / scale);
      // No sample is exactly at the end of a map there, no bin a whole number: rounding would
      // decide.
      const Tensor off_grid = on_grid + torch::tensor({0.0, 0.013, 0.017, 0.031, 0.043});
      for (const int64_t pooled : {1, 3, 7}) {
        for (const auto& [ratio, aligned] :
             {std::pair(0, true), {2, true}, {0, false}, {2, false}}) {
          const Tensor rois = aligned ? on_grid : off_grid;
          const Tensor found = roi_align(features, rois, scale, pooled, ratio, aligned);
          const Tensor expected =
              reference_roi_align(features, rois, scale, pooled, ratio, aligned);
          const Tensor exact =
              roi_align(features.to(torch::kDouble), rois, scale, pooled, ratio, aligned);
          EXPECT_LE((exact - expected).abs().max().item<double>(), 1e-12)
              << h << "x" << w << " scale " << scale << " pooled " << pooled << " ratio " << ratio;
          EXPECT_TRUE(torch::allclose(found.to(torch::kDouble), expected, 1e-4, 1e-5))
              << h << "x" << w << " scale " << scale << " pooled " << pooled << " ratio " << ratio;
        }
      }
    }
  }
}

TEST(RoiAlign, NotAlignedStartsAtThePixelAndIsAtLeastOnePixelLong) {
  const Tensor ramp = torch::arange(20, torch::kFloat).view({1, 1, 1, 20}).expand({1, 1, 9, 20});
  const auto first = [&](std::vector<double> roi) {
    return roi_align(ramp, rois_of(std::move(roi)), 1, 4, 2, /*aligned=*/false)[0][0][0];
  };
  // Bins of 2.5 pixels from 3 on; of a quarter of a pixel from 5 on, for what is shorter than one.
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(first({0, 3, 2, 13, 7})[i].item<float>(), 3 + (i + 0.5) * 2.5, 1e-5);
    for (const double x2 : {5.3, 5.0, 4.0}) {
      EXPECT_NEAR(first({0, 5, 2, x2, 7})[i].item<float>(), 5 + (i + 0.5) * 0.25, 1e-5);
    }
  }
  for (const double odd : {kNan, kInf}) {
    EXPECT_TRUE(first({0, odd, 0, 3, 3}).eq(0).all().item<bool>());
  }
}

TEST(RoiAlign, EmptyAndImpossibleRois) {
  const Tensor features = torch::ones({1, 2, 6, 6});
  EXPECT_EQ(roi_align(features, torch::empty({0, 5}), 1, 7).sizes(), (at::IntArrayRef{0, 2, 7, 7}));
  EXPECT_EQ(roi_align(torch::ones({0, 2, 6, 6}), torch::empty({0, 5}), 1, 7).sizes(),
            (at::IntArrayRef{0, 2, 7, 7}));
  const Tensor empty = rois_of({0, 2,     2, 2,    4,  // no width
                                0, 2,     2, 2,    2,  // a point
                                0, 4,     4, 2,    2,  // turned round
                                0, kNan,  0, 3,    3,  //
                                0, 0,     0, kInf, 3,  //
                                0, -kInf, 0, 3,    3,  //
                                0, 0,     0, 1e30, 1e30});
  for (const int64_t ratio : {0, 2}) {
    EXPECT_TRUE(roi_align(features, empty, 1, 3, ratio).eq(0).all().item<bool>());
  }
}

TEST(RoiAlign, AcceptsAnyLayout) {
  torch::manual_seed(2);
  const Tensor features = torch::randn({2, 37, 13, 21});
  const Tensor rois = various_rois(2, 52, 84);
  const Tensor expected = roi_align(features, rois, 0.25, 7);
  const Tensor channels_last = features.contiguous(torch::MemoryFormat::ChannelsLast);
  EXPECT_TRUE(roi_align(channels_last, rois, 0.25, 7).equal(expected));
  EXPECT_TRUE(roi_align(channels_last, rois, 0.25, 7).is_contiguous());
  const Tensor transposed = features.transpose(2, 3).contiguous().transpose(2, 3);
  EXPECT_TRUE(roi_align(transposed, rois.t().contiguous().t(), 0.25, 7).equal(expected));
}

TEST(RoiAlign, ReducedPrecisionIsComputedInFloat32) {
  torch::manual_seed(3);
  const Tensor rois = various_rois(2, 28, 20);
  for (const auto type : {torch::kHalf, torch::kBFloat16}) {
    const Tensor features = torch::randn({2, 3, 7, 5}).to(type);
    const Tensor found = roi_align(features, rois, 0.25, 3);
    EXPECT_EQ(found.scalar_type(), type);
    EXPECT_TRUE(found.equal(roi_align(features.to(torch::kFloat), rois, 0.25, 3).to(type)));

    const Tensor leaf = features.clone().requires_grad_();
    roi_align(leaf, rois, 0.25, 3).sum().backward();
    EXPECT_EQ(leaf.grad().scalar_type(), type);
  }
}

TEST(RoiAlign, IsDeterministicWhateverTheThreads) {
  torch::manual_seed(4);
  const Tensor rois = torch::cat({various_rois(2, 52, 84), various_rois(1, 30, 50)});
  const auto run = [&](const Tensor& features) {
    const Tensor leaf = features.clone().requires_grad_();
    const Tensor output = roi_align(leaf, rois, 0.25, 7);
    output.square().sum().backward();
    return std::make_pair(output.detach(), leaf.grad());
  };
  const Tensor features = torch::randn({2, 40, 13, 21});
  const int threads = torch::get_num_threads();
  torch::set_num_threads(1);
  const auto one = run(features);
  torch::set_num_threads(3);
  const auto three = run(features);
  torch::set_num_threads(threads);
  EXPECT_TRUE(one.first.equal(three.first));
  EXPECT_TRUE(one.second.equal(three.second));
}

TEST(RoiAlign, Gradients) {
  torch::manual_seed(5);
  const std::pair<int64_t, int64_t> sizes[] = {{7, 5}, {1, 6}};
  for (const auto& [h, w] : sizes) {
    const Tensor rois = various_rois(2, h * 4.0, w * 4.0);
    for (const auto& [ratio, aligned] : {std::pair(0, true), {2, true}, {2, false}}) {
      testing::expect_gradients(
          [&, ratio = ratio, aligned = aligned](const std::vector<Tensor>& in) {
            return roi_align(in[0], rois, 0.25, 3, ratio, aligned);
          },
          {torch::randn({2, 1, h, w})});
    }
  }
}

TEST(RoiAlign, SecondGradients) {
  torch::manual_seed(6);
  const Tensor rois = various_rois(1, 20, 28);
  for (const bool aligned : {true, false}) {
    testing::expect_gradients(
        [&](const std::vector<Tensor>& in) {
          const torch::AutoGradMode enabled(true);
          const Tensor features = in[0].requires_grad() ? in[0] : in[0].detach().requires_grad_();
          const Tensor loss = roi_align(features, rois, 0.25, 3, 0, aligned).pow(3).sum();
          return torch::autograd::grad({loss}, {features}, {}, std::nullopt, true)[0];
        },
        {torch::randn({1, 2, 5, 7})});
  }
}

TEST(RoiAlign, OnlyFeaturesGetAGradient) {
  const Tensor features = torch::ones({1, 2, 6, 6}).requires_grad_();
  const Tensor rois = rois_of({0, 1, 1, 4, 5}).requires_grad_();
  const Tensor output = roi_align(features, rois, 1, 3);
  ASSERT_NE(output.grad_fn(), nullptr);
  output.sum().backward();
  EXPECT_NEAR(features.grad().sum().item<float>(), 2 * 3 * 3, 1e-4);
  EXPECT_FALSE(rois.grad().defined());
}

TEST(RoiAlign, NothingIsKeptWithoutGrad) {
  const torch::NoGradGuard no_grad;
  const Tensor features = torch::ones({1, 2, 6, 6}).requires_grad_();
  EXPECT_EQ(roi_align(features, rois_of({0, 1, 1, 4, 5}), 1, 3).grad_fn(), nullptr);
}

TEST(RoiAlign, NamesWhatIsWrong) {
  const Tensor features = torch::ones({2, 2, 6, 6});
  const auto message = [&](const Tensor& map, const Tensor& rois, int64_t pooled) -> std::string {
    try {
      roi_align(map, rois, 1, pooled);
    } catch (const c10::Error& error) {
      return error.what();
    }
    return "no error";
  };
  const auto names = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(names(message(features, rois_of({2, 0, 0, 3, 3}), 7), "of image 2, but"));
  EXPECT_TRUE(names(message(features, rois_of({kNan, 0, 0, 3, 3}), 7), "of image nan, but"));
  EXPECT_TRUE(names(message(features, torch::zeros({3, 4}), 7), "[k, 5], found [3, 4]"));
  EXPECT_TRUE(names(message(features[0], torch::zeros({3, 5}), 7), "found [2, 6, 6]"));
  EXPECT_TRUE(names(message(features, torch::zeros({3, 5}), 0), "found 0"));
  EXPECT_TRUE(names(message(torch::ones({1, 2, 0, 6}), torch::zeros({3, 5}), 7), "[1, 2, 0, 6]"));
}

TEST(RoiAlignCuda, EqualsTheCpu) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  torch::manual_seed(7);
  const Tensor rois = various_rois(2, 52, 84);
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kHalf, torch::kBFloat16}) {
    const Tensor features = torch::randn({2, 3, 13, 21}).to(type);
    const Tensor on_cpu = features.clone().requires_grad_();
    const Tensor on_gpu = features.cuda().requires_grad_();
    const Tensor expected = roi_align(on_cpu, rois, 0.25, 7);
    const Tensor found = roi_align(on_gpu, rois.cuda(), 0.25, 7);
    EXPECT_TRUE(found.cpu().equal(expected)) << type;
    const Tensor last = features.cuda().contiguous(torch::MemoryFormat::ChannelsLast);
    EXPECT_TRUE(roi_align(last, rois.cuda(), 0.25, 7).cpu().equal(expected)) << type;
    expected.sum().backward();
    found.sum().backward();
    // Atomics add in any order, and a sum near the middle of two values is rounded to either.
    const double rounding = type == torch::kHalf ? 1e-3 : type == torch::kBFloat16 ? 8e-3 : 0;
    EXPECT_TRUE(torch::allclose(on_gpu.grad().cpu(), on_cpu.grad(), 1e-4 + rounding, 1e-5)) << type;
  }
  const Tensor unaligned = torch::randn({2, 3, 13, 21});
  EXPECT_TRUE(roi_align(unaligned.cuda(), rois.cuda(), 0.25, 7, 2, false)
                  .cpu()
                  .equal(roi_align(unaligned, rois, 0.25, 7, 2, false)));
  EXPECT_EQ(roi_align(torch::ones({1, 2, 6, 6}).cuda(), torch::empty({0, 5}).cuda(), 1, 7).sizes(),
            (at::IntArrayRef{0, 2, 7, 7}));
}

}  // namespace
}  // namespace hornet::ops
