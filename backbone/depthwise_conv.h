// The depthwise convolution of gnConv and of the global filter: torch::nn::Conv2d with "same"
// padding, its parameters' names, and a faster gradient (see ops/depthwise_conv.h).
#pragma once

#include <torch/nn/modules/conv.h>

namespace hornet {

class DepthwiseConvImpl : public torch::nn::Conv2dImpl {
 public:
  // kernel: odd
  DepthwiseConvImpl(int64_t channels, int64_t kernel, bool bias);
  torch::Tensor forward(const torch::Tensor& x);
};
TORCH_MODULE(DepthwiseConv);

}  // namespace hornet
