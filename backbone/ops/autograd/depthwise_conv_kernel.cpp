#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <hornet/backbone/ops/depthwise_conv.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <tuple>

namespace hornet::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

at::Tensor convolve(const at::Tensor& x, const at::Tensor& weight,
                    const std::optional<at::Tensor>& bias) {
  return at::conv2d(x, weight, bias, /*stride=*/1, /*padding=*/weight.size(2) / 2, /*dilation=*/1,
                    weight.size(0));
}

class DepthwiseConv : public torch::autograd::Function<DepthwiseConv> {
 public:
  static Variable forward(AutogradContext* ctx, const Variable& x, const Variable& weight,
                          const std::optional<Variable>& bias) {
    ctx->save_for_backward({x, weight});
    ctx->saved_data["bias"] = bias.has_value();
    const at::AutoDispatchBelowADInplaceOrView guard;
    return convolve(x, weight, bias);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Variable &x = saved[0], &weight = saved[1], &grad = grads[0];
    const bool has_bias = ctx->saved_data.at("bias").toBool();
    const std::array<bool, 3> wanted = {ctx->needs_input_grad(0), ctx->needs_input_grad(1),
                                        has_bias && ctx->needs_input_grad(2)};
    // Gradients of gradients are left to LibTorch.
    const bool own = wanted[1] && !at::GradMode::is_enabled();
    const int64_t kernel = weight.size(2), channels = weight.size(0);
    Variable x_grad, weight_grad, bias_grad;
    if (wanted[0] || !own) {
      std::tie(x_grad, weight_grad, bias_grad) = at::convolution_backward(
          grad, x, weight, has_bias ? at::OptionalIntArrayRef({channels}) : c10::nullopt, {1, 1},
          {kernel / 2, kernel / 2}, {1, 1}, /*transposed=*/false, {0, 0}, channels,
          {wanted[0], wanted[1] && !own, wanted[2] && !own});
    }
    if (own) {
      weight_grad = depthwise_weight_grad(x, grad, kernel);
      if (wanted[2]) bias_grad = grad.sum({0, 2, 3});
    }
    return {x_grad, weight_grad, bias_grad};
  }
};

}  // namespace

torch::Tensor depthwise_conv(const torch::Tensor& x, const torch::Tensor& weight,
                             const std::optional<torch::Tensor>& bias) {
  const int64_t kernel = weight.size(2);
  const bool own = x.is_cpu() && x.scalar_type() == at::kFloat &&
                   weight.scalar_type() == at::kFloat && (kernel == 3 || kernel == 7) &&
                   x.dim() == 4 && !at::autocast::is_autocast_enabled(at::kCPU) &&
                   at::GradMode::is_enabled() && weight.requires_grad();
  return own ? DepthwiseConv::apply(x, weight, bias) : convolve(x, weight, bias);
}

}  // namespace hornet::ops
