// A plan and the weights it was made from: made at the first use, and anew when one of them
// changed.
//
//   WatchedPlan<ConvPlan> plan;
//   std::shared_ptr<ConvPlan> now = plan.get([&](WeightWatch& watch) { ... });   // may give none
#pragma once

#include <hornet/backbone/plan/weight_watch.h>

#include <memory>
#include <mutex>

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

  int64_t bytes() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return plan_ != nullptr ? plan_->bytes() : 0;
  }

 private:
  mutable std::mutex mutex_;
  WeightWatch watch_;
  std::shared_ptr<Plan> plan_;
};

}  // namespace hornet::plan
