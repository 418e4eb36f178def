// GlobalLocalFilter: its two halves, their order, and the cache of resized filters.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/global_local_filter.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include "tests/backbone/filter_reference.h"
#include "tests/gradcheck.h"
#include "tests/modules.h"

namespace hornet {
namespace {

using testing::expect_close;
using testing::expect_identical;
using testing::reference_filter;
using testing::reference_resize;
using torch::Tensor;
struct Size {
  int64_t height, width;
};
const std::vector<Size> kSizes = {{7, 5}, {6, 8}, {5, 6}, {4, 7}, {1, 9}, {1, 4}, {9, 1}, {1, 1}};

GlobalLocalFilter random_filter(int64_t channels = 6, FilterSize size = {6, 4}) {
  torch::manual_seed(5);
  GlobalLocalFilter filter(GlobalLocalFilterOptions(channels, size));
  testing::randomise(*filter);
  return filter;
}

Tensor layer_norm(const Tensor& x, const ChannelLayerNorm& norm) {
  const Tensor centred = x - x.mean(1, /*keepdim=*/true);
  const Tensor deviation = (centred.square().mean(1, /*keepdim=*/true) + 1e-6).sqrt();
  return centred / deviation * norm->weight.view({-1, 1, 1}) + norm->bias.view({-1, 1, 1});
}

TEST(GlobalLocalFilter, InterleavesALocalAndAGlobalHalf) {
  GlobalLocalFilter filter = random_filter();
  const torch::NoGradGuard no_grad;
  for (const Size& size : kSizes) {
    SCOPED_TRACE(std::to_string(size.height) + "x" + std::to_string(size.width));
    const Tensor x = torch::randn({2, 6, size.height, size.width});
    const Tensor normed = layer_norm(x, filter->pre_norm);
    const Tensor local =
        torch::conv2d(normed.slice(1, 0, 3), filter->dw->weight, {}, 1, 1, 1, /*groups=*/3);
    const Tensor weight = reference_resize(filter->complex_weight.to(torch::kDouble), size.height,
                                           size.width / 2 + 1);
    const Tensor global =
        reference_filter(normed.slice(1, 3, 6).to(torch::kDouble).contiguous(), weight);
    Tensor mixed = torch::empty_like(x);
    for (int64_t c = 0; c < 3; ++c) {
      mixed.select(1, 2 * c) = local.select(1, c);
      mixed.select(1, 2 * c + 1) = global.select(1, c);
    }
    expect_close(filter->forward(x), layer_norm(mixed, filter->post_norm), 1e-4);
  }
}

TEST(GlobalLocalFilter, CommutesWithCircularShiftsButForItsPaddedHalf) {
  GlobalLocalFilter filter = random_filter(8, {14, 8});
  const torch::NoGradGuard no_grad;
  filter->dw->weight.zero_();
  const Tensor x = torch::randn({1, 8, 14, 14});
  expect_close(filter->forward(x.roll({3, 9}, {2, 3})), filter->forward(x).roll({3, 9}, {2, 3}));
}

TEST(GlobalLocalFilter, HasTheAuthorsNames) {
  EXPECT_EQ(testing::parameter_names(*random_filter()),
            (std::vector<std::string>{"complex_weight", "pre_norm.weight", "pre_norm.bias",
                                      "post_norm.weight", "post_norm.bias", "dw.weight"}));
}

TEST(GlobalLocalFilter, NeedsTwoHalves) {
  const std::string message = testing::error_of(
      [] {
        GlobalLocalFilter(GlobalLocalFilterOptions(7, {6, 4}));
      },
      ErrorCode::kUsage);
  testing::expect_contains(message, "even");
  testing::expect_contains(message, "7");
}

TEST(GlobalLocalFilter, ClonesAreIndependent) {
  GlobalLocalFilter filter = random_filter();
  const torch::NoGradGuard no_grad;
  const Tensor x = torch::randn({1, 6, 5, 5});
  const Tensor before = filter->forward(x);
  const auto copy = std::dynamic_pointer_cast<GlobalLocalFilterImpl>(filter->clone());
  expect_identical(copy->forward(x), before);
  copy->complex_weight.mul_(-2);
  EXPECT_FALSE(torch::equal(copy->forward(x), before));
  expect_identical(filter->forward(x), before);
}

TEST(GlobalLocalFilter, StaysCloseInReducedPrecision) {
  GlobalLocalFilter filter = random_filter();
  const torch::NoGradGuard no_grad;
  filter->to(torch::kBFloat16);
  const Tensor x = torch::randn({2, 6, 5, 5}).to(torch::kBFloat16);
  const Tensor y = filter->forward(x);
  EXPECT_EQ(y.scalar_type(), torch::kBFloat16);
  filter->to(torch::kFloat);
  expect_close(y.to(torch::kFloat), filter->forward(x.to(torch::kFloat)), 0.05);
}

TEST(GlobalLocalFilter, HasGradientsThroughTheInterpolation) {
  GlobalLocalFilter filter = random_filter(4, {3, 3});
  filter->to(torch::kDouble);
  const Tensor weight = filter->complex_weight, x = torch::randn({1, 4, 4, 3});
  testing::expect_gradients(
      [&](const std::vector<Tensor>& values) {
        filter->complex_weight = values[0];
        return filter->forward(values[1]);
      },
      {weight, x}, /*eps=*/1e-6, /*tol=*/1e-5);
}

// What the module computes with a filter that is interpolated anew.
Tensor uncached(const GlobalLocalFilter& filter, const Tensor& x) {
  const torch::AutoGradMode with_gradients(true);
  const auto copy = std::dynamic_pointer_cast<GlobalLocalFilterImpl>(filter->clone());
  return copy->forward(x).detach();
}

class FilterCache : public ::testing::Test {
 protected:
  FilterCache() { filter->eval(); }
  void expect_fresh() { expect_identical(filter->forward(x), uncached(filter, x)); }
  void backward() {
    const torch::AutoGradMode with_gradients(true);
    filter->forward(x).pow(3).sum().backward();
  }

