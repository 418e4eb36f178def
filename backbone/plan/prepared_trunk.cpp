#include <hornet/backbone/plan/prepared_trunk.h>

namespace hornet::plan {

PreparedTrunk::PreparedTrunk(const HorNetTrunk& trunk, std::vector<PlanOutput> outputs)
    : trunk_(trunk), outputs_(std::move(outputs)) {}

std::shared_ptr<HorNetPlan> PreparedTrunk::current() {
  return plan_.get([&](WeightWatch& watch) -> std::shared_ptr<HorNetPlan> {
    if (!HorNetPlan::fits(trunk_)) return nullptr;
    return std::make_shared<HorNetPlan>(trunk_, outputs_, watch);
  });
}

std::optional<Features> PreparedTrunk::forward(const at::Tensor& images) {
  const std::shared_ptr<HorNetPlan> plan = current();
  if (plan == nullptr || images.size(1) != plan->in_channels()) return std::nullopt;
  return plan->forward(images);
}

}  // namespace hornet::plan
