// The arithmetic of sliding-window segmentation: what overlapping windows say together of the
// pixels of a rectangle.
//
// A network's logits come at a fraction of the image's resolution, and so they are kept: resizing
// them for all classes (157 MB a window of 512 x 512 and 150 classes) only to add them up would
// cost more memory and more time than all else. The kernels resize, weigh and add them pixel by
// pixel, and compare the sums, in one pass. Dispatcher ops hornet::blended_labels (CPU) and
// hornet::blended_scores (CPU, CUDA), and composites of LibTorch's ops for other devices. For
// inference: neither has a gradient.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace hornet::ops {

// Windows of one size, which may lie over each other and over the borders of a rectangle. Each is
// resized to the size of its weights (bilinear, align_corners=False, as the heads resize) and
// counts row_weights[i] * column_weights[j] at its pixel (i, j).
struct PlacedWindows {
  std::vector<torch::Tensor> logits;          // [h,w,C] float32, dense, on one device
  std::vector<int64_t> x, y;                  // their upper left corners
  torch::Tensor row_weights, column_weights;  // float32, a window's height and width
};

struct PixelRectangle {
  int64_t x = 0, y = 0, width = 0, height = 0;
};

// The weighted mean, [height,width,C] float32; 0 where no window lies or counts.
torch::Tensor blended_scores(const PlacedWindows& windows, const PixelRectangle& rectangle);

// The class of the largest mean, the first of equals: [height,width], uint8 for up to 255 classes,
// else int32.
torch::Tensor blended_labels(const PlacedWindows& windows, const PixelRectangle& rectangle);

// What the kernels compute, in LibTorch's ops.
torch::Tensor blended_scores_composite(at::TensorList logits, at::IntArrayRef xs,
                                       at::IntArrayRef ys, const torch::Tensor& row_weights,
                                       const torch::Tensor& column_weights, int64_t x, int64_t y,
                                       int64_t width, int64_t height);

}  // namespace hornet::ops