  GlobalLocalFilter filter = random_filter();
  torch::NoGradGuard no_grad;
  Tensor x = torch::randn({2, 6, 9, 7});
};

TEST_F(FilterCache, ChangesNothing) {
  const Tensor first = filter->forward(x);
  EXPECT_EQ(filter->cached_sizes(), 1);
  expect_identical(filter->forward(x), first);
  EXPECT_EQ(filter->cached_sizes(), 1);
  expect_identical(uncached(filter, x), first);
}

TEST_F(FilterCache, IsBounded) {
  for (int64_t round = 0; round < 2; ++round) {
    for (int64_t height = 3; height < 10; ++height) {
      const Tensor map = torch::randn({1, 6, height, 5});
      expect_identical(filter->forward(map), uncached(filter, map));
    }
  }
  EXPECT_EQ(filter->cached_sizes(), GlobalLocalFilterImpl::kCachedSizes);
}

TEST_F(FilterCache, IsNotUsedWhileGradientsAreOn) {
  filter->forward(x);
  backward();
  EXPECT_EQ(filter->cached_sizes(), 0);
  EXPECT_GT(filter->complex_weight.grad().abs().max().item<float>(), 0);
}

TEST_F(FilterCache, SeesUpdatesInPlace) {
  const Tensor before = filter->forward(x);
  filter->complex_weight.select(3, 1).neg_();
  EXPECT_FALSE(torch::allclose(filter->forward(x), before));
  expect_fresh();
}

TEST_F(FilterCache, SeesCopiedWeights) {
  const Tensor before = filter->forward(x);
  filter->named_parameters()["complex_weight"].copy_(torch::randn({3, 6, 4, 2}));
  EXPECT_FALSE(torch::allclose(filter->forward(x), before));
  expect_fresh();
}

template <typename Optimizer>
void step(const Tensor& parameter) {
  Optimizer optimizer(std::vector<Tensor>{parameter}, /*lr=*/0.1);
  optimizer.step();
}

TEST_F(FilterCache, SeesOptimizerSteps) {
  for (const auto& take_step : {step<torch::optim::SGD>, step<torch::optim::AdamW>}) {
    const Tensor before = filter->forward(x);
    backward();
    take_step(filter->complex_weight);
    EXPECT_FALSE(torch::allclose(filter->forward(x), before));
    expect_fresh();
  }
}

TEST_F(FilterCache, FollowsTheModuleToAnotherType) {
  const Tensor before = filter->forward(x);
  filter->to(torch::kDouble);
  x = x.to(torch::kDouble);
  expect_close(filter->forward(x), before.to(torch::kDouble));
  expect_fresh();
  filter->complex_weight.mul_(3);
  filter->to(torch::kFloat);
  x = x.to(torch::kFloat);
  EXPECT_FALSE(torch::allclose(filter->forward(x), before));
  expect_fresh();
}

TEST_F(FilterCache, IsOfEvaluationOnly) {
  filter->forward(x);
  filter->train();
  EXPECT_EQ(filter->cached_sizes(), 0);
  filter->forward(x);
  EXPECT_EQ(filter->cached_sizes(), 0);
  filter->eval();
  expect_fresh();
  EXPECT_EQ(filter->cached_sizes(), 1);
}

TEST_F(FilterCache, IsNotUsedForInferenceTensors) {
  const c10::InferenceMode inference;
  GlobalLocalFilter born_in_inference(GlobalLocalFilterOptions(6, {6, 4}));
  born_in_inference->eval();
  const Tensor before = born_in_inference->forward(x);
  EXPECT_EQ(born_in_inference->cached_sizes(), 0);
  born_in_inference->complex_weight.neg_();
  EXPECT_FALSE(torch::equal(born_in_inference->forward(x), before));
}

}  // namespace
}  // namespace hornet
