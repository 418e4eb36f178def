// One HorNet block, folded and packed:
//
//   proj_in  takes norm1's affine part, split into what gnConv's p and q are made of
//   mixer    takes gnConv's scale (with a global filter: post_norm does)
//   proj_out takes layer scale 1, pwconv1 norm2's affine part, pwconv2 layer scale 2
//
// A block runs in three steps. begin() and finish() work on any rows of the maps, so that a thread
// carries some pixels through everything between two mixings without leaving its cache; mix() is
// the only one that looks at a pixel's neighbours.
#pragma once

#include <hornet/backbone/hornet.h>
#include <hornet/backbone/plan/kernels.h>
#include <hornet/backbone/plan/weight_watch.h>

#include <list>
#include <optional>

namespace hornet::plan {

// The maps of a stage, a row for each pixel of each image.
struct BlockMaps {
  Rows x;      // [M, C], the residual stream
  Rows p;      // [M, C >> (order - 1)]
  Rows q;      // [M, S], what is mixed
  Rows mixed;  // [M, S]
  BlockMaps from(int64_t row) const {
    return {{x.row(row), x.stride},
            {p.row(row), p.stride},
            {q.row(row), q.stride},
            {mixed.row(row), mixed.stride}};
  }
};

class BlockPlan {
 public:
  // Records the block's weights in `watch`. The block must fit: see fits().
  BlockPlan(const Kernels& kernels, HorNetBlockImpl& block, WeightWatch& watch);

  // Whether a block is what plans know: float32 on the device, a 7x7 or a global-local mixer.
  static bool fits(const HorNetBlockImpl& block, at::DeviceType device = at::kCPU);

  int64_t channels() const { return channels_; }
  int64_t first_width() const { return widths_.front(); }
  int64_t mixed_width() const { return mixed_width_; }

  // x -> p and q, and x, p, mixed -> x, for `rows` rows. `scratch`: row_scratch(rows) floats.
  void begin(const BlockMaps& maps, int64_t rows, float* scratch) const;
  void finish(const BlockMaps& maps, int64_t rows, float* scratch) const;
  int64_t row_scratch(int64_t rows) const;

  // q -> mixed in pieces that threads can share: task i of tasks(). Prepares the filter of a size.
  void prepare_mixing(MapSize size);
  int64_t mixing_tasks(int64_t images) const;
  void mix(const BlockMaps& maps, int64_t task, float* scratch) const;
  int64_t mixing_scratch() const;

  int64_t bytes() const;

 private:
  struct Global {
    AlignedBuffer pre_weight, pre_bias, post_weight, post_bias;
    const at::Tensor* complex_weight;
    std::list<Filter> filters;  // of the last few sizes, the current one in front
  };

  void pack_mixer(GnConvImpl& gnconv, WeightWatch& watch);
  void multiply(const PackedMatrix& matrix, ConstRows in, int64_t rows, Rows out,
                Epilogue epilogue = Epilogue::kStore, ConstRows gate = {}) const;
  void mlp(Rows x, int64_t rows, float* scratch) const;
  int64_t row_floats() const;
  int64_t convolved() const;  // channels of the depthwise convolution

  const Kernels& kernels_;
  int64_t channels_ = 0, mixed_width_ = 0;
  std::vector<int64_t> widths_;
  MapSize size_;
  PackedMatrix to_p_, to_q_, proj_out_, hidden_, back_;
  std::vector<PackedMatrix> products_;
  Depthwise depthwise_;
  std::optional<Global> global_;
};

}  // namespace hornet::plan
