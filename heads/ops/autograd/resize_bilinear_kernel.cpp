#include <ATen/ATen.h>
#include <hornet/backbone/ops/bilinear.h>
#include <hornet/heads/ops/resize_bilinear.h>
#include <torch/csrc/autograd/custom_function.h>

namespace hornet::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

at::Tensor resize(const at::Tensor& x, int64_t height, int64_t width) {
  return at::upsample_bilinear2d(x, {height, width}, /*align_corners=*/false);
}

// What resizing a line multiplies it by: [out,in].
at::Tensor line_weights(int64_t in, int64_t out) {
  at::Tensor weights = at::zeros({out, in}, at::kFloat);
  auto values = weights.accessor<float, 2>();
  for (int64_t i = 0; i < out; ++i) {
    const Lerp lerp = bilinear_lerp(in, out, i);
    values[i][lerp.low] += 1.0f - lerp.weight;
    values[i][lerp.high] += lerp.weight;
  }
  return weights;
}

class ResizeBilinear : public torch::autograd::Function<ResizeBilinear> {
 public:
  static Variable forward(AutogradContext* ctx, const Variable& x, int64_t height, int64_t width) {
    ctx->saved_data["size"] = x.sizes().vec();
    const at::AutoDispatchBelowADInplaceOrView guard;
    return resize(x, height, width);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const Variable& grad = grads[0];
    const std::vector<int64_t> size = ctx->saved_data.at("size").toIntVector();
    const int64_t height = grad.size(2), width = grad.size(3);
    if (!grad.is_contiguous()) {  // channels-last: LibTorch is fast
      return {at::upsample_bilinear2d_backward(grad, {height, width}, size, false), {}, {}};
    }
    const at::Tensor across = at::matmul(grad, line_weights(size[3], width));
    return {at::matmul(line_weights(size[2], height).t(), across), {}, {}};
  }
};

}  // namespace

torch::Tensor resize_bilinear(const torch::Tensor& x, int64_t height, int64_t width) {
  const bool own = x.is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 4 &&
                   at::GradMode::is_enabled() && x.requires_grad();
  return own ? ResizeBilinear::apply(x, height, width) : resize(x, height, width);
}

}  // namespace hornet::ops
