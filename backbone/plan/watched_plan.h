// A plan and the weights it was made from: made at the first use, and anew when one of them
// changed, or was out of sight while it may have.
//
//   WatchedPlan<ConvPlan> plan;
//   std::shared_ptr<ConvPlan> now = plan.get([&](WeightWatch& watch) { ... });   // may give none
#pragma once

#include <ATen/autocast_mode.h>
#include <hornet/backbone/plan/kernels.h>
#include <hornet/backbone/plan/weight_watch.h>

#include <array>
#include <memory>
#include <mutex>
#include <optional>

namespace hornet::plan {

template <typename Plan>
class WatchedPlan {
 public:
  // make(watch) records the weights that it reads, and returns a plan or null.
  template <typename Make>
  std::shared_ptr<Plan> get(const Make& make) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (plan_ != nullptr && !watch_.changed()) return plan_;
    watch_ = {};
    plan_ = nullptr;
    plan_ = make(watch_);
    return plan_;
  }

  // For when weights may change unseen: see weights_may_change().
  void drop() {
    const std::lock_guard<std::mutex> lock(mutex_);
    watch_ = {};
    plan_ = nullptr;
  }

  int64_t bytes() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return plan_ != nullptr ? plan_->bytes() : 0;
  }

 private:
  mutable std::mutex mutex_;
  WeightWatch watch_;
  std::shared_ptr<Plan> plan_;
};

// What products on a CPU are asked to take: bf16 under autocast to it, nothing that plans know
// under another autocast.
inline std::optional<Precision> asked_precision() {
  if (!at::autocast::is_autocast_enabled(at::kCPU)) return Precision::kFloat32;
  if (at::autocast::get_autocast_dtype(at::kCPU) != at::kBFloat16) return std::nullopt;
  return Precision::kBfloat16;
}

// A plan for each precision that was asked for so far.
//
//   plans.get([&](WeightWatch& watch, Precision precision) { ... });   // where there is one
template <typename Plan>
class WatchedPlans {
 public:
  template <typename Make>
  std::shared_ptr<Plan> get(const Make& make) {
    const Precision precision = asked_precision().value();
    return plans_[static_cast<size_t>(precision)].get(
        [&](WeightWatch& watch) { return make(watch, precision); });
  }

  void drop() {
    for (WatchedPlan<Plan>& plan : plans_) plan.drop();
  }

  int64_t bytes() const { return plans_[0].bytes() + plans_[1].bytes(); }

 private:
  std::array<WatchedPlan<Plan>, 2> plans_;
};

}  // namespace hornet::plan
