#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <hornet/backbone/ops/depthwise.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

void check_depthwise(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias,
                     const OptionalTensor& gate, const at::Tensor& out) {
  const auto type = x.scalar_type();
  TORCH_CHECK(x.dim() == 4, "hornet::depthwise: x must be [N,C,H,W], found ", x.sizes());
  TORCH_CHECK(type == at::kFloat || type == at::kHalf || type == at::kBFloat16,
              "hornet::depthwise: x must be float32, fp16 or bf16, found ", type);
  const int64_t channels = x.size(1);
  TORCH_CHECK(weight.dim() == 4 && weight.size(0) == channels && weight.size(1) == 1 &&
                  weight.size(2) == weight.size(3) && (weight.size(2) == 3 || weight.size(2) == 7),
              "hornet::depthwise: weight must be [", channels, ",1,K,K] with K 3 or 7, found ",
              weight.sizes());
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == channels),
              "hornet::depthwise: bias must be [", channels, "]");
  TORCH_CHECK(weight.scalar_type() == at::kFloat && (!bias || bias->scalar_type() == at::kFloat),
              "hornet::depthwise: weight and bias must be float32");
  TORCH_CHECK(out.sizes() == x.sizes() && out.scalar_type() == type,
              "hornet::depthwise: out must be ", type, " ", x.sizes(), " as x, found ",
              out.scalar_type(), " ", out.sizes());
  if (!gate) return;
  const bool fits = gate->dim() == 4 && gate->size(0) == x.size(0) && gate->size(1) <= channels &&
                    gate->size(2) == x.size(2) && gate->size(3) == x.size(3);
  TORCH_CHECK(fits && gate->scalar_type() == type, "hornet::depthwise: gate must be ", type,
              " and agree with x ", x.sizes(), " but for having fewer channels, found ",
              gate->scalar_type(), " ", gate->sizes());
}

void depthwise_composite(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias,
                         const OptionalTensor& gate, const at::Tensor& out) {
  const at::Tensor sums = at::conv2d(x.to(at::kFloat), weight, bias, /*stride=*/1,
                                     /*padding=*/weight.size(2) / 2, /*dilation=*/1, x.size(1));
  if (gate) sums.narrow(1, 0, gate->size(1)).mul_(gate->to(at::kFloat));
  out.copy_(sums);
}

}  // namespace

void depthwise(const torch::Tensor& x, const torch::Tensor& weight, const OptionalTensor& bias,
               const OptionalTensor& gate, const torch::Tensor& out) {
  static auto op = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("hornet::depthwise", "")
                       .typed<void(const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                                   const OptionalTensor&, const at::Tensor&)>();
  check_depthwise(x, weight, bias, gate, out);
  op.call(x, weight, bias, gate, out);
}

TORCH_LIBRARY_FRAGMENT(hornet, m) {
  m.def("depthwise(Tensor x, Tensor weight, Tensor? bias, Tensor? gate, Tensor(a!) out) -> ()");
}

TORCH_LIBRARY_IMPL(hornet, CompositeExplicitAutograd, m) {
  m.impl("depthwise", depthwise_composite);
}

}  // namespace hornet::ops
