// UperNet's head (arXiv 1807.10221; mmseg's UPerHead): pyramid pooling on the coarsest map, an
// FPN over the others, everything resized to the finest and fused by one convolution, which in
// the HorFPN variants is a gnConv (HorNet, arXiv 2207.14284, section 4.2).
#pragma once

#include <hornet/backbone/backbone.h>
#include <hornet/backbone/inference.h>
#include <hornet/heads/tap.h>
#include <hornet/necks/conv_module.h>
#include <hornet/necks/fusion_conv.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>

namespace hornet {

namespace plan {
class PreparedPyramidConv;
}

struct UperHeadOptions {
  explicit UperHeadOptions(std::vector<FeatureInfo> inputs) : inputs_(std::move(inputs)) {}
  TORCH_ARG(std::vector<FeatureInfo>, inputs);  // the backbone's feature_info()
  TORCH_ARG(int64_t, channels) = 512;
  TORCH_ARG(int64_t, num_classes) = 150;
  TORCH_ARG(std::vector<int64_t>, pool_scales) = (std::vector<int64_t>{1, 2, 3, 6});
  TORCH_ARG(FusionConv, fusion) = FusionConv::kConv3x3;
  TORCH_ARG(FilterSize, filter_size) = (FilterSize{32, 17});  // for kGnConvGlobalFilter
  TORCH_ARG(double, dropout) = 0;  // of whole maps before the classifier, in training
};

class UperHeadImpl : public torch::nn::Module, public Preparable {
 public:
  explicit UperHeadImpl(const UperHeadOptions& options);

  // One map per input -> logits [N,num_classes,H,W] at the finest map's size. Taps "ppm".
  torch::Tensor forward(const Features& inputs, const Tap& tap = {});

  void prepare() override;
  int64_t prepared_bytes() const override;

  UperHeadOptions options;
  torch::nn::ModuleList psp_modules, lateral_convs, fpn_convs;
  ConvModule bottleneck{nullptr};
  torch::nn::AnyModule fpn_bottleneck;
  torch::nn::Conv2d conv_seg{nullptr};

 private:
  torch::Tensor pyramid_pooling(const torch::Tensor& x);
  torch::Tensor fuse(const Features& maps);

  std::shared_ptr<plan::PreparedPyramidConv> pooling_, fusion_;
};
TORCH_MODULE(UperHead);

// Bilinear, align_corners=False: what every resize in the segmentation models is.
torch::Tensor resize_bilinear(const torch::Tensor& x, int64_t height, int64_t width);

}  // namespace hornet
