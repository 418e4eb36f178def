// Bilinear resizing (align_corners=False) that trains fast on a CPU: LibTorch's gradient of maps
// that lie in planes, as those of a loss do, takes a tenth of a segmentation's training step. Here
// it is two matrix products.
#pragma once

#include <torch/types.h>

namespace hornet::ops {

// x [N,C,H,W] -> [N,C,height,width]. The values are LibTorch's, and so are the gradients but for
// the order of their sums.
torch::Tensor resize_bilinear(const torch::Tensor& x, int64_t height, int64_t width);

}  // namespace hornet::ops
