// The products of gnConv (HorNet, arXiv 2207.14284, section 3.1): all between its mixer and
// proj_out, in one op.
//
//   p_(k+1) = f_k(p_k) * s q_k,   k = 0 ... n-1,   f_0 = identity,   f_k = W_k p + b_k
//
//   p_0  [N,d_0,H,W]                  the first channels of proj_in's output
//   q    [N,d_0 + ... + d_(n-1),H,W]  the gates q_0, ..., q_(n-1), from the mixer
//   W_k  [d_k,d_(k-1)] or [d_k,d_(k-1),1,1], b_k [d_k]: pointwise convolutions
//
// Neither s q nor slices of q are made: a product is one pass over the result of a matrix product,
// block by block, so that a block's values stay in cache. p_0 may be a slice of proj_in's output;
// p_n comes in the layout of q (channels-last or not), and both layouts are read as they lie.
//
// Dispatcher op hornet::gnconv on CPU, CUDA, Autograd, Autocast and Meta. The gradient keeps the
// inputs only and computes the p_k again; it consists of LibTorch's differentiable ops.
#pragma once

#include <torch/types.h>

namespace hornet::ops {

// Returns p_n [N,d_(n-1),H,W]. weights: W_1 ... W_(n-1); none for order 1. All of one floating
// type; reduced ones are multiplied in float32 and rounded once per product and matrix product.
torch::Tensor gnconv(const torch::Tensor& p, const torch::Tensor& q, torch::TensorList weights,
                     torch::TensorList biases, double scale = 1.0);

}  // namespace hornet::ops
