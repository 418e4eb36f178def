// Feature pyramid networks (arXiv 1612.03144) and HorFPN, which replaces the 3x3 output
// convolutions by gnConv of order 2 (HorNet, arXiv 2207.14284, section 4.3).
//
//   lateral_i = conv1x1(C_i);  lateral_(i-1) += nearest-upsample(lateral_i), from the top down
//   P_i = output_conv_i(lateral_i);  further levels take every second pixel of the last one
//
//   hornet::Fpn neck(hornet::FpnOptions(backbone->feature_info()));
//   hornet::Fpn horfpn(hornet::FpnOptions(backbone->feature_info())
//                          .output(hornet::FusionConv::kGnConvGlobalFilter));
#pragma once

#include <hornet/backbone/backbone.h>
#include <hornet/necks/fusion_conv.h>
#include <torch/nn/modules/container/modulelist.h>

namespace hornet {

struct FpnOptions {
  explicit FpnOptions(std::vector<FeatureInfo> inputs) : inputs_(std::move(inputs)) {}
  TORCH_ARG(std::vector<FeatureInfo>, inputs);  // the backbone's feature_info()
  TORCH_ARG(int64_t, channels) = 256;           // of every output
  TORCH_ARG(int64_t, levels) = 5;               // outputs, at least as many as inputs
  TORCH_ARG(FusionConv, output) = FusionConv::kConv3x3;
  TORCH_ARG(FilterSize, filter_size) = (FilterSize{32, 17});  // for kGnConvGlobalFilter
};

class FpnImpl : public torch::nn::Module {
 public:
  explicit FpnImpl(const FpnOptions& options);

  // One map per input, high to low resolution, as the options' inputs describe them. Returns
  // `levels` maps [N,channels,H_i,W_i].
  Features forward(const Features& inputs);

  // Channels and strides of the outputs, also before there is a network.
  std::vector<FeatureInfo> feature_info() const { return feature_info(options); }
  static std::vector<FeatureInfo> feature_info(const FpnOptions& options);

  FpnOptions options;
  torch::nn::ModuleList lateral_convs;  // ConvModules

 private:
  std::vector<torch::nn::AnyModule> fpn_convs_;
};
TORCH_MODULE(Fpn);

}  // namespace hornet
