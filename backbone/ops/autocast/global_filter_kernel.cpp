// Under autocast the global filter is computed in float32, as Fourier transforms are.
#include <hornet/backbone/ops/global_filter.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

template <c10::DispatchKey key>
at::Tensor global_filter_autocast(const at::Tensor& x, const at::Tensor& complex_weight) {
  const c10::impl::ExcludeDispatchKeyGuard without_autocast(key);
  return global_filter(x, complex_weight);
}

TORCH_LIBRARY_IMPL(hornet, AutocastCPU, m) {
  m.impl("global_filter", global_filter_autocast<c10::DispatchKey::AutocastCPU>);
}

TORCH_LIBRARY_IMPL(hornet, AutocastCUDA, m) {
  m.impl("global_filter", global_filter_autocast<c10::DispatchKey::AutocastCUDA>);
}

}  // namespace
}  // namespace hornet::ops
