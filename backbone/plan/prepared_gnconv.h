// A gnConv by itself, of a neck or of somebody's own network, prepared for inference on a CPU.
// Those of a HorNet run in its HorNetPlan.
//
//   PreparedGnConv prepared;                                 // a member of the module
//   if (auto y = prepared.forward(*this, x)) return *y;      // else: run the modules
#pragma once

#include <ATen/core/Tensor.h>
#include <hornet/backbone/plan/watched_plan.h>

#include <optional>

namespace hornet {
class GnConvImpl;
}

namespace hornet::plan {

class LoneGnConv;

class PreparedGnConv {
 public:
  // [N,in,H,W] -> [N,out,H,W], channels-last; nothing where there is no plan for the module or the
  // input.
  std::optional<at::Tensor> forward(GnConvImpl& owner, const at::Tensor& x);
  int64_t bytes() const;

 private:
  WatchedPlans<LoneGnConv> plans_;
};

}  // namespace hornet::plan
