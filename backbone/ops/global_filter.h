// The global filter (GFNet, arXiv 2107.00645; HorNet, arXiv 2207.14284, section 3.3): a circular
// convolution with a kernel as large as the map, done as a product in the frequency domain:
//
//   y = irfft2(rfft2(x) * K),   x, y [N,C,H,W],   K [C,H,W/2+1] complex,   norm "ortho"
//
// The kernel is learned at one size and resized, real and imaginary part alike, to the size of
// the map it meets. K is not Hermitian: the inverse transform runs over H first and then drops
// the imaginary part of column 0 (and of column W/2 for even W), as torch.fft.irfft2 does.
//
// Dispatcher ops hornet::global_filter on every device with an FFT (on CUDA, small maps are one
// kernel: global_filter_block.h), Autograd, Autocast and Meta, and hornet::interpolate_filter, a
// composite of LibTorch's ops. To resize once for many maps of a size:
//
//   torch::Tensor resized = ops::interpolate_filter(complex_weight, 50, 76);
//   torch::Tensor y = ops::global_filter(x, resized);   // same as with complex_weight
#pragma once

#include <torch/types.h>

namespace hornet::ops {

// complex_weight [C,h,w,2] (real, imaginary) -> [C,height,width/2+1,2] for maps of height x width:
// bilinear with aligned corners, in float32, or float64 if the weight is that.
torch::Tensor interpolate_filter(const torch::Tensor& complex_weight, c10::SymInt height,
                                 c10::SymInt width);

// x [N,C,H,W] and complex_weight [C,h,w,2], resized if h and w are not H and W/2+1, each in any
// floating type. Computes in and returns float32 [N,C,H,W], or float64 if x or the weight is that.
torch::Tensor global_filter(const torch::Tensor& x, const torch::Tensor& complex_weight);

// The same into out [N,C,H,W] of any strides, that does not overlap x. For inference: no gradient.
void global_filter_into(const torch::Tensor& x, const torch::Tensor& complex_weight,
                        const torch::Tensor& out);

// The same in LibTorch's transforms, which run where there is no kernel.
torch::Tensor global_filter_composite(const torch::Tensor& x, const torch::Tensor& complex_weight);

}  // namespace hornet::ops
