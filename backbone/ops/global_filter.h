// The global filter (GFNet, arXiv 2107.00645; HorNet, arXiv 2207.14284, section 3.3): a circular
// convolution with a kernel as large as the map, done as a product in the frequency domain:
//
//   y = irfft2(rfft2(x) * K),   x, y [N,C,H,W],   K [C, H, W/2+1] complex,   norm "ortho"
//
// The kernel is learned at one size and resized, real and imaginary part alike, to the size of
// the map it meets. K is not Hermitian: the inverse transform runs over H first and then drops
// the imaginary part of column 0 (and of column W/2 for even W), as torch.fft.irfft2 does.
// Both functions are composites of ATen functions: differentiable, on any device, in float32.
#pragma once

#include <torch/types.h>

namespace hornet::ops {

// complex_weight [C,h,w,2] (real, imaginary) -> complex [C, height, width/2+1] for maps of
// height x width: bilinear with aligned corners; the weight itself if the size is already right.
torch::Tensor interpolate_filter(const torch::Tensor& complex_weight, int64_t height,
                                 int64_t width);

// x [N,C,H,W] in any floating type (computed in float32, or in float64 if it is that), spectrum
// as interpolate_filter gives it for H and W. Returns float32 (float64) [N,C,H,W].
torch::Tensor global_filter(const torch::Tensor& x, const torch::Tensor& spectrum);

}  // namespace hornet::ops
