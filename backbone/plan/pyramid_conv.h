// A 3x3 convolution over maps of several sizes, each resized to the first and concatenated: what
// UperNet's fusion and pyramid pooling are. Mixing channels commutes with resizing each of them, so
// the coarse maps are mixed at their own resolution, once for each of the nine taps, and only the
// mixed taps are resized and added up: exact, zero padding included, and for maps at 1/4, 1/16 and
// 1/64 of the first one's pixels a third of the work.
#pragma once

#include <hornet/backbone/plan/conv_plan.h>

namespace hornet::plan {

class PyramidConvPlan {
 public:
  // weight [out, sum of channels, 3, 3], bias [out]; channels of the maps in their order.
  PyramidConvPlan(const at::Tensor& weight, const at::Tensor& bias, bool relu,
                  const std::vector<int64_t>& channels, Precision precision = Precision::kFloat32);

  // Maps [N,channels[i],h_i,w_i], float32 on the CPU -> [N,out,h_0,w_0], channels-last.
  at::Tensor forward(const std::vector<at::Tensor>& maps) const;
  int64_t bytes() const;

 private:
  // A coarse map's weights: for each block of outputs a matrix [channels, 9 * block], tap by tap.
  struct Level {
    int64_t channels;
    std::vector<PackedMatrix> blocks;
  };

  void mix(const Level& level, size_t block, const at::Tensor& map, float* taps,
           float* scratch) const;
  int64_t operand_scratch() const;

  const Kernels& kernels_;
  int64_t outputs_;
  bool relu_;
  ConvPlan finest_;
  std::vector<Level> levels_;
};

// As PreparedConv.
class PreparedPyramidConv {
 public:
  PreparedPyramidConv();
  ~PreparedPyramidConv();
  void prepare(const torch::nn::Conv2d& conv, const torch::nn::BatchNorm2d& norm, bool relu,
               const std::vector<int64_t>& channels);
  std::optional<at::Tensor> forward(const torch::nn::Module& owner,
                                    const std::vector<at::Tensor>& maps);
  int64_t bytes() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace hornet::plan
