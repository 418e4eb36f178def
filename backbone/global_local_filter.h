// GlobalLocalFilter (HorNet, arXiv 2207.14284, section 3.3): a layer norm, then half of the
// channels through a 3x3 depthwise convolution (local) and half through a global filter in the
// frequency domain (global), their channels interleaved, and a second layer norm.
//
//   hornet::GlobalLocalFilter filter(hornet::GlobalLocalFilterOptions(240, {14, 8}));
//   torch::Tensor y = filter->forward(x);     // x, y: [N,240,H,W], any H and W
//
// The filter's own size {h, w} is that of the map it was trained on ({14, 8} for 14x14 maps). For
// other maps it is interpolated on the device it lives on. In evaluation mode and without
// gradients the result is kept per map size (the last few sizes); an update of the weight, .to(),
// train(), eval() or a forward with gradients drops it. Updates are noticed by the weight's
// version counter, as autograd does: write through NoGradGuard, not through tensor.data().
#pragma once

#include <hornet/backbone/depthwise_conv.h>
#include <hornet/backbone/layer_norm.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <memory>

namespace hornet {

// Rows and columns of a learned filter in the frequency domain: h, and w = (map width) / 2 + 1.
struct FilterSize {
  int64_t h = 0;
  int64_t w = 0;
};

struct GlobalLocalFilterOptions {
  GlobalLocalFilterOptions(int64_t channels, FilterSize size) : channels_(channels), size_(size) {}
  TORCH_ARG(int64_t, channels);  // even
  TORCH_ARG(FilterSize, size);
};

class GlobalLocalFilterImpl : public torch::nn::Cloneable<GlobalLocalFilterImpl> {
 public:
  explicit GlobalLocalFilterImpl(const GlobalLocalFilterOptions& options);
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  void train(bool on = true) override;

  // [N,C,H,W] -> [N,C,H,W]. The global half is computed in float32 whatever x is.
  torch::Tensor forward(const torch::Tensor& x);

  // How many map sizes have an interpolated filter in store, at most kCachedSizes.
  size_t cached_sizes() const;
  static constexpr size_t kCachedSizes = 4;

  GlobalLocalFilterOptions options;
  ChannelLayerNorm pre_norm{nullptr}, post_norm{nullptr};
  DepthwiseConv dw{nullptr};     // 3x3, no bias
  torch::Tensor complex_weight;  // [C/2,h,w,2]: real, imaginary

 private:
  class FilterCache;
  torch::Tensor filter_for(int64_t height, int64_t width);
  std::shared_ptr<FilterCache> cache_;
};
TORCH_MODULE(GlobalLocalFilter);

}  // namespace hornet
