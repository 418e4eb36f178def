// One gnConv, packed, with what its neighbours leave to it folded in:
//
//   proj_in  takes the affine part of a norm before it, split into what p and q are made of
//   mixer    takes gnConv's scale (with a global filter: post_norm does)
//   proj_out takes a scale of the channels behind it
//
// It runs in three steps. begin() and finish() work on any rows of the maps, so that a thread
// carries some pixels through everything between two mixings without leaving its cache; mix() is
// the only one that looks at a pixel's neighbours.
#pragma once

#include <hornet/backbone/gnconv.h>
#include <hornet/backbone/plan/kernels.h>
#include <hornet/backbone/plan/weight_watch.h>

#include <list>
#include <optional>

namespace hornet::plan {

// Of all pixels, a row for each pixel of each image.
struct GnConvMaps {
  Rows p;      // [M, C >> (order - 1)]
  Rows q;      // [M, S], what is mixed
  Rows mixed;  // [M, S]
  GnConvMaps from(int64_t row) const {
    return {{p.row(row), p.stride}, {q.row(row), q.stride}, {mixed.row(row), mixed.stride}};
  }
};

// Weights of the neighbours; undefined ones are not there.
struct GnConvNeighbours {
  at::Tensor norm_weight, norm_bias;  // of a layer norm before, whose output is gnConv's input
  at::Tensor scale;                   // of its output
};

class GnConvPlan {
 public:
  // Records gnConv's own weights in `watch`. It must fit: see fits().
  GnConvPlan(const Kernels& kernels, GnConvImpl& gnconv, const GnConvNeighbours& neighbours,
             WeightWatch& watch);

  // Whether it is what plans know: float32 on the device, a 7x7 or a global-local mixer.
  static bool fits(const GnConvImpl& gnconv, at::DeviceType device = at::kCPU);

  int64_t in_channels() const { return to_p_.inputs; }
  int64_t channels() const { return channels_; }
  int64_t first_width() const { return widths_.front(); }
  int64_t mixed_width() const { return mixed_width_; }

  // Operands of the input -> p and q; p, mixed -> out, for `rows` rows. `scratch`:
  // row_scratch(rows) floats.
  void begin(ConstRows operands, const GnConvMaps& maps, int64_t rows) const;
  void finish(const GnConvMaps& maps, int64_t rows, float* scratch, Rows out,
              Epilogue epilogue) const;
  int64_t row_scratch(int64_t rows) const;

  // q -> mixed in pieces that threads can share: task i of mixing_tasks(). Prepares the filter of a
  // size.
  void prepare_mixing(MapSize size);
  int64_t mixing_tasks(int64_t images) const;
  void mix(const GnConvMaps& maps, int64_t task, float* scratch) const;
  int64_t mixing_scratch() const;

  int64_t bytes() const;

 private:
  struct Global {
    AlignedBuffer pre_weight, pre_bias, post_weight, post_bias;
    const at::Tensor* complex_weight;
    std::list<Filter> filters;  // of the last few sizes, the current one in front
  };

  void pack_mixer(GnConvImpl& gnconv, WeightWatch& watch);
  int64_t convolved() const;  // channels of the depthwise convolution

  const Kernels& kernels_;
  int64_t channels_ = 0, mixed_width_ = 0;
  std::vector<int64_t> widths_;
  MapSize size_;
  PackedMatrix to_p_, to_q_, proj_out_;
  std::vector<PackedMatrix> products_;
  Depthwise depthwise_;
  std::optional<Global> global_;
};

}  // namespace hornet::plan
