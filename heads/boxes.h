// Boxes as the R-CNN family uses them: anchors, and regression deltas relative to a box.
//
// A box is (x1, y1, x2, y2) in pixels of the network's input, x2 - x1 wide (no +1), float32.
// Follows mmdet's AnchorGenerator (center_offset 0) and DeltaXYWHBBoxCoder; where torchvision's
// detectors differ, there is an option.
#pragma once

#include <torch/types.h>

#include <array>
#include <vector>

namespace hornet {

// Size of an image without its padding, in input pixels.
struct ImageSize {
  int64_t height = 0;
  int64_t width = 0;
};

struct AnchorOptions {
  std::vector<double> scales = {8.0};            // times the level's stride
  std::vector<double> ratios = {0.5, 1.0, 2.0};  // height / width
  bool rounded = false;                          // corners to whole pixels
  bool fit_input = false;  // steps are input size / map size by floor, not the level's stride
  int64_t per_position() const { return static_cast<int64_t>(scales.size() * ratios.size()); }
};

// The anchors of one level in the order (y, x, anchor): [height * width * A, 4]. `input` is the
// size of the padded images, which only fit_input looks at.
torch::Tensor level_anchors(const AnchorOptions& options, int64_t height, int64_t width,
                            int64_t stride, torch::Device device, const ImageSize& input = {});

using DeltaStds = std::array<double, 4>;

// boxes [K,4] moved by deltas [K,4*C] (dx, dy, dw, dh per class, divided by stds): [K,4*C]. Width
// and height grow by a factor of 1000/16 at most, and with `limit_shrinking` become smaller by no
// more than that. Differentiable in the deltas.
torch::Tensor apply_deltas(const torch::Tensor& boxes, const torch::Tensor& deltas,
                           const DeltaStds& stds, bool limit_shrinking = true);

// The same, clipped to the image.
torch::Tensor decode_deltas(const torch::Tensor& boxes, const torch::Tensor& deltas,
                            const DeltaStds& stds, const ImageSize& clip,
                            bool limit_shrinking = true);

// The deltas [K,4] that move boxes [K,4] to objects [K,4]: what apply_deltas takes back. Neither
// may be empty boxes.
torch::Tensor encode_deltas(const torch::Tensor& boxes, const torch::Tensor& objects,
                            const DeltaStds& stds);

// The rows of boxes [K,4] that are at least min_size wide and high, and not empty, as indices.
torch::Tensor large_enough(const torch::Tensor& boxes, double min_size);

}  // namespace hornet
