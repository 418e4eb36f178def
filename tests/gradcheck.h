// Compares autograd's gradients with central differences, in float64.
#pragma once

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <functional>
#include <vector>

namespace hornet::testing {

using TensorFunction = std::function<torch::Tensor(std::vector<torch::Tensor>)>;

// d scalar(x) / d x of input `which`, one element after the other.
inline torch::Tensor numeric_gradient(
    const std::function<double(const std::vector<torch::Tensor>&)>& scalar,
    std::vector<torch::Tensor> inputs, size_t which, double eps) {
  const torch::Tensor origin = inputs[which];
  torch::Tensor gradient = torch::empty(origin.numel(), torch::kDouble);
  for (int64_t i = 0; i < origin.numel(); ++i) {
    const auto shifted = [&](double step) {
      inputs[which] = origin.clone(torch::MemoryFormat::Contiguous);
      inputs[which].view(-1)[i] += step;
      return scalar(inputs);
    };
    gradient[i] = (shifted(eps) - shifted(-eps)) / (2 * eps);
  }
  return gradient.view(origin.sizes());
}

// Expects the gradient of `function` in each of the inputs (converted to float64) to be what
// central differences say. The output is weighed with uneven numbers, so that errors in its
// elements do not cancel; the largest allowed difference is tol * (1 + |expected|).
inline void expect_gradients(const TensorFunction& function, std::vector<torch::Tensor> inputs,
                             double eps = 1e-6, double tol = 1e-6) {
  for (auto& input : inputs) input = input.detach().to(torch::kDouble);
  torch::Tensor weights;
  {
    const torch::NoGradGuard no_grad;
    const torch::Tensor output = function(inputs);
    weights = torch::arange(output.numel(), output.options()).mul(1.7).cos().view(output.sizes());
  }
  const auto scalar = [&](const std::vector<torch::Tensor>& values) {
    const torch::NoGradGuard no_grad;
    return (function(values) * weights).sum().item<double>();
  };

  std::vector<torch::Tensor> leaves;
  for (const auto& input : inputs) leaves.push_back(input.clone().requires_grad_());
  const torch::Tensor output = function(leaves);
  ASSERT_TRUE(output.requires_grad()) << "the gradient was lost on the way";
  const auto gradients = torch::autograd::grad({(output * weights).sum()}, leaves, {}, std::nullopt,
                                               /*create_graph=*/false, /*allow_unused=*/true);
  for (size_t i = 0; i < inputs.size(); ++i) {
    ASSERT_TRUE(gradients[i].defined()) << "no gradient for input " << i;
    const torch::Tensor expected = numeric_gradient(scalar, inputs, i, eps);
    const torch::Tensor excess = (gradients[i].cpu() - expected).abs() - tol * (1 + expected.abs());
    EXPECT_LE(excess.max().item<double>(), 0) << "input " << i << ": autograd\n"
                                              << gradients[i] << "\ncentral differences\n"
                                              << expected;
  }
}

// The same for the gradients of the gradients: those of the sum of the output's squares.
inline void expect_second_gradients(const TensorFunction& function,
                                    std::vector<torch::Tensor> inputs) {
  const auto gradients = [&](std::vector<torch::Tensor> values) {
    const torch::AutoGradMode with_gradients(true);
    for (auto& value : values) {
      if (!value.requires_grad()) value = value.detach().requires_grad_();
    }
    const torch::Tensor sum = function(values).pow(2).sum();
    std::vector<torch::Tensor> flat;
    for (const auto& gradient : torch::autograd::grad({sum}, values, {}, std::nullopt,
                                                      /*create_graph=*/true)) {
      flat.push_back(gradient.flatten());
    }
    return torch::cat(flat);
  };
  expect_gradients(gradients, std::move(inputs), /*eps=*/1e-5, /*tol=*/1e-5);
}

}  // namespace hornet::testing
