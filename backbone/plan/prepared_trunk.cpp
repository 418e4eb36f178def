#include <hornet/backbone/plan/prepared_trunk.h>

namespace hornet::plan {

PreparedTrunk::PreparedTrunk(const HorNetTrunk& trunk, std::vector<PlanOutput> outputs)
    : trunk_(trunk), outputs_(std::move(outputs)) {}

std::shared_ptr<HorNetPlan> PreparedTrunk::current() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (plan_ != nullptr && plan_->is_current()) return plan_;
  plan_ = nullptr;
  if (HorNetPlan::fits(trunk_)) plan_ = std::make_shared<HorNetPlan>(trunk_, outputs_);
  return plan_;
}

std::optional<Features> PreparedTrunk::forward(const at::Tensor& images) {
  const std::shared_ptr<HorNetPlan> plan = current();
  if (plan == nullptr || images.size(1) != plan->in_channels()) return std::nullopt;
  return plan->forward(images);
}

int64_t PreparedTrunk::bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return plan_ != nullptr ? plan_->bytes() : 0;
}

}  // namespace hornet::plan
