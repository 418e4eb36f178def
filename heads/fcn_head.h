// The fully convolutional head (arXiv 1411.4038) that the authors train beside UperNet: 3x3
// convolution, then one channel a class. Not needed at inference.
#pragma once

#include <hornet/backbone/backbone.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>

namespace hornet {

struct FcnHeadOptions {
  explicit FcnHeadOptions(int64_t in_channels) : in_channels_(in_channels) {}
  TORCH_ARG(int64_t, in_channels);
  TORCH_ARG(int64_t, channels) = 256;
  TORCH_ARG(int64_t, num_classes) = 150;
  TORCH_ARG(double, dropout) = 0;  // of whole maps before the classifier, in training
};

class FcnHeadImpl : public torch::nn::Module {
 public:
  explicit FcnHeadImpl(const FcnHeadOptions& options);
  torch::Tensor forward(const torch::Tensor& x);  // [N,C,H,W] -> logits [N,num_classes,H,W]

  FcnHeadOptions options;
  torch::nn::ModuleList convs;
  torch::nn::Conv2d conv_seg{nullptr};
};
TORCH_MODULE(FcnHead);

}  // namespace hornet
