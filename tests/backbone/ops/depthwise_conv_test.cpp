// Values and gradients of the depthwise convolution against LibTorch's.
#include <gtest/gtest.h>
#include <hornet/backbone/depthwise_conv.h>
#include <hornet/backbone/ops/depthwise_conv.h>
#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace hornet::ops {
namespace {

using torch::Tensor;

double largest_difference(const Tensor& a, const Tensor& b) {
  return (a.to(torch::kFloat64) - b.to(torch::kFloat64)).abs().max().item<double>();
}

Tensor reference(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return torch::conv2d(x, weight, bias, 1, weight.size(2) / 2, 1, weight.size(0));
}

struct Shape {
  int64_t images, channels, height, width, kernel;
};

class DepthwiseGradient : public ::testing::TestWithParam<Shape> {
 protected:
  void SetUp() override { torch::manual_seed(1); }
  Tensor map() const {
    const Shape s = GetParam();
    return torch::randn({s.images, s.channels, s.height, s.width})
        .contiguous(torch::MemoryFormat::ChannelsLast);
  }
};

// Of the weight, against LibTorch's in float64.
TEST_P(DepthwiseGradient, OfTheWeightIsTheSumOverAllPixels) {
  const Shape s = GetParam();
  const Tensor x = map(), grad = map();
  const Tensor weight =
      torch::zeros({s.channels, 1, s.kernel, s.kernel}, torch::kFloat64).requires_grad_();
  reference(x.to(torch::kFloat64), weight, {}).backward(grad.to(torch::kFloat64));
  const Tensor found = depthwise_weight_grad(x, grad, s.kernel);
  ASSERT_EQ(found.sizes(), weight.sizes());
  const double size = weight.grad().abs().max().item<double>();
  EXPECT_GT(size, 0.1);
  EXPECT_LT(largest_difference(found, weight.grad()), 2e-6 * size);
  const Tensor planes = depthwise_weight_grad(x.contiguous(), grad.contiguous(), s.kernel);
  EXPECT_TRUE(found.equal(planes));
}

TEST_P(DepthwiseGradient, OfAllInputsIsLibTorchs) {
  const Shape s = GetParam();
  for (const bool has_bias : {true, false}) {
    std::vector<Tensor> own = {map(), torch::randn({s.channels, 1, s.kernel, s.kernel})};
    if (has_bias) own.push_back(torch::randn({s.channels}));
    std::vector<Tensor> theirs;
    for (Tensor& tensor : own) {
      tensor.requires_grad_();
      theirs.push_back(tensor.detach().clone().requires_grad_());
    }
    const Tensor grad = map();
    const Tensor y =
        depthwise_conv(own[0], own[1], has_bias ? std::make_optional(own[2]) : std::nullopt);
    const Tensor wanted = reference(theirs[0], theirs[1], has_bias ? theirs[2] : Tensor());
    EXPECT_TRUE(y.equal(wanted));
    y.backward(grad);
    wanted.backward(grad);
    for (size_t i = 0; i < own.size(); ++i) {
      const double size = theirs[i].grad().abs().max().item<double>();
      EXPECT_LT(largest_difference(own[i].grad(), theirs[i].grad()), 5e-6 * size) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, DepthwiseGradient,
                         ::testing::Values(Shape{2, 48, 12, 10, 7}, Shape{1, 16, 3, 2, 7},
                                           Shape{3, 5, 9, 14, 7}, Shape{2, 37, 1, 1, 3},
                                           Shape{2, 24, 11, 8, 3}));

TEST(DepthwiseConv, TakesSlicesOfWiderMaps) {
  torch::manual_seed(2);
  const Tensor wide = torch::randn({2, 40, 9, 7}).contiguous(torch::MemoryFormat::ChannelsLast);
  const Tensor x = wide.narrow(1, 8, 24), grad = wide.narrow(1, 16, 24);
  EXPECT_TRUE(depthwise_weight_grad(x, grad, 7)
                  .equal(depthwise_weight_grad(x.contiguous(), grad.contiguous(), 7)));
}

TEST(DepthwiseConv, TheWeightsGradientDoesNotDependOnThreads) {
  torch::manual_seed(3);
  const Tensor x = torch::randn({5, 50, 13, 11}), grad = torch::randn_like(x);
  const int threads = torch::get_num_threads();
  const Tensor wanted = depthwise_weight_grad(x, grad, 7);
  for (const int count : {1, 2, 3}) {
    torch::set_num_threads(count);
    EXPECT_TRUE(depthwise_weight_grad(x, grad, 7).equal(wanted)) << count;
  }
  torch::set_num_threads(threads);
}

TEST(DepthwiseConv, HasSecondGradients) {
  torch::manual_seed(4);
  const auto floats = torch::TensorOptions().dtype(torch::kFloat32).requires_grad(true);
  const Tensor x = torch::randn({1, 2, 8, 7}, floats), weight = torch::randn({2, 1, 3, 3}, floats);
  const auto penalty = [&](const Tensor& y) {
    const Tensor grad =
        torch::autograd::grad({y.pow(2).sum()}, {weight}, {}, true, /*create_graph=*/true)[0];
    return torch::autograd::grad({grad.pow(2).sum()}, {x})[0];
  };
  const Tensor wanted = penalty(reference(x, weight, {}));
  EXPECT_LT(largest_difference(penalty(depthwise_conv(x, weight, {})), wanted),
            1e-5 * wanted.abs().max().item<double>());
}

TEST(DepthwiseConv, NamesWhatIsWrong) {
  const Tensor x = torch::ones({1, 2, 8, 8});
  EXPECT_THROW(depthwise_weight_grad(x, torch::ones({1, 2, 8, 7}), 7), c10::Error);
  EXPECT_THROW(depthwise_weight_grad(x, x, 5), c10::Error);
  EXPECT_THROW(depthwise_weight_grad(x.to(torch::kFloat64), x, 3), c10::Error);
}

}  // namespace
}  // namespace hornet::ops
