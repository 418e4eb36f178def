// The box head of the R-CNN family: pooled features of a RoI -> class logits and box deltas.
// Cascade Mask R-CNN uses four 3x3 convolutions with batch norm and one fully connected layer,
// Mask R-CNN two fully connected layers (mmdet's ConvFCBBoxHead and Shared2FCBBoxHead).
#pragma once

#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/linear.h>

namespace hornet {

struct BboxHeadOptions {
  TORCH_ARG(int64_t, in_channels) = 256;
  TORCH_ARG(int64_t, num_classes) = 80;
  TORCH_ARG(int64_t, roi_size) = 7;
  TORCH_ARG(int64_t, convs) = 0;  // 3x3, batch norm, ReLU
  TORCH_ARG(int64_t, conv_channels) = 256;
  TORCH_ARG(int64_t, fcs) = 2;  // at least 1
  TORCH_ARG(int64_t, fc_channels) = 1024;
  TORCH_ARG(bool, class_agnostic) = false;  // one box for all classes, as in mmdet's cascades
};

struct BboxOutputs {
  torch::Tensor cls_score;  // [K, num_classes + 1], logits, background last
  torch::Tensor bbox_pred;  // [K, 4 * num_classes], deltas per class; [K, 4] if class_agnostic
};

class BboxHeadImpl : public torch::nn::Module {
 public:
  explicit BboxHeadImpl(const BboxHeadOptions& options);
  BboxOutputs forward(const torch::Tensor& roi_feats);  // [K,in_channels,roi_size,roi_size]

  BboxHeadOptions options;
  torch::nn::ModuleList shared_convs, shared_fcs;
  torch::nn::Linear fc_cls{nullptr}, fc_reg{nullptr};
};
TORCH_MODULE(BboxHead);

}  // namespace hornet
