#include <hornet/heads/uper_head.h>
#include <torch/nn/functional/upsampling.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/pooling.h>

namespace hornet {
namespace {

ConvModule conv_bn_relu(int64_t in, int64_t out, int64_t kernel) {
  return ConvModule(ConvModuleOptions(in, out, kernel).batch_norm(true).relu(true));
}

}  // namespace

torch::Tensor resize_bilinear(const torch::Tensor& x, int64_t height, int64_t width) {
  namespace F = torch::nn::functional;
  return F::interpolate(x, F::InterpolateFuncOptions()
                               .size(std::vector<int64_t>{height, width})
                               .mode(torch::kBilinear)
                               .align_corners(false));
}

UperHeadImpl::UperHeadImpl(const UperHeadOptions& options_) : options(options_) {
  const auto& inputs = options.inputs();
  const int64_t channels = options.channels(), deepest = inputs.back().channels;
  TORCH_CHECK(inputs.size() >= 2, "UperHead: needs at least two maps, got ", inputs.size());
  register_module("psp_modules", psp_modules);
  for (int64_t scale : options.pool_scales()) {
    psp_modules->push_back(torch::nn::Sequential(
        torch::nn::AdaptiveAvgPool2d(torch::nn::AdaptiveAvgPool2dOptions({scale, scale})),
        conv_bn_relu(deepest, channels, 1)));
  }
  const int64_t pooled = static_cast<int64_t>(options.pool_scales().size()) * channels;
  bottleneck = register_module("bottleneck", conv_bn_relu(deepest + pooled, channels, 3));
  register_module("lateral_convs", lateral_convs);
  register_module("fpn_convs", fpn_convs);
  for (size_t i = 0; i + 1 < inputs.size(); ++i) {
    lateral_convs->push_back(conv_bn_relu(inputs[i].channels, channels, 1));
    fpn_convs->push_back(conv_bn_relu(channels, channels, 3));
  }
  fpn_bottleneck = make_fusion_conv(
      FusionConvOptions(options.fusion(), static_cast<int64_t>(inputs.size()) * channels, channels)
          .filter_size(options.filter_size())
          .norm_and_relu(true));
  register_module("fpn_bottleneck", fpn_bottleneck.ptr());
  conv_seg = register_module(
      "conv_seg", torch::nn::Conv2d(torch::nn::Conv2dOptions(channels, options.num_classes(), 1)));
}

torch::Tensor UperHeadImpl::pyramid_pooling(const torch::Tensor& x) {
  std::vector<torch::Tensor> parts = {x};
  for (const auto& module : *psp_modules) {
    const torch::Tensor pooled = module->as<torch::nn::Sequential>()->forward(x);
    parts.push_back(resize_bilinear(pooled, x.size(2), x.size(3)));
  }
  return bottleneck->forward(torch::cat(parts, 1));
}

torch::Tensor UperHeadImpl::forward(const Features& inputs, const Tap& tap) {
  TORCH_CHECK(inputs.size() == options.inputs().size(), "UperHead: expected ",
              options.inputs().size(), " feature maps, got ", inputs.size());
  Features laterals;
  for (size_t i = 0; i + 1 < inputs.size(); ++i) {
    laterals.push_back(lateral_convs[i]->as<ConvModule>()->forward(inputs[i]));
  }
  laterals.push_back(pyramid_pooling(inputs.back()));
  tap_value(tap, "ppm", laterals.back());
  for (size_t i = laterals.size() - 1; i > 0; --i) {
    torch::Tensor& finer = laterals[i - 1];
    finer = finer + resize_bilinear(laterals[i], finer.size(2), finer.size(3));
  }
  for (size_t i = 0; i + 1 < laterals.size(); ++i) {
    laterals[i] = fpn_convs[i]->as<ConvModule>()->forward(laterals[i]);
  }
  for (size_t i = 1; i < laterals.size(); ++i) {
    laterals[i] = resize_bilinear(laterals[i], laterals[0].size(2), laterals[0].size(3));
  }
  const torch::Tensor fused = fpn_bottleneck.forward(torch::cat(laterals, 1));
  return conv_seg->forward(torch::feature_dropout(fused, options.dropout(), is_training()));
}

}  // namespace hornet
