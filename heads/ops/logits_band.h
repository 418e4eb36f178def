// The arithmetic of sliding-window segmentation in bounded memory: a band of image rows to which
// windows add their logits, and which gives up its labels row by row.
//
// A network's logits come at a fraction of the image's resolution. Resizing them for all classes
// (157 MB a window of 512 x 512 and 150 classes) only to add them up would cost more memory
// traffic than all else; the kernels resize and add, and divide and compare, in one pass.
// Dispatcher ops hornet::add_window and hornet::band_labels on CPU and CUDA, and a composite of
// LibTorch's ops for other devices. For inference: neither has a gradient.
#pragma once

#include <torch/types.h>

namespace hornet::ops {

// A window's place: its upper left corner, in columns of the band and rows of the image, and which
// of the image's rows are wanted. Rows and columns outside are left out.
struct WindowPlace {
  int64_t x = 0, y = 0;
  int64_t row_begin = 0, row_end = 0;
};

// Adds logits [C,h,w], resized to the window (bilinear, align_corners=False, as the heads resize)
// and weighted by row_weights[i] * column_weights[j], to band [R,C,W] float32. Image row y lies in
// row y % R of the band; the window has as many rows and columns as there are weights.
void add_window(const torch::Tensor& band, const torch::Tensor& logits,
                const torch::Tensor& row_weights, const torch::Tensor& column_weights,
                const WindowPlace& place);

// The class of the largest rows[r,c,x] / (row_totals[r] * column_totals[x]), the first of equals:
// rows [R,C,W] float32 -> [R,W], uint8 for up to 255 classes, else int32.
torch::Tensor band_labels(const torch::Tensor& rows, const torch::Tensor& row_totals,
                          const torch::Tensor& column_totals);

// What the kernels compute, in LibTorch's ops.
void add_window_composite(const torch::Tensor& band, const torch::Tensor& logits,
                          const torch::Tensor& row_weights, const torch::Tensor& column_weights,
                          int64_t x, int64_t y, int64_t row_begin, int64_t row_end);
torch::Tensor band_labels_composite(const torch::Tensor& rows, const torch::Tensor& row_totals,
                                    const torch::Tensor& column_totals);

}  // namespace hornet::ops
