// The gradient of gnConv's products, in LibTorch's ops: they have gradients of their own, so it is
// right to any order, and torch.compile sees through it. Only the inputs are kept.
#include <hornet/backbone/ops/gnconv.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

Variable channels_at_the_end(const Variable& map) { return map.permute({0, 2, 3, 1}); }
Variable channels_second(const Variable& map) { return map.permute({0, 3, 1, 2}); }

// All that the forward pass computes: p_(k+1) = factors[k] * gates[k], for k below the last.
struct Chain {
  variable_list factors, gates, products;

  Chain(const Variable& p, const Variable& q, at::TensorList weights, at::TensorList biases,
        double scale)
      : factors{channels_at_the_end(p)} {
    const Variable all_gates = channels_at_the_end(q) * scale;
    c10::SymInt offset = 0;
    for (size_t k = 0; k <= weights.size(); ++k) {
      const c10::SymInt width = factors[k].sym_size(3);
      gates.push_back(all_gates.narrow_symint(3, offset, width));
      offset += width;
      if (k == weights.size()) break;
      products.push_back(factors[k] * gates[k]);
      factors.push_back(at::linear(products[k], weights[k].flatten(1), biases[k]));
    }
  }
};

class GnConv : public torch::autograd::Function<GnConv> {
 public:
  static Variable forward(AutogradContext* ctx, const Variable& p, const Variable& q,
                          at::TensorList weights, at::TensorList biases, double scale) {
    variable_list inputs = {p, q};
    inputs.insert(inputs.end(), weights.begin(), weights.end());
    inputs.insert(inputs.end(), biases.begin(), biases.end());
    ctx->save_for_backward(std::move(inputs));
    ctx->saved_data["scale"] = scale;
    const at::AutoDispatchBelowADInplaceOrView guard;
    return gnconv(p, q, weights, biases, scale);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list inputs = ctx->get_saved_variables();
    const size_t count = (inputs.size() - 2) / 2;
    const at::TensorList weights = at::TensorList(inputs).slice(2, count);
    const at::TensorList biases = at::TensorList(inputs).slice(2 + count, count);
    const double scale = ctx->saved_data.at("scale").toDouble();
    const Chain chain(inputs[0], inputs[1], weights, biases, scale);

    variable_list results(inputs.size() + 1), gate_grads(count + 1);
    Variable grad = channels_at_the_end(grads[0]);
    for (size_t k = count; k > 0; --k) {
      gate_grads[k] = grad * chain.factors[k];
      grad = grad * chain.gates[k];
      const Variable rows = grad.flatten(0, 2), &weight = weights[k - 1];
      if (ctx->needs_input_grad(1 + k)) {
        results[1 + k] = at::mm(rows.t(), chain.products[k - 1].flatten(0, 2)).view_as(weight);
      }
      if (ctx->needs_input_grad(1 + count + k)) results[1 + count + k] = rows.sum(0);
      grad = at::matmul(grad, weight.flatten(1));
    }
    gate_grads[0] = grad * chain.factors[0];
    results[0] = channels_second(grad * chain.gates[0]);
    results[1] = channels_second(at::cat(gate_grads, 3) * scale);
    return results;
  }
};

at::Tensor gnconv_autograd(const at::Tensor& p, const at::Tensor& q, at::TensorList weights,
                           at::TensorList biases, double scale) {
  return GnConv::apply(p, q, weights, biases, scale);
}

TORCH_LIBRARY_IMPL(hornet, Autograd, m) { m.impl("gnconv", gnconv_autograd); }

}  // namespace
}  // namespace hornet::ops
