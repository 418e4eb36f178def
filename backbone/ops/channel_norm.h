// Layer norm over the channels of pixels, rows of a matrix: what a channels-last map is in memory.
// For inference: the parts that a GPU does badly one by one are one pass here.
//
//   Tensor normed = ops::channel_norm(rows, weight, bias, 1e-6, at::kHalf);
//   Tensor normed = ops::add_channel_norm(stream, branch, bias, 1e-6);   // stream += branch + bias
//
// Dispatcher ops hornet::channel_norm and hornet::add_channel_norm: a CUDA kernel (a warp a row),
// and a composite of LibTorch's ops for other devices. Statistics are float32. No gradients.
#pragma once

#include <torch/types.h>

#include <optional>

namespace hornet::ops {

// rows [M,C] of float32, bf16 or fp16, channels side by side -> [M,C] of `type`. weight and bias
// [C] float32. interleave: the result's channels are 0, C/2, 1, C/2 + 1, ...; so its weights are.
torch::Tensor channel_norm(const torch::Tensor& rows, const std::optional<torch::Tensor>& weight,
                           const std::optional<torch::Tensor>& bias, double epsilon,
                           torch::ScalarType type, bool interleave = false);

// Adds branch [M,C], of any of the three types, and its bias [C] float32 to stream [M,C] float32,
// and returns the sum normalised, without an affine part, in the branch's type.
torch::Tensor add_channel_norm(const torch::Tensor& stream, const torch::Tensor& branch,
                               const torch::Tensor& branch_bias, double epsilon);

}  // namespace hornet::ops
