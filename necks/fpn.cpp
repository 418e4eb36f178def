#include <hornet/necks/conv_module.h>
#include <hornet/necks/fpn.h>
#include <torch/nn/functional/upsampling.h>

namespace hornet {
namespace {

torch::Tensor upsample_to(const torch::Tensor& x, const torch::Tensor& reference) {
  namespace F = torch::nn::functional;
  return F::interpolate(x, F::InterpolateFuncOptions()
                               .size(std::vector<int64_t>{reference.size(2), reference.size(3)})
                               .mode(torch::kNearest));
}

}  // namespace

FpnImpl::FpnImpl(const FpnOptions& options_) : options(options_) {
  TORCH_CHECK(!options.inputs().empty() &&
                  options.levels() >= static_cast<int64_t>(options.inputs().size()),
              "Fpn: needs inputs and at least as many levels, got ", options.inputs().size(),
              " inputs and ", options.levels(), " levels");
  register_module("lateral_convs", lateral_convs);
  torch::nn::ModuleList fpn_convs;
  const FusionConvOptions output =
      FusionConvOptions(options.output(), options.channels(), options.channels())
          .filter_size(options.filter_size());
  for (const FeatureInfo& input : options.inputs()) {
    lateral_convs->push_back(ConvModule(ConvModuleOptions(input.channels, options.channels(), 1)));
    fpn_convs_.push_back(make_fusion_conv(output));
    fpn_convs->push_back(fpn_convs_.back().ptr());
  }
  register_module("fpn_convs", fpn_convs);
}

Features FpnImpl::forward(const Features& inputs) {
  TORCH_CHECK(inputs.size() == options.inputs().size(), "Fpn: expected ", options.inputs().size(),
              " feature maps, got ", inputs.size());
  Features laterals;
  for (size_t i = 0; i < inputs.size(); ++i) {
    laterals.push_back(lateral_convs[i]->as<ConvModule>()->forward(inputs[i]));
  }
  for (size_t i = laterals.size() - 1; i > 0; --i) {
    laterals[i - 1] = laterals[i - 1] + upsample_to(laterals[i], laterals[i - 1]);
  }
  Features outputs;
  for (size_t i = 0; i < laterals.size(); ++i) {
    outputs.push_back(fpn_convs_[i].forward(laterals[i]));
  }
  while (static_cast<int64_t>(outputs.size()) < options.levels()) {
    outputs.push_back(torch::max_pool2d(outputs.back(), /*kernel_size=*/1, /*stride=*/2));
  }
  return outputs;
}

std::vector<FeatureInfo> FpnImpl::feature_info(const FpnOptions& options) {
  std::vector<FeatureInfo> info;
  for (const FeatureInfo& input : options.inputs()) {
    info.push_back({options.channels(), input.stride});
  }
  while (static_cast<int64_t>(info.size()) < options.levels()) {
    info.push_back({options.channels(), 2 * info.back().stride});
  }
  return info;
}

}  // namespace hornet
