#include <hornet/necks/conv_module.h>

namespace hornet {

ConvModuleImpl::ConvModuleImpl(const ConvModuleOptions& options_) : options(options_) {
  auto conv_options = torch::nn::Conv2dOptions(options.in(), options.out(), options.kernel())
                          .padding(options.kernel() / 2)
                          .bias(!options.batch_norm());
  conv = register_module("conv", torch::nn::Conv2d(conv_options));
  if (options.batch_norm()) bn = register_module("bn", torch::nn::BatchNorm2d(options.out()));
}

torch::Tensor ConvModuleImpl::forward(const torch::Tensor& x) {
  torch::Tensor y = conv->forward(x);
  if (options.batch_norm()) y = bn->forward(y);
  return options.relu() ? torch::relu(y) : y;
}

}  // namespace hornet
