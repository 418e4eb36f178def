// A depthwise convolution that trains fast on a CPU: LibTorch's gradient of its weight takes more
// than ten times as long as the convolution itself, an eighth of a training step. (What inference
// runs, with gnConv's first product in it, is depthwise.h.)
//
//   Tensor y = ops::depthwise_conv(x, weight, bias);   // at::conv2d, "same" padding, C groups
#pragma once

#include <torch/types.h>

#include <optional>

namespace hornet::ops {

// x [N,C,H,W], weight [C,1,K,K] with K odd, bias [C] or none -> [N,C,H,W]. The values are those
// of at::conv2d and so are the gradients, but for that of the weight of a float32 map on a CPU,
// which is summed in another order (K is 3 or 7, and it is to be differentiated once).
torch::Tensor depthwise_conv(const torch::Tensor& x, const torch::Tensor& weight,
                             const std::optional<torch::Tensor>& bias);

// The gradient of the weight: [C,1,kernel,kernel], from x and the result's gradient [N,C,H,W], both
// float32 on the CPU and in any order of memory, channels-last best. The sums do not depend on the
// number of threads. `kernel` is 3 or 7.
torch::Tensor depthwise_weight_grad(const torch::Tensor& x, const torch::Tensor& grad,
                                    int64_t kernel);

}  // namespace hornet::ops
