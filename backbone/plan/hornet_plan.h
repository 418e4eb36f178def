// HorNet for inference on a CPU: the same function as the modules', from which it is made, with
// another order of work (see block_plan.h). Between two mixings all maps are read and written once,
// and there is one workspace, as large as the largest images so far needed. In bf16 the products of
// blocks and downsamplings take bf16; their sums, all maps and the stem stay in float32.
//
//   HorNetPlan plan(trunk, {{3, norm3}}, watch);     // folds and packs the weights
//   Features maps = plan.forward(images);            // one: stage 3, normed
//
// A plan is a snapshot: `watch` says whether the weights are still those it was made from.
// Calls from several threads wait for each other.
#pragma once

#include <hornet/backbone/hornet.h>
#include <hornet/backbone/plan/block_plan.h>

#include <memory>
#include <mutex>
#include <vector>

namespace hornet::plan {

// A map that forward returns: a stage's output, normed or not.
struct PlanOutput {
  int64_t stage = 0;
  ChannelLayerNorm norm{nullptr};
};

class HorNetPlan {
 public:
  // Whether there is a plan for these layers: see BlockPlan::fits.
  static bool fits(const HorNetTrunk& trunk, at::DeviceType device = at::kCPU);

  // Records the weights in `watch`.
  HorNetPlan(const HorNetTrunk& trunk, const std::vector<PlanOutput>& outputs, WeightWatch& watch,
             Precision precision = Precision::kFloat32);
  ~HorNetPlan();
  HorNetPlan(const HorNetPlan&) = delete;
  HorNetPlan& operator=(const HorNetPlan&) = delete;

  int64_t in_channels() const;

  // images [N,C,H,W], float32 on the CPU. One map for each output, dense in channels-last order.
  Features forward(const at::Tensor& images);

  // Packed weights, filters of the last sizes, and the workspace.
  int64_t bytes() const;

 private:
  struct Stage;
  struct Output;
  struct Run;

  int64_t last_stage() const;
  void reserve(Run& run);
  void enter(Run& run, const Stage& stage) const;
  void run_blocks(Run& run, Stage& stage);
  void emit(Run& run, int64_t stage) const;

  const Kernels& kernels_;
  const Kernels& stem_kernels_;
  std::vector<std::shared_ptr<torch::nn::Module>> modules_;  // whose weights are watched
  std::vector<std::unique_ptr<Stage>> stages_;
  std::vector<Output> outputs_;
  AlignedBuffer workspace_;
  mutable std::mutex mutex_;
};

}  // namespace hornet::plan
