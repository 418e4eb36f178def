// A trunk that was prepared for inference: its plan, made anew when a weight has changed. On the
// CPU that is a HorNetPlan, elsewhere a MapPlan, one for each type that autocast asks for.
#pragma once

#include <hornet/backbone/plan/hornet_plan.h>
#include <hornet/backbone/plan/map_plan.h>
#include <hornet/backbone/plan/watched_plan.h>

#include <map>
#include <mutex>
#include <optional>

namespace hornet::plan {

class PreparedTrunk {
 public:
  PreparedTrunk(const HorNetTrunk& trunk, std::vector<PlanOutput> outputs);

  // One map for each output; nothing if the modules have to run, because their weights are not
  // float32 on the images' device or not what a HorNet has.
  std::optional<Features> forward(const at::Tensor& images);

  // For when weights may change unseen.
  void drop();

  int64_t bytes() const;

 private:
  std::shared_ptr<HorNetPlan> current();
  std::shared_ptr<MapPlan> current_map_plan(at::DeviceType device);

  const HorNetTrunk trunk_;
  const std::vector<PlanOutput> outputs_;
  WatchedPlans<HorNetPlan> plans_;
  mutable std::mutex mutex_;
  std::map<at::ScalarType, WatchedPlan<MapPlan>> map_plans_;
};

}  // namespace hornet::plan
