// Convolutions of heads and necks for inference on a CPU: 1x1 and 3x3, stride 1, the map keeps its
// size. On channels-last maps a 1x1 is one matrix product; a 3x3 goes by Winograd.
//
//   PreparedConv prepared;                              // a member of the module
//   prepared.prepare(conv, bn, /*relu=*/true);
//   if (auto y = prepared.forward(*this, x)) return *y;     // else: run the modules
#pragma once

#include <ATen/core/Tensor.h>
#include <hornet/backbone/plan/kernels.h>
#include <hornet/backbone/plan/watched_plan.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>

#include <memory>
#include <optional>

namespace hornet::plan {

class ConvPlan {
 public:
  // weight [out,in,k,k] with k 1 or 3, bias [out] or undefined.
  ConvPlan(const at::Tensor& weight, const at::Tensor& bias, bool relu,
           Precision precision = Precision::kFloat32);

  // [N,in,H,W], float32 on the CPU -> [N,out,H,W], both channels-last.
  at::Tensor forward(const at::Tensor& x) const;
  int64_t bytes() const;

 private:
  void multiply(const at::Tensor& x, at::Tensor& out) const;
  void convolve(const at::Tensor& x, at::Tensor& out) const;

  const Kernels& kernels_;
  int64_t inputs_, outputs_;
  bool relu_;
  std::vector<PackedMatrix> matrices_;  // one, or Winograd's 16
  AlignedBuffer bias_;
};

// A module's convolution, with the batch norm behind it and a ReLU or none, that can be prepared.
class PreparedConv {
 public:
  PreparedConv();
  ~PreparedConv();
  // `norm` may be empty.
  void prepare(const torch::nn::Conv2d& conv, const torch::nn::BatchNorm2d& norm, bool relu);
  std::optional<at::Tensor> forward(const torch::nn::Module& owner, const at::Tensor& x);
  int64_t bytes() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// A convolution's weight and bias with a batch norm's folded in, in float64; records them in
// `watch`.
struct FoldedConv {
  at::Tensor weight, bias;
};
FoldedConv fold(const torch::nn::Conv2d& conv, const torch::nn::BatchNorm2d& norm,
                WeightWatch& watch);

// Whether ConvPlan knows such a convolution, and whether its weights are float32 on the CPU.
bool plan_fits(const torch::nn::Conv2d& conv, const torch::nn::BatchNorm2d& norm);

// Rows of `channels` floats as operands: themselves, or in `scratch`, of operand_floats() a row.
ConstRows as_operands(const Kernels& kernels, ConstRows in, int64_t rows, int64_t channels,
                      float* scratch);

// Memory of the calling thread for one operation at a time, which grows to the largest so far.
float* borrow_scratch(int64_t floats);

}  // namespace hornet::plan
