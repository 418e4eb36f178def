// gnConv, the recursive gated convolution (HorNet, arXiv 2207.14284, section 3.1, eq. 3.3-3.4).
//
//   p_0, q = proj_in(x)                      1x1 convolution, C -> C/2^(n-1) + (2C - C/2^(n-1))
//   q_0 ... q_(n-1) = scale * mixer(q)       depthwise; split into C/2^(n-1), ..., C/2, C channels
//   p_(k+1) = f_k(p_k) * q_k                 f_0 = identity, f_k = 1x1 convolution that doubles C
//   y = proj_out(p_n)                        1x1 convolution, C -> C
//
// Each product raises the order of the interactions between positions by one. The mixer is a 7x7
// depthwise convolution, a GlobalLocalFilter, or any module of yours that keeps [N,S,H,W]:
//
//   hornet::GnConv conv(hornet::GnConvOptions(64).order(3));
//   hornet::GnConv global(hornet::GnConvOptions(256).order(4).global_filter(FilterSize{14, 8}));
//   hornet::GnConv mine(hornet::GnConvOptions(64).mixer([](int64_t channels) {
//     return torch::nn::AnyModule(MyMixer(channels)); }));
#pragma once

#include <hornet/backbone/global_local_filter.h>
#include <hornet/backbone/inference.h>
#include <torch/nn/modules/container/any.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>

#include <functional>
#include <memory>
#include <optional>

namespace hornet {

namespace plan {
class PreparedGnConv;
}

// Makes the depthwise mixer for a number of channels: any module with Tensor forward(Tensor).
using MixerFactory = std::function<torch::nn::AnyModule(int64_t channels)>;

struct GnConvOptions {
  explicit GnConvOptions(int64_t channels) : channels_(channels) {}
  TORCH_ARG(int64_t, channels);         // of the output; divisible by 2^(order-1)
  TORCH_ARG(int64_t, in_channels) = 0;  // of the input; 0: as the output
  TORCH_ARG(int64_t, order) = 2;        // n >= 1
  TORCH_ARG(double, scale) = 1.0;       // of the mixer's output
  TORCH_ARG(std::optional<FilterSize>, global_filter) = {};  // none: 7x7 depthwise convolution
  TORCH_ARG(MixerFactory, mixer) = {};  // a caller's own; wins over global_filter
};

// The widths of q_0 ... q_(n-1): {C >> (n-1), ..., C >> 1, C}. Error(kUsage) if C is not divisible.
std::vector<int64_t> gnconv_widths(int64_t channels, int64_t order);

class GnConvImpl : public torch::nn::Module, public Preparable {
 public:
  explicit GnConvImpl(const GnConvOptions& options);
  void pretty_print(std::ostream& stream) const override;

  // [N,in_channels,H,W] -> [N,channels,H,W].
  torch::Tensor forward(const torch::Tensor& x);

  // Of no use with a mixer of your own, which is run as it is.
  void prepare() override;
  int64_t prepared_bytes() const override;

  GnConvOptions options;
  torch::nn::Conv2d proj_in{nullptr}, proj_out{nullptr};
  torch::nn::AnyModule dwconv;  // the mixer, under the authors' name
  torch::nn::ModuleList pws;    // f_1 ... f_(n-1)

 private:
  std::vector<int64_t> widths_;
  std::shared_ptr<plan::PreparedGnConv> prepared_;
};
TORCH_MODULE(GnConv);

}  // namespace hornet
