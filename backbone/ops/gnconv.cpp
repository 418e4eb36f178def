#include <ATen/core/dispatch/Dispatcher.h>
#include <hornet/backbone/ops/checks.h>
#include <hornet/backbone/ops/gnconv.h>
#include <torch/library.h>

namespace hornet::ops {

torch::Tensor gnconv(const torch::Tensor& p, const torch::Tensor& q, torch::TensorList weights,
                     torch::TensorList biases, double scale) {
  static auto op = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("hornet::gnconv", "")
                       .typed<at::Tensor(const at::Tensor&, const at::Tensor&, at::TensorList,
                                         at::TensorList, double)>();
  return op.call(p, q, weights, biases, scale);
}

namespace {

at::Tensor gnconv_meta(const at::Tensor& p, const at::Tensor& q, at::TensorList weights,
                       at::TensorList biases, double /*scale*/) {
  check_gnconv(p, q, weights, biases);
  const c10::SymInt channels = weights.empty() ? p.sym_size(1) : weights.back().sym_size(0);
  return at::empty_symint({p.sym_size(0), channels, p.sym_size(2), p.sym_size(3)}, p.options(),
                          q.suggest_memory_format());
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(hornet, m) {
  m.def("gnconv(Tensor p, Tensor q, Tensor[] weights, Tensor[] biases, float scale=1.0) -> Tensor");
}

TORCH_LIBRARY_IMPL(hornet, Meta, m) { m.impl("gnconv", gnconv_meta); }

}  // namespace hornet::ops
