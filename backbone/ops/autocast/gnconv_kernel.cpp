// Under autocast gnConv's products are computed in the lower precision, as convolutions are.
#include <ATen/autocast_mode.h>
#include <hornet/backbone/ops/gnconv.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

template <c10::DeviceType device, c10::DispatchKey key>
at::Tensor gnconv_autocast(const at::Tensor& p, const at::Tensor& q, at::TensorList weights,
                           at::TensorList biases, double scale) {
  const c10::impl::ExcludeDispatchKeyGuard without_autocast(key);
  const auto type = at::autocast::get_autocast_dtype(device);
  const auto cast = [type](const auto& what) {
    return at::autocast::cached_cast(type, what, device);
  };
  return gnconv(cast(p), cast(q), cast(weights), cast(biases), scale);
}

TORCH_LIBRARY_IMPL(hornet, AutocastCPU, m) {
  m.impl("gnconv", gnconv_autocast<c10::DeviceType::CPU, c10::DispatchKey::AutocastCPU>);
}

TORCH_LIBRARY_IMPL(hornet, AutocastCUDA, m) {
  m.impl("gnconv", gnconv_autocast<c10::DeviceType::CUDA, c10::DispatchKey::AutocastCUDA>);
}

}  // namespace
}  // namespace hornet::ops
