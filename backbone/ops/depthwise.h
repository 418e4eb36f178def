// A depthwise convolution of a channels-last map with what gnConv does to its result: a bias, and
// the first product, of the first channels with gnConv's p. A scale belongs into weight and bias.
//
//   Tensor mixed = at::empty_like(q);
//   ops::depthwise(q, weight, bias, p, mixed);    // mixed[:, :d] = p * (conv(q) + bias)[:, :d]
//
// Maps are [N,C,H,W] in channels-last order, and may be slices of the channels of wider ones.
// Dispatcher op hornet::depthwise: a CUDA kernel, and a composite of LibTorch's ops for other
// devices. For inference: no gradient.
#pragma once

#include <torch/types.h>

#include <optional>

namespace hornet::ops {

// x and out [N,C,H,W] float32, bf16 or fp16, that must not overlap; weight [C,1,K,K] float32 with K
// 3 or 7 (free of copies if a tap's weights lie side by side); bias [C] float32; gate [N,D,H,W] of
// x's type, D <= C. Borders are padded with zeros. Sums are float32, rounded once.
void depthwise(const torch::Tensor& x, const torch::Tensor& weight,
               const std::optional<torch::Tensor>& bias, const std::optional<torch::Tensor>& gate,
               const torch::Tensor& out);

}  // namespace hornet::ops
