// Notices that a weight is not what it was: another tensor, another memory, or another version of
// the same. Like autograd it goes by version counters, so writes through tensor.data() are not
// seen, and inference tensors, which have none, cannot be watched.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace hornet::plan {

// Whether plans are made of such a weight: float32 on the device, and watchable. An undefined one
// is.
inline bool can_be_planned(const at::Tensor& weight, at::DeviceType device = at::kCPU) {
  return !weight.defined() ||
         (weight.device().type() == device && weight.scalar_type() == at::kFloat &&
          weight.layout() == at::kStrided && !weight.is_inference());
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
