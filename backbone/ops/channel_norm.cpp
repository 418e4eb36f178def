#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <hornet/backbone/ops/channel_norm.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

void check_rows(const at::Tensor& rows, const char* op, const char* name) {
  const auto type = rows.scalar_type();
  TORCH_CHECK(rows.dim() == 2 && rows.size(1) > 0, "hornet::", op, ": ", name,
              " must be [M,C] with C > 0, found ", rows.sizes());
  TORCH_CHECK(type == at::kFloat || type == at::kHalf || type == at::kBFloat16, "hornet::", op,
              ": ", name, " must be float32, fp16 or bf16, found ", type);
}

void check_vector(const OptionalTensor& vector, const at::Tensor& rows, const char* op,
                  const char* name) {
  if (!vector) return;
  TORCH_CHECK(vector->dim() == 1 && vector->size(0) == rows.size(1) &&
                  vector->scalar_type() == at::kFloat && vector->device() == rows.device(),
              "hornet::", op, ": ", name, " must be float32 [", rows.size(1), "] on ",
              rows.device(), ", found ", vector->scalar_type(), " ", vector->sizes(), " on ",
              vector->device());
}

at::Tensor channel_norm_composite(const at::Tensor& rows, const OptionalTensor& weight,
                                  const OptionalTensor& bias, double epsilon, at::ScalarType type,
                                  bool interleave) {
  at::Tensor values = rows.to(at::kFloat);
  if (interleave) values = at::stack(values.chunk(2, 1), 2).flatten(1);
  return at::layer_norm(values, {rows.size(1)}, weight, bias, epsilon).to(type);
}

at::Tensor add_channel_norm_composite(const at::Tensor& stream, const at::Tensor& branch,
                                      const at::Tensor& branch_bias, double epsilon) {
  stream.add_(branch.to(at::kFloat) + branch_bias);
  return at::layer_norm(stream, {stream.size(1)}, {}, {}, epsilon).to(branch.scalar_type());
}

}  // namespace

torch::Tensor channel_norm(const torch::Tensor& rows, const OptionalTensor& weight,
                           const OptionalTensor& bias, double epsilon, torch::ScalarType type,
                           bool interleave) {
  static auto op = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("hornet::channel_norm", "")
                       .typed<at::Tensor(const at::Tensor&, const OptionalTensor&,
                                         const OptionalTensor&, double, at::ScalarType, bool)>();
  check_rows(rows, "channel_norm", "rows");
  check_vector(weight, rows, "channel_norm", "the weight");
  check_vector(bias, rows, "channel_norm", "the bias");
  TORCH_CHECK(!interleave || rows.size(1) % 2 == 0,
              "hornet::channel_norm: to interleave, there must be an even number of channels, ",
              "found ", rows.size(1));
  return op.call(rows, weight, bias, epsilon, type, interleave);
}

torch::Tensor add_channel_norm(const torch::Tensor& stream, const torch::Tensor& branch,
                               const torch::Tensor& branch_bias, double epsilon) {
  static auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("hornet::add_channel_norm", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, double)>();
  check_rows(stream, "add_channel_norm", "the stream");
  check_rows(branch, "add_channel_norm", "the branch");
  check_vector(branch_bias, stream, "add_channel_norm", "the branch's bias");
  TORCH_CHECK(stream.scalar_type() == at::kFloat && stream.stride(1) == 1,
              "hornet::add_channel_norm: the stream must be float32 with its channels side by ",
              "side, found ", stream.scalar_type(), " with strides ", stream.strides());
  TORCH_CHECK(branch.sizes() == stream.sizes() && branch.device() == stream.device(),
              "hornet::add_channel_norm: the branch must be ", stream.sizes(), " on ",
              stream.device(), " as the stream, found ", branch.sizes(), " on ", branch.device());
  return op.call(stream, branch, branch_bias, epsilon);
}

TORCH_LIBRARY_FRAGMENT(hornet, m) {
  m.def(
      "channel_norm(Tensor rows, Tensor? weight, Tensor? bias, float epsilon, ScalarType dtype, "
      "bool interleave=False) -> Tensor");
  m.def(
      "add_channel_norm(Tensor(a!) stream, Tensor branch, Tensor branch_bias, float epsilon) -> "
      "Tensor");
}

TORCH_LIBRARY_IMPL(hornet, CompositeExplicitAutograd, m) {
  m.impl("channel_norm", channel_norm_composite);
  m.impl("add_channel_norm", add_channel_norm_composite);
}

}  // namespace hornet::ops
