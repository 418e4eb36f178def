#include <gtest/gtest.h>
#include <hornet/heads/ops/resize_bilinear.h>
#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace hornet::ops {
namespace {

using torch::Tensor;

Tensor reference(const Tensor& x, int64_t height, int64_t width) {
  return torch::upsample_bilinear2d(x, {height, width}, /*align_corners=*/false);
}

double largest_difference(const Tensor& a, const Tensor& b) {
  return (a - b).abs().max().item<double>();
}

// Larger, smaller, as large; a single pixel.
constexpr int64_t kSizes[][4] = {
    {5, 7, 20, 28}, {13, 9, 30, 11}, {8, 12, 3, 5}, {6, 6, 6, 6}, {1, 1, 4, 9}};

TEST(ResizeBilinear, ItsGradientIsLibTorchs) {
  torch::manual_seed(1);
  for (const auto& [low, wide, height, width] : kSizes) {
    for (const auto order : {torch::MemoryFormat::Contiguous, torch::MemoryFormat::ChannelsLast}) {
      const Tensor x = torch::randn({2, 3, low, wide}).contiguous(order).requires_grad_();
      const Tensor same = x.detach().clone().requires_grad_();
      const Tensor grad = torch::randn({2, 3, height, width}).contiguous(order);
      const Tensor y = resize_bilinear(x, height, width), wanted = reference(same, height, width);
      EXPECT_TRUE(y.equal(wanted));
      y.backward(grad);
      wanted.backward(grad);
      EXPECT_LT(largest_difference(x.grad(), same.grad()), 1e-5) << low << " to " << height;
    }
  }
}

TEST(ResizeBilinear, HasSecondGradients) {
  torch::manual_seed(2);
  const Tensor x = torch::randn({1, 2, 4, 5}).requires_grad_();
  const auto penalty = [&](const Tensor& y) {
    const Tensor grad =
        torch::autograd::grad({y.pow(3).sum()}, {x}, {}, true, /*create_graph=*/true)[0];
    return torch::autograd::grad({grad.pow(2).sum()}, {x})[0];
  };
  EXPECT_TRUE(
      torch::allclose(penalty(resize_bilinear(x, 9, 8)), penalty(reference(x, 9, 8)), 1e-4, 1e-4));
}

TEST(ResizeBilinear, TakesOtherTypes) {
  const Tensor x = torch::randn({1, 2, 4, 5}, torch::kFloat64).requires_grad_();
  EXPECT_EQ(resize_bilinear(x, 8, 8).scalar_type(), torch::kFloat64);
}

}  // namespace
}  // namespace hornet::ops
