// The mask head of Mask R-CNN (arXiv 1703.06870, section 3; mmdet's FCNMaskHead): four 3x3
// convolutions, a 2x2 transposed convolution, and a 1x1 convolution with one channel a class.
// Only the channel of each RoI's own class is computed, which is all that inference looks at.
#pragma once

#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>

namespace hornet {

struct MaskHeadOptions {
  TORCH_ARG(int64_t, in_channels) = 256;
  TORCH_ARG(int64_t, num_classes) = 80;
  TORCH_ARG(int64_t, convs) = 4;
  TORCH_ARG(int64_t, channels) = 256;
};

class MaskHeadImpl : public torch::nn::Module {
 public:
  explicit MaskHeadImpl(const MaskHeadOptions& options);

  // roi_feats [K,in_channels,14,14], labels int64 [K] -> logits [K,28,28] of each RoI's label.
  torch::Tensor forward(const torch::Tensor& roi_feats, const torch::Tensor& labels);

  MaskHeadOptions options;
  torch::nn::ModuleList convs;
  torch::nn::ConvTranspose2d upsample{nullptr};
  torch::nn::Conv2d conv_logits{nullptr};
};
TORCH_MODULE(MaskHead);

}  // namespace hornet
