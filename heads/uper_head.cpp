#include <hornet/backbone/plan/pyramid_conv.h>
#include <hornet/heads/ops/resize_bilinear.h>
#include <hornet/heads/uper_head.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/pooling.h>

namespace hornet {
namespace {

ConvModule conv_bn_relu(int64_t in, int64_t out, int64_t kernel) {
  return ConvModule(ConvModuleOptions(in, out, kernel).batch_norm(true).relu(true));
}

// The maps side by side, all of the first one's size.
torch::Tensor concatenated(Features maps) {
  for (size_t i = 1; i < maps.size(); ++i) {
    maps[i] = resize_bilinear(maps[i], maps[0].size(2), maps[0].size(3));
  }
  return torch::cat(maps, 1);
}

}  // namespace

torch::Tensor resize_bilinear(const torch::Tensor& x, int64_t height, int64_t width) {
  return ops::resize_bilinear(x, height, width);
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

void UperHeadImpl::prepare() {
  const auto prepared = [](const ConvModule& module, const std::vector<int64_t>& channels) {
    auto conv = std::make_shared<plan::PreparedPyramidConv>();
    conv->prepare(module->conv, module->bn, module->options.relu(), channels);
    return conv;
  };
  std::vector<int64_t> pooled(options.pool_scales().size() + 1, options.channels());
  pooled.front() = options.inputs().back().channels;
  pooling_ = prepared(bottleneck, pooled);
  if (options.fusion() != FusionConv::kConv3x3) return;
  const std::vector<int64_t> fused(options.inputs().size(), options.channels());
  fusion_ = prepared(fpn_bottleneck.get<ConvModule>(), fused);
}

int64_t UperHeadImpl::prepared_bytes() const {
  return (pooling_ ? pooling_->bytes() : 0) + (fusion_ ? fusion_->bytes() : 0);
}

torch::Tensor UperHeadImpl::pyramid_pooling(const torch::Tensor& x) {
  Features parts = {x};
  for (const auto& module : *psp_modules) {
    parts.push_back(module->as<torch::nn::Sequential>()->forward(x));
  }
  if (pooling_) {
    if (const auto y = pooling_->forward(*this, parts)) return *y;
  }
  return bottleneck->forward(concatenated(parts));
}

torch::Tensor UperHeadImpl::fuse(const Features& maps) {
  if (fusion_) {
    if (const auto y = fusion_->forward(*this, maps)) return *y;
  }
  return fpn_bottleneck.forward(concatenated(maps));
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
  const torch::Tensor fused = fuse(laterals);
  return conv_seg->forward(torch::feature_dropout(fused, options.dropout(), is_training()));
}

}  // namespace hornet
