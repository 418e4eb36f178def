#include <hornet/backbone/layer_norm.h>

namespace hornet {

void ChannelLayerNormImpl::reset() {
  weight = register_parameter("weight", torch::ones({channels_}));
  bias = register_parameter("bias", torch::zeros({channels_}));
}

void ChannelLayerNormImpl::pretty_print(std::ostream& stream) const {
  stream << "hornet::ChannelLayerNorm(" << channels_ << ")";
}

torch::Tensor ChannelLayerNormImpl::forward(const torch::Tensor& x) {
  const torch::Tensor channels_last = x.permute({0, 2, 3, 1});
  return torch::layer_norm(channels_last, {channels_}, weight, bias, kLayerNormEps)
      .permute({0, 3, 1, 2});
}

}  // namespace hornet
