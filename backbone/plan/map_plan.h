// HorNet for inference on a GPU: the same function as the modules', with everything folded that
// hornet_plan.h folds, as ops on whole maps (map_block.h). Images that come alone are replayed: see
// replays.h.
//
//   MapPlan plan(trunk, {{3, norm3}}, at::kBFloat16, watch);
//   Features maps = plan.forward(images);     // float32, whatever the plan's type
//
// Nothing in it is a GPU's own: the ops have composites, and tests run it on a CPU. A plan is a
// snapshot: `watch` says whether the weights are still those it was made from. Calls from several
// threads wait for each other.
#pragma once

#include <hornet/backbone/plan/hornet_plan.h>
#include <hornet/backbone/plan/map_block.h>
#include <hornet/backbone/plan/replays.h>

#include <list>
#include <memory>
#include <mutex>
#include <vector>

namespace hornet::plan {

// Whether a part that was prepared may run as a MapPlan now: takes_prepared_way() for GPUs, where
// autocast says of which type the plan is.
bool takes_map_way(const torch::nn::Module& module, const at::Tensor& input);

class MapPlan {
 public:
  // Records the weights, which must fit (see HorNetPlan::fits), in `watch`.
  MapPlan(const HorNetTrunk& trunk, const std::vector<PlanOutput>& outputs, at::ScalarType type,
          WeightWatch& watch);
  ~MapPlan();
  MapPlan(const MapPlan&) = delete;
  MapPlan& operator=(const MapPlan&) = delete;

  int64_t in_channels() const;

  // images [N,C,H,W], float32 on the weights' device. One map for each output, dense in
  // channels-last order.
  Features forward(const at::Tensor& images);

  // Weights, filters of the last sizes, and what replays hold.
  int64_t bytes() const;
  size_t captured_sizes() const;

 private:
  struct Stage;
  struct Output;
  struct Filters;

  std::shared_ptr<const Filters> filters_for(const at::Tensor& images);
  at::Tensor enter(const Stage& stage, const at::Tensor& x) const;
  at::Tensor run_blocks(const Stage& stage, const MapExtent& extent, const at::Tensor& x,
                        const std::vector<at::Tensor>& filters) const;
  Features run(const at::Tensor& images, const Filters& filters) const;

  const at::ScalarType type_;
  std::vector<std::shared_ptr<torch::nn::Module>> modules_;  // whose weights are watched
  std::vector<std::unique_ptr<Stage>> stages_;
  std::vector<Output> outputs_;
  std::list<std::shared_ptr<const Filters>> filters_;  // the last ones used in front
  Replays replays_;
  mutable std::mutex mutex_;
};

}  // namespace hornet::plan
