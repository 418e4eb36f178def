#include <hornet/heads/fcn_head.h>
#include <hornet/necks/conv_module.h>

namespace hornet {

FcnHeadImpl::FcnHeadImpl(const FcnHeadOptions& options_) : options(options_) {
  register_module("convs", convs);
  convs->push_back(ConvModule(
      ConvModuleOptions(options.in_channels(), options.channels(), 3).batch_norm(true).relu(true)));
  conv_seg = register_module("conv_seg", torch::nn::Conv2d(torch::nn::Conv2dOptions(
                                             options.channels(), options.num_classes(), 1)));
}

torch::Tensor FcnHeadImpl::forward(const torch::Tensor& x) {
  const torch::Tensor features = convs[0]->as<ConvModule>()->forward(x);
  return conv_seg->forward(torch::feature_dropout(features, options.dropout(), is_training()));
}

}  // namespace hornet
