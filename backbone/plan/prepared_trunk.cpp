#include <ATen/autocast_mode.h>
#include <hornet/backbone/plan/prepared_trunk.h>

namespace hornet::plan {
namespace {

template <typename Plan>
std::optional<Features> forward_in(Plan* plan, const at::Tensor& images) {
  if (plan == nullptr || images.size(1) != plan->in_channels()) return std::nullopt;
  return plan->forward(images);
}

}  // namespace

PreparedTrunk::PreparedTrunk(const HorNetTrunk& trunk, std::vector<PlanOutput> outputs)
    : trunk_(trunk), outputs_(std::move(outputs)) {}

std::shared_ptr<HorNetPlan> PreparedTrunk::current() {
  return plans_.get([&](WeightWatch& watch, Precision precision) -> std::shared_ptr<HorNetPlan> {
    if (!HorNetPlan::fits(trunk_)) return nullptr;
    return std::make_shared<HorNetPlan>(trunk_, outputs_, watch, precision);
  });
}

std::shared_ptr<MapPlan> PreparedTrunk::current_map_plan(at::DeviceType device) {
  const bool autocast = at::autocast::is_autocast_enabled(device);
  const auto type = autocast ? at::autocast::get_autocast_dtype(device) : at::kFloat;
  const std::lock_guard<std::mutex> lock(mutex_);
  return map_plans_[type].get([&](WeightWatch& watch) -> std::shared_ptr<MapPlan> {
    if (!HorNetPlan::fits(trunk_, device)) return nullptr;
    return std::make_shared<MapPlan>(trunk_, outputs_, type, watch);
  });
}

std::optional<Features> PreparedTrunk::forward(const at::Tensor& images) {
  if (images.is_cpu()) return forward_in(current().get(), images);
  return forward_in(current_map_plan(images.device().type()).get(), images);
}

void PreparedTrunk::drop() {
  const std::lock_guard<std::mutex> lock(mutex_);
  plans_.drop();
  for (auto& [type, plan] : map_plans_) plan.drop();
}

int64_t PreparedTrunk::bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  int64_t total = plans_.bytes();
  for (const auto& [type, plan] : map_plans_) total += plan.bytes();
  return total;
}

}  // namespace hornet::plan
