#include <hornet/heads/mask_head.h>
#include <hornet/necks/conv_module.h>

namespace hornet {

MaskHeadImpl::MaskHeadImpl(const MaskHeadOptions& options_) : options(options_) {
  register_module("convs", convs);
  int64_t channels = options.in_channels();
  for (int64_t i = 0; i < options.convs(); ++i) {
    convs->push_back(ConvModule(ConvModuleOptions(channels, options.channels(), 3).relu(true)));
    channels = options.channels();
  }
  upsample = register_module(
      "upsample",
      torch::nn::ConvTranspose2d(
          torch::nn::ConvTranspose2dOptions(channels, options.channels(), 2).stride(2)));
  conv_logits = register_module("conv_logits", torch::nn::Conv2d(torch::nn::Conv2dOptions(
                                                   options.channels(), options.num_classes(), 1)));
}

torch::Tensor MaskHeadImpl::forward(const torch::Tensor& roi_feats, const torch::Tensor& labels) {
  torch::Tensor x = roi_feats;
  for (const auto& conv : *convs) x = conv->as<ConvModule>()->forward(x);
  x = torch::relu(upsample->forward(x));
  const torch::Tensor weight = conv_logits->weight.flatten(1).index_select(0, labels);
  const torch::Tensor logits = torch::bmm(weight.unsqueeze(1).to(x.scalar_type()), x.flatten(2));
  const torch::Tensor bias = conv_logits->bias.index_select(0, labels).view({-1, 1, 1});
  return logits.view({x.size(0), x.size(2), x.size(3)}) + bias;
}

}  // namespace hornet
