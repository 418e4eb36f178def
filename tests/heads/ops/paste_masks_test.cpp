#include "heads/ops/paste_masks.h"

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/nn/functional/upsampling.h>
#include <torch/nn/functional/vision.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <limits>

namespace hornet::ops {
namespace {

using torch::Tensor;
namespace F = torch::nn::functional;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// The pasted probability of each pixel of the image, in plain loops and float64: [h,w].
Tensor reference_paste(const Tensor& probs, const std::vector<double>& box, int64_t h, int64_t w) {
  const int64_t m = probs.size(0);
  const auto value = probs.accessor<float, 2>();
  Tensor canvas = torch::zeros({h, w}, torch::kDouble);
  for (int64_t y = 0; y < h; ++y) {
    for (int64_t x = 0; x < w; ++x) {
      const double v = (y + 0.5 - box[1]) / (box[3] - box[1]) * m - 0.5;
      const double u = (x + 0.5 - box[0]) / (box[2] - box[0]) * m - 0.5;
      double sum = 0;
      for (int64_t row = 0; row < m; ++row) {
        for (int64_t column = 0; column < m; ++column) {
          sum += std::max(0., 1 - std::abs(v - row)) * std::max(0., 1 - std::abs(u - column)) *
                 value[row][column];
        }
      }
      canvas[y][x] = sum;
    }
  }
  return canvas;
}

Tensor boxes_of(std::vector<float> values) { return torch::tensor(values).view({-1, 4}); }

Tensor paste(const Tensor& probs, const Tensor& boxes, int64_t h, int64_t w,
             double threshold = 0.5) {
  return to_canvases(paste_masks(probs, boxes, h, w, threshold), h, w);
}

// Boxes inside an h x w image, over its borders, larger than it, and smaller than a pixel.
std::vector<std::vector<double>> various_boxes(double h, double w) {
  return {{0.1 * w, 0.2 * h, 0.7 * w, 0.9 * h},
          {-0.4 * w, 0.5 * h, 0.3 * w, 1.6 * h},
          {-w, -h, 2 * w, 2 * h},
          {0.5 * w, 0.5 * h, 0.5 * w + 0.3, 0.5 * h + 0.45},
          {0, 0, w, h},
          {3 * w, 0, 4 * w, h}};
}

Tensor as_tensor(const std::vector<std::vector<double>>& boxes) {
  Tensor result = torch::empty({static_cast<int64_t>(boxes.size()), 4});
  for (size_t i = 0; i < boxes.size(); ++i) result[i] = torch::tensor(boxes[i]);
  return result;
}

TEST(PasteMasks, ABoxOnThePixelGridCopiesTheMask) {
  const Tensor probs = torch::tensor({{.9, .4}, {.5, .6}}, torch::kFloat).view({1, 2, 2});
  const Tensor expected = torch::tensor(
      {{0, 0, 0, 0, 0}, {0, 0, 1, 0, 0}, {0, 0, 1, 1, 0}, {0, 0, 0, 0, 0}}, torch::kByte);
  EXPECT_TRUE(paste(probs, boxes_of({2, 1, 4, 3}), 4, 5)[0].equal(expected));
}

TEST(PasteMasks, FadesOutsideTheCentresOfTheOuterValues) {
  // M = 1 in a box of 4 pixels: .625 .875 .875 .625 along each axis, .39 in the corners.
  const Tensor expected =
      torch::tensor({{0, 1, 1, 0}, {1, 1, 1, 1}, {1, 1, 1, 1}, {0, 1, 1, 0}}, torch::kByte);
  EXPECT_TRUE(paste(torch::ones({1, 1, 1}), boxes_of({0, 0, 4, 4}), 4, 4)[0].equal(expected));
}

TEST(PasteMasks, CoversTheBoxAndAPixelAround) {
  const auto masks = paste_masks(torch::ones({4, 3, 3}),
                                 boxes_of({2.5, 3.0, 5.2, 4.0,    // inside
                                           -9, 3.5, 2.0, 99,      // over two borders
                                           40, 0, 50, 5,          // to the right of the image
                                           3.2, 3.2, 3.2, 3.2}),  // a point
                                 10, 20);
  const Tensor regions =
      torch::tensor({{1, 2, 6, 3}, {0, 2, 3, 8}, {20, 0, 0, 6}, {2, 2, 3, 3}}, torch::kLong);
  EXPECT_TRUE(masks.regions.equal(regions)) << masks.regions;
  EXPECT_TRUE(masks.offsets.equal(torch::tensor({0, 18, 42, 42}, torch::kLong))) << masks.offsets;
  EXPECT_EQ(masks.pixels.size(0), 51);
  EXPECT_EQ(masks.pixels.scalar_type(), torch::kByte);
}

TEST(PasteMasks, EqualsTheReference) {
  torch::manual_seed(1);
  const std::pair<int64_t, int64_t> sizes[] = {{7, 5}, {13, 21}, {1, 9}, {9, 1}, {40, 37}};
  for (const auto& [h, w] : sizes) {
    for (const int64_t m : {1, 5, 28}) {
      const auto boxes = various_boxes(h, w);
      const Tensor probs = torch::rand({static_cast<int64_t>(boxes.size()), m, m});
      const Tensor canvases = paste(probs, as_tensor(boxes), h, w, 0.4);
      for (size_t i = 0; i < boxes.size(); ++i) {
        const Tensor value = reference_paste(probs[i], boxes[i], h, w);
        const Tensor wrong = canvases[i].ne(value >= 0.4) & ((value - 0.4).abs() > 1e-4);
        EXPECT_FALSE(wrong.any().item<bool>()) << h << "x" << w << " m " << m << " box " << i;
      }
    }
  }
}

TEST(PasteMasks, EqualsGridSample) {
  torch::manual_seed(2);
  const int64_t h = 61, w = 83;
  const Tensor boxes = as_tensor(various_boxes(h, w)), probs = torch::rand({6, 28, 28});
  const auto axis = [](int64_t size, const Tensor& low, const Tensor& high) {
    return (torch::arange(size).to(torch::kFloat) + 0.5 - low) / (high - low) * 2 - 1;
  };
  const Tensor x = axis(w, boxes.slice(1, 0, 1), boxes.slice(1, 2, 3));
  const Tensor y = axis(h, boxes.slice(1, 1, 2), boxes.slice(1, 3, 4));
  const Tensor grid =
      torch::stack({x.unsqueeze(1).expand({6, h, w}), y.unsqueeze(2).expand({6, h, w})}, 3);
  const Tensor value =
      F::grid_sample(probs.unsqueeze(1), grid, F::GridSampleFuncOptions().align_corners(false))
          .squeeze(1);
  const Tensor wrong = paste(probs, boxes, h, w).ne(value >= 0.5) & ((value - 0.5).abs() > 1e-6);
  EXPECT_EQ(wrong.sum().item<int64_t>(), 0);
}

// The definition of whole pixels: the padded mask resized to the grown and rounded box, and the
// part of it that is image. [h,w]
Tensor reference_whole_pixels(const Tensor& probs, const std::vector<double>& box, int64_t h,
                              int64_t w) {
  const int64_t m = probs.size(0);
  // In float32, since a corner may be a whole number but for rounding.
  const auto edge = [&](int axis, float sign) {
    const auto low = static_cast<float>(box[axis]), high = static_cast<float>(box[axis + 2]);
    const float grown = (high - low) * 0.5f * static_cast<float>((m + 2.0) / m);
    return static_cast<int64_t>((high + low) * 0.5f + sign * grown);
  };
  const int64_t x0 = edge(0, -1), y0 = edge(1, -1);
  const std::vector<int64_t> size = {edge(1, 1) + 1 - y0, edge(0, 1) + 1 - x0};
  const Tensor padded = torch::constant_pad_nd(probs, {1, 1, 1, 1}).view({1, 1, m + 2, m + 2});
  const auto bilinear =
      F::InterpolateFuncOptions().size(size).mode(torch::kBilinear).align_corners(false);
  const Tensor resized = F::interpolate(padded.to(torch::kDouble), bilinear)[0][0];
  Tensor canvas = torch::zeros({h, w}, torch::kDouble);
  for (int64_t y = std::max<int64_t>(y0, 0); y < std::min(y0 + size[0], h); ++y) {
    for (int64_t x = std::max<int64_t>(x0, 0); x < std::min(x0 + size[1], w); ++x) {
      canvas[y][x] = resized[y - y0][x - x0];
    }
  }
  return canvas;
}

Tensor paste_whole_pixels(const Tensor& probs, const Tensor& boxes, int64_t h, int64_t w,
                          double threshold) {
  return to_canvases(paste_masks(probs, boxes, h, w, threshold, PasteRule::kWholePixels), h, w);
}

TEST(PasteMasks, WholePixelsEqualTheirReference) {
  torch::manual_seed(5);
  const std::pair<int64_t, int64_t> sizes[] = {{7, 5}, {13, 21}, {1, 9}, {9, 1}, {40, 37}};
  for (const auto& [h, w] : sizes) {
    for (const int64_t m : {1, 5, 28}) {
      const auto boxes = various_boxes(h, w);
      const Tensor probs = torch::rand({static_cast<int64_t>(boxes.size()), m, m});
      const Tensor canvases = paste_whole_pixels(probs, as_tensor(boxes), h, w, 0.4);
      for (size_t i = 0; i < boxes.size(); ++i) {
        const Tensor value = reference_whole_pixels(probs[i], boxes[i], h, w);
        const Tensor wrong = canvases[i].ne(value >= 0.4) & ((value - 0.4).abs() > 1e-4);
        EXPECT_FALSE(wrong.any().item<bool>()) << h << "x" << w << " m " << m << " box " << i;
      }
    }
  }
}

TEST(PasteMasks, WholePixelsOfABoxAreRoundedAfterItHasGrown) {
  // M = 28 in a box of 28 pixels grows by one pixel on each side, and has its border there.
  const auto masks = paste_masks(torch::ones({3, 28, 28}),
                                 boxes_of({4.6, 4.6, 32.6, 32.6,  //
                                           -0.5, 0, 27.5, 28,     // -1.5 is rounded to -1
                                           9.2, 9.2, 9.2, 9.2}),
                                 50, 60, 0.5, PasteRule::kWholePixels);
  const Tensor regions =
      torch::tensor({{3, 3, 31, 31}, {0, 0, 29, 30}, {9, 9, 1, 1}}, torch::kLong);
  EXPECT_TRUE(masks.regions.equal(regions)) << masks.regions;
  const Tensor canvas = to_canvases(masks, 50, 60)[0];
  EXPECT_EQ(canvas[3].sum().item<int64_t>(), 0);
  EXPECT_EQ(canvas[20].sum().item<int64_t>(), 29);
}

TEST(PasteMasks, WholePixelsOfImpossibleBoxesStayInsideTheImage) {
  const Tensor boxes = boxes_of({kNan,  0,     3,    3,     //
                                 -kInf, -kInf, kInf, kInf,  //
                                 5,     5,     -5,   -5,    //
                                 1e30,  0,     2e30, 3,     //
                                 -1e30, -1e30, 1e30, 1e30});
  const Tensor canvases = paste_whole_pixels(torch::ones({5, 4, 4}), boxes, 6, 7, 0.5);
  for (const int64_t empty : {0, 1, 3}) {
    EXPECT_EQ(canvases[empty].sum().item<int64_t>(), 0) << "box " << empty;
  }
  EXPECT_TRUE(canvases[4].eq(1).all().item<bool>());
}

TEST(PasteMasks, SetsPixelsAtTheThreshold) {
  const Tensor probs = torch::full({1, 4, 4}, 0.5f);
  EXPECT_TRUE(paste(probs, boxes_of({0, 0, 4, 4}), 4, 4).eq(1).all().item<bool>());
  EXPECT_TRUE(paste(probs, boxes_of({0, 0, 4, 4}), 4, 4, 0.50001).eq(0).all().item<bool>());
}

TEST(PasteMasks, AcceptsNothing) {
  const auto masks = paste_masks(torch::empty({0, 28, 28}), torch::empty({0, 4}), 5, 7);
  EXPECT_EQ(masks.pixels.sizes(), (at::IntArrayRef{0}));
  EXPECT_EQ(masks.regions.sizes(), (at::IntArrayRef{0, 4}));
  EXPECT_EQ(masks.offsets.sizes(), (at::IntArrayRef{0}));
  EXPECT_EQ(to_canvases(masks, 5, 7).sizes(), (at::IntArrayRef{0, 5, 7}));
}

TEST(PasteMasks, ABoxWithoutWidthShowsTheMiddleColumn) {
  // 0/0-free division by zero gives infinite coordinates, which count as the middle of the mask.
  Tensor probs = torch::zeros({1, 3, 3});
  probs.select(2, 1).fill_(1);
  const Tensor canvas = paste(probs, boxes_of({4, 0, 4, 6}), 6, 9)[0];
  EXPECT_TRUE(canvas.slice(1, 3, 5).slice(0, 1, 5).eq(1).all().item<bool>()) << canvas;
  EXPECT_EQ(canvas.slice(1, 0, 3).sum().item<int64_t>(), 0);
  EXPECT_EQ(canvas.slice(1, 5, 9).sum().item<int64_t>(), 0);
  probs.fill_(1).select(2, 1).fill_(0);
  EXPECT_EQ(paste(probs, boxes_of({4, 0, 4, 6}), 6, 9).sum().item<int64_t>(), 0);
}

TEST(PasteMasks, ImpossibleBoxesStayInsideTheImage) {
  const Tensor boxes = boxes_of({kNan,  0,     3,    3,     //
                                 0,     0,     kNan, 3,     //
                                 -kInf, -kInf, kInf, kInf,  //
                                 0,     0,     kInf, 3,     //
                                 -1e30, -1e30, 1e30, 1e30,  //
                                 5,     5,     -5,   -5,    //
                                 1e30,  0,     2e30, 3,     //
                                 kInf,  0,     kInf, 3});
  const auto masks = paste_masks(torch::ones({8, 4, 4}), boxes, 6, 7);
  const Tensor x = masks.regions.select(1, 0), y = masks.regions.select(1, 1);
  const Tensor w = masks.regions.select(1, 2), h = masks.regions.select(1, 3);
  EXPECT_TRUE((x.ge(0) & w.ge(0) & (x + w).le(7)).all().item<bool>()) << masks.regions;
  EXPECT_TRUE((y.ge(0) & h.ge(0) & (y + h).le(6)).all().item<bool>()) << masks.regions;
  const Tensor canvases = to_canvases(masks, 6, 7);
  for (const int64_t empty : {0, 1, 2, 5, 6, 7}) {
    EXPECT_EQ(canvases[empty].sum().item<int64_t>(), 0) << "box " << empty;
  }
  EXPECT_TRUE(canvases[4].eq(1).all().item<bool>());
}

TEST(PasteMasks, AcceptsAnyLayoutAndType) {
  torch::manual_seed(3);
  const Tensor probs = torch::rand({6, 14, 14}).to(torch::kHalf).to(torch::kFloat);
  const Tensor boxes = as_tensor(various_boxes(13, 21));
  const Tensor expected = paste(probs, boxes, 13, 21);
  EXPECT_TRUE(
      paste(probs.transpose(1, 2).contiguous().transpose(1, 2), boxes.t().contiguous().t(), 13, 21)
          .equal(expected));
  EXPECT_TRUE(paste(probs.to(torch::kHalf), boxes, 13, 21).equal(expected));
}

TEST(PasteMasks, NamesWhatIsWrong) {
  EXPECT_THROW(paste_masks(torch::zeros({2, 4, 5}), torch::zeros({2, 4}), 5, 5), c10::Error);
  EXPECT_THROW(paste_masks(torch::zeros({2, 4, 4}), torch::zeros({3, 4}), 5, 5), c10::Error);
  EXPECT_THROW(paste_masks(torch::zeros({2, 4, 4}), torch::zeros({8}), 5, 5), c10::Error);
}

TEST(PasteMasksCuda, EqualsTheCpu) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  torch::manual_seed(4);
  const Tensor boxes = torch::cat(
      {as_tensor(various_boxes(61, 83)), boxes_of({kNan, 0, 3, 3, 4, 0, 4, 6, -1e30, 0, 1e30, 9})});
  const Tensor probs = torch::rand({9, 28, 28});
  const auto on_cpu = paste_masks(probs, boxes, 61, 83);
  const auto on_gpu = paste_masks(probs.cuda(), boxes.cuda(), 61, 83);
  EXPECT_TRUE(on_gpu.pixels.is_cpu());
  EXPECT_TRUE(on_gpu.pixels.equal(on_cpu.pixels));
  EXPECT_TRUE(on_gpu.regions.equal(on_cpu.regions));
  EXPECT_TRUE(on_gpu.offsets.equal(on_cpu.offsets));
  EXPECT_TRUE(
      paste_masks(probs.cuda(), boxes.cuda(), 61, 83, 0.5, PasteRule::kWholePixels)
          .pixels.equal(paste_masks(probs, boxes, 61, 83, 0.5, PasteRule::kWholePixels).pixels));
  EXPECT_EQ(paste_masks(torch::empty({0, 28, 28}).cuda(), torch::empty({0, 4}).cuda(), 5, 7)
                .pixels.numel(),
            0);
}

}  // namespace
}  // namespace hornet::ops
