// Notices that a weight is not what it was: another tensor, another memory, or another version of
// the same. Like autograd it goes by version counters. What goes past them is met elsewhere: a
// training step by weights_may_change(), inference tensors, which have none, are not planned.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <torch/nn/module.h>

#include <vector>

namespace hornet::plan {

// Whether plans are made of such a weight: float32 on the device, and watchable. An undefined one
// is.
inline bool can_be_planned(const at::Tensor& weight, at::DeviceType device = at::kCPU) {
  return !weight.defined() ||
         (weight.device().type() == device && weight.scalar_type() == at::kFloat &&
          weight.layout() == at::kStrided && !weight.is_inference());
}

// Whether a module that runs now may be in training. Two things of a training step leave version
// counters as they are: torch::optim::SGD, which writes through data(), and the running statistics
// of batch norms.
inline bool weights_may_change(const torch::nn::Module& module) {
  return module.is_training() || at::GradMode::is_enabled();
}

class WeightWatch {
 public:
  // `weight` is a module's own field, which must outlive this; undefined ones may become defined.
  const at::Tensor& add(const at::Tensor& weight) {
    entries_.push_back(
        {&weight, weight.defined() ? weight.detach() : at::Tensor(), version(weight)});
    return weight;
  }

  bool changed() const {
    for (const Entry& entry : entries_) {
      const at::Tensor& now = *entry.live;
      if (now.defined() != entry.seen.defined()) return true;
      if (now.defined() && (!now.is_alias_of(entry.seen) || version(now) != entry.version))
        return true;
    }
    return false;
  }

 private:
  struct Entry {
    const at::Tensor* live;
    at::Tensor seen;  // keeps the memory from being used for another weight
    int64_t version;
  };
  static int64_t version(const at::Tensor& weight) {
    return weight.defined() ? static_cast<int64_t>(weight._version()) : 0;
  }
  std::vector<Entry> entries_;
};

}  // namespace hornet::plan
