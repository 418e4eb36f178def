#include <hornet/backbone/depthwise_conv.h>
#include <hornet/backbone/ops/depthwise_conv.h>

namespace hornet {

DepthwiseConvImpl::DepthwiseConvImpl(int64_t channels, int64_t kernel, bool bias)
    : torch::nn::Conv2dImpl(torch::nn::Conv2dOptions(channels, channels, kernel)
                                .padding(kernel / 2)
                                .groups(channels)
                                .bias(bias)) {}

torch::Tensor DepthwiseConvImpl::forward(const torch::Tensor& x) {
  return ops::depthwise_conv(x, weight, bias.defined() ? std::make_optional(bias) : std::nullopt);
}

}  // namespace hornet
