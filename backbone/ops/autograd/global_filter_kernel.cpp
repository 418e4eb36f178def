// The gradients of the global filter y = irfft2(rfft2(x) * K). In x it is a circular convolution,
// whose transpose is the one with the conjugate filter: the op itself. In K, with X and G the
// spectra of x and of y's gradient, it is the sum over the images of conj(X) G; the columns of a
// real transform that stand for two (all but 0 and W/2) count twice. All of it is differentiable.
// A filter of another size is resized before, by an op with a gradient of its own.
#include <hornet/backbone/ops/checks.h>
#include <hornet/backbone/ops/global_filter.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

Variable conjugate(const Variable& complex_weight) {
  return at::cat({complex_weight.narrow(3, 0, 1), complex_weight.narrow(3, 1, 1).neg()}, 3);
}

Variable spectrum_of(const Variable& map) {
  return at::fft_rfft2(map, std::nullopt, {2, 3}, "ortho");
}

Variable weight_grad(const Variable& x, const Variable& complex_weight, const Variable& grad) {
  if (x.sym_numel() == 0) return at::zeros_like(complex_weight);
  const Variable map = x.to(grad.scalar_type());
  const Variable products = at::conj_physical(spectrum_of(map)) * spectrum_of(grad);
  const Variable sums = at::view_as_real(products.sum(0));
  const Variable counts = at::ones_symint({sums.sym_size(2), 1}, sums.options());
  const c10::SymInt twins = (x.sym_size(3) - 1) / 2;
  counts.narrow_symint(0, 1, twins).fill_(2);
  return (sums * counts).to(complex_weight.scalar_type());
}

// Of filters that have the map's size.
class GlobalFilter : public torch::autograd::Function<GlobalFilter> {
 public:
  static Variable forward(AutogradContext* ctx, const Variable& x, const Variable& complex_weight) {
    ctx->save_for_backward({x, complex_weight});
    const at::AutoDispatchBelowADInplaceOrView guard;
    return global_filter(x, complex_weight);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list inputs = ctx->get_saved_variables();
    const Variable &x = inputs[0], &complex_weight = inputs[1], &grad = grads[0];
    variable_list results(2);
    if (ctx->needs_input_grad(0)) {
      results[0] = global_filter(grad, conjugate(complex_weight)).to(x.scalar_type());
    }
    if (ctx->needs_input_grad(1)) results[1] = weight_grad(x, complex_weight, grad);
    return results;
  }
};

at::Tensor global_filter_autograd(const at::Tensor& x, const at::Tensor& complex_weight) {
  check_global_filter(x, complex_weight);
  const c10::SymInt height = x.sym_size(2), width = x.sym_size(3);
  const bool fits =
      complex_weight.sym_size(1) == height && complex_weight.sym_size(2) == width / 2 + 1;
  return GlobalFilter::apply(
      x, fits ? complex_weight : interpolate_filter(complex_weight, height, width));
}

TORCH_LIBRARY_IMPL(hornet, Autograd, m) { m.impl("global_filter", global_filter_autograd); }

}  // namespace
}  // namespace hornet::ops
