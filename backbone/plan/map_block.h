// One HorNet block as ops on whole maps, folded as block_plan.h says: what a GPU runs.
//
// The residual stream is float32. Matrix products and what goes between them are of one type,
// float32, bf16 or fp16; a mixer with a global filter is float32 inside. Maps are matrices with a
// row for each pixel of each image.
#pragma once

#include <hornet/backbone/hornet.h>
#include <hornet/backbone/plan/weight_watch.h>

namespace hornet::plan {

struct MapExtent {
  int64_t images = 0, height = 0, width = 0;
};

// A linear layer of the plan's type.
struct MapLinear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out]
};

class MapBlock {
 public:
  // Records the block's weights in `watch`. The block must fit: see BlockPlan::fits.
  MapBlock(HorNetBlockImpl& block, at::ScalarType type, WeightWatch& watch);

  // The branches of normed [M,C], without the biases of their last layers. `filter` is the one for
  // the map's size.
  at::Tensor mix(const at::Tensor& normed, const MapExtent& extent, const at::Tensor& filter) const;
  at::Tensor mlp(const at::Tensor& normed) const;
  const at::Tensor& mix_bias() const { return mix_bias_; }  // float32
  const at::Tensor& mlp_bias() const { return mlp_bias_; }

  // The interpolated filter for maps of a size; undefined without a global filter.
  at::Tensor filter(int64_t height, int64_t width) const;

  int64_t bytes() const;

 private:
  struct Global {
    at::Tensor pre_weight, pre_bias, post_weight, post_bias;
    const at::Tensor* complex_weight = nullptr;  // null: there is no global filter
  };

  void take_mixer(GnConvImpl& gnconv, WeightWatch& watch);
  at::Tensor mix_globally(const at::Tensor& q, const MapExtent& extent,
                          const at::Tensor& filter) const;

  at::ScalarType type_;
  std::vector<int64_t> widths_;
  MapLinear proj_in_, hidden_;
  std::vector<MapLinear> products_;
  at::Tensor proj_out_, back_;  // weights without bias, of the type
  at::Tensor mix_bias_, mlp_bias_;
  at::Tensor depthwise_, depthwise_bias_;  // float32; the bias may be undefined
  Global global_;
};

}  // namespace hornet::plan
