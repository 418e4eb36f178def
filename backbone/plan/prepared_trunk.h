// A trunk that was prepared for inference: its plan, made anew when a weight has changed.
#pragma once

#include <hornet/backbone/plan/hornet_plan.h>
#include <hornet/backbone/plan/watched_plan.h>

#include <optional>

namespace hornet::plan {

class PreparedTrunk {
 public:
  PreparedTrunk(const HorNetTrunk& trunk, std::vector<PlanOutput> outputs);

  // One map for each output; nothing if the modules have to run, because their weights are not
  // float32 on the CPU or not what a HorNet has.
  std::optional<Features> forward(const at::Tensor& images);

  int64_t bytes() const { return plan_.bytes(); }

 private:
  std::shared_ptr<HorNetPlan> current();

  const HorNetTrunk trunk_;
  const std::vector<PlanOutput> outputs_;
  WatchedPlan<HorNetPlan> plan_;
};

}  // namespace hornet::plan
