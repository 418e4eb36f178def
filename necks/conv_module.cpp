#include <hornet/backbone/plan/conv_plan.h>
#include <hornet/necks/conv_module.h>

namespace hornet {

ConvModuleImpl::ConvModuleImpl(const ConvModuleOptions& options_) : options(options_) {
  auto conv_options = torch::nn::Conv2dOptions(options.in(), options.out(), options.kernel())
                          .padding(options.kernel() / 2)
                          .bias(!options.batch_norm());
  conv = register_module("conv", torch::nn::Conv2d(conv_options));
  if (options.batch_norm()) bn = register_module("bn", torch::nn::BatchNorm2d(options.out()));
}

void ConvModuleImpl::prepare() {
  prepared_ = std::make_shared<plan::PreparedConv>();
  prepared_->prepare(conv, bn, options.relu());
}

int64_t ConvModuleImpl::prepared_bytes() const { return prepared_ ? prepared_->bytes() : 0; }

torch::Tensor ConvModuleImpl::forward(const torch::Tensor& x) {
  if (prepared_) {
    if (const auto y = prepared_->forward(*this, x)) return *y;
  }
  torch::Tensor y = conv->forward(x);
  if (options.batch_norm()) y = bn->forward(y);
  return options.relu() ? torch::relu(y) : y;
}

}  // namespace hornet
