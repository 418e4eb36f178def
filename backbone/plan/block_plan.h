// One HorNet block, folded and packed: gnConv takes norm1's affine part and layer scale 1
// (gnconv_plan.h), pwconv1 norm2's affine part, pwconv2 layer scale 2. It runs in the three steps
// of its gnConv: begin(), gnconv().mix(), finish().
#pragma once

#include <hornet/backbone/hornet.h>
#include <hornet/backbone/plan/gnconv_plan.h>

namespace hornet::plan {

// The maps of a stage, a row for each pixel of each image.
struct BlockMaps {
  Rows x;  // [M, C], the residual stream
  GnConvMaps gnconv;
  BlockMaps from(int64_t row) const { return {{x.row(row), x.stride}, gnconv.from(row)}; }
};

class BlockPlan {
 public:
  // Records the block's weights in `watch`. The block must fit: see fits().
  BlockPlan(const Kernels& kernels, HorNetBlockImpl& block, WeightWatch& watch);

  // Whether a block is what plans know: float32 on the device, a 7x7 or a global-local mixer.
  static bool fits(const HorNetBlockImpl& block, at::DeviceType device = at::kCPU);

  int64_t channels() const { return gnconv_.channels(); }
  GnConvPlan& gnconv() { return gnconv_; }
  const GnConvPlan& gnconv() const { return gnconv_; }

  // x -> p and q, and x, p, mixed -> x, for `rows` rows. `scratch`: row_scratch(rows) floats.
  void begin(const BlockMaps& maps, int64_t rows, float* scratch) const;
  void finish(const BlockMaps& maps, int64_t rows, float* scratch) const;
  int64_t row_scratch(int64_t rows) const;

  int64_t bytes() const;

 private:
  void mlp(Rows x, int64_t rows, float* scratch) const;
  int64_t row_floats() const;

  const Kernels& kernels_;
  GnConvPlan gnconv_;
  PackedMatrix hidden_, back_;
};

}  // namespace hornet::plan
