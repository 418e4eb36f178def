// Layer normalisation over the channels of a feature map (ConvNeXt's "channels_first" layer norm,
// which HorNet uses wherever it normalises a map): biased variance, then weight and bias per
// channel.
#pragma once

#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

namespace hornet {

inline constexpr double kLayerNormEps = 1e-6;  // the authors' value, everywhere

class ChannelLayerNormImpl : public torch::nn::Cloneable<ChannelLayerNormImpl> {
 public:
  explicit ChannelLayerNormImpl(int64_t channels) : channels_(channels) { reset(); }
  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  // [N,C,H,W] -> [N,C,H,W], dense in channels-last order. Free of copies if x is channels-last.
  torch::Tensor forward(const torch::Tensor& x);

  torch::Tensor weight, bias;  // [C]

 private:
  int64_t channels_;
};
TORCH_MODULE(ChannelLayerNorm);

}  // namespace hornet
