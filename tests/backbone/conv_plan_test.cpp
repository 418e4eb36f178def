// Prepared convolutions against LibTorch's.
#include <gtest/gtest.h>
#include <hornet/backbone/plan/pyramid_conv.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace hornet::plan {
namespace {

using torch::Tensor;

// Within `tolerance` of the largest value.
void expect_same(const Tensor& actual, const Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  if (expected.numel() == 0) return;
  const double largest = expected.abs().max().item<double>();
  EXPECT_LE((actual - expected).abs().max().item<double>(), tolerance * largest);
}

Tensor convolved(const Tensor& x, const Tensor& weight, const Tensor& bias, bool relu) {
  const Tensor y = torch::conv2d(x, weight, bias, /*stride=*/1, /*padding=*/weight.size(2) / 2);
  return relu ? torch::relu(y) : y;
}

class ConvPlanLevel : public ::testing::TestWithParam<CpuLevel> {
 protected:
  void SetUp() override { setenv("HORNET_CPU_LEVEL", cpu_level_name(GetParam()), 1); }
  void TearDown() override { unsetenv("HORNET_CPU_LEVEL"); }
};

INSTANTIATE_TEST_SUITE_P(Levels, ConvPlanLevel, ::testing::ValuesIn(available_cpu_levels()),
                         [](const auto& info) { return std::string(cpu_level_name(info.param)); });

TEST_P(ConvPlanLevel, Convolves) {
  torch::manual_seed(1);
  struct Case {
    int64_t images, in, out, height, width;
  };
  for (const Case& c : std::vector<Case>{{1, 16, 32, 14, 14},
                                         {2, 3, 5, 7, 5},
                                         {1, 24, 40, 1, 1},
                                         {3, 17, 9, 13, 21},
                                         {1, 32, 31, 2, 33},
                                         {100, 64, 48, 7, 7},
                                         {0, 16, 16, 7, 7}}) {
    const Tensor x = torch::randn({c.images, c.in, c.height, c.width});
    for (int64_t kernel : {1, 3}) {
      const Tensor weight = torch::randn({c.out, c.in, kernel, kernel}),
                   bias = torch::randn({c.out});
      for (bool relu : {false, true}) {
        const Tensor expected = convolved(x, weight, bias, relu);
        const ConvPlan plan(weight, bias, relu);
        expect_same(plan.forward(x), expected, 2e-6);
        expect_same(plan.forward(x.contiguous(torch::MemoryFormat::ChannelsLast)), expected, 2e-6);
        expect_same(ConvPlan(weight, {}, relu).forward(x), convolved(x, weight, {}, relu), 2e-6);
      }
    }
  }
}

// Only what is multiplied is rounded, once: a 1x1 convolution of rounded values, to float32's
// accuracy, and for Winograd's transformed values some units in their last place.
TEST_P(ConvPlanLevel, ConvolvesInBf16) {
  torch::manual_seed(4);
  const auto rounded = [](const Tensor& x) { return x.to(torch::kBFloat16).to(torch::kFloat32); };
  for (const auto& [in, out] :
       std::vector<std::pair<int64_t, int64_t>>{{16, 32}, {3, 5}, {40, 33}}) {
    const Tensor x = torch::randn({2, in, 13, 10}), bias = torch::randn({out});
    const Tensor one = torch::randn({out, in, 1, 1}), three = torch::randn({out, in, 3, 3});
    expect_same(ConvPlan(one, bias, true, Precision::kBfloat16).forward(x),
                convolved(rounded(x), rounded(one), bias, true), 2e-6);
    const Tensor expected = convolved(x, three, bias, false);
    const Tensor actual = ConvPlan(three, bias, false, Precision::kBfloat16).forward(x);
    expect_same(actual, expected, 1.5e-2);
    EXPECT_GT((actual - expected).abs().max().item<double>(), 1e-4);
    EXPECT_LT(((actual - expected).norm() / expected.norm()).item<double>(), 6e-3);
  }
}

// The definition: resize, concatenate, convolve.
Tensor resized_and_convolved(const std::vector<Tensor>& maps, const Tensor& weight,
                             const Tensor& bias, bool relu) {
  std::vector<Tensor> same;
  const std::vector<int64_t> size = {maps[0].size(2), maps[0].size(3)};
  for (const Tensor& map : maps) {
    same.push_back(torch::upsample_bilinear2d(map, size, /*align_corners=*/false));
  }
  return convolved(torch::cat(same, 1), weight, bias, relu);
}

TEST_P(ConvPlanLevel, ConvolvesPyramids) {
  torch::manual_seed(2);
  using Sizes = std::vector<std::pair<int64_t, int64_t>>;
  for (const Sizes& sizes :
       {Sizes{{16, 24}, {8, 12}, {4, 6}, {2, 3}}, Sizes{{13, 21}, {6, 10}, {3, 5}, {1, 2}},
        Sizes{{5, 7}, {1, 1}, {2, 2}, {3, 3}, {6, 6}}, Sizes{{9, 9}, {9, 9}}, Sizes{{4, 4}}}) {
    for (int64_t out : {16, 37, 200}) {
      std::vector<Tensor> maps;
      std::vector<int64_t> channels;
      int64_t total = 0;
      for (const auto& [height, width] : sizes) {
        channels.push_back(8 + static_cast<int64_t>(maps.size()) * 5);
        maps.push_back(torch::randn({2, channels.back(), height, width}));
        total += channels.back();
      }
      const Tensor weight = torch::randn({out, total, 3, 3}), bias = torch::randn({out});
      for (bool relu : {false, true}) {
        const PyramidConvPlan plan(weight, bias, relu, channels);
        const Tensor expected = resized_and_convolved(maps, weight, bias, relu);
        expect_same(plan.forward(maps), expected, 4e-6);
        const PyramidConvPlan reduced(weight, bias, relu, channels, Precision::kBfloat16);
        expect_same(reduced.forward(maps), expected, 2e-2);
      }
    }
  }
}

TEST(PreparedConv, FoldsBatchNormsAndNoticesChanges) {
  torch::manual_seed(3);
  torch::nn::Module owner;
  owner.eval();
  torch::nn::Conv2d conv(torch::nn::Conv2dOptions(8, 12, 3).padding(1).bias(false));
  torch::nn::BatchNorm2d norm(12);
  conv->eval();
  norm->eval();
  PreparedConv prepared;
  const Tensor x = torch::randn({1, 8, 9, 9});
  EXPECT_FALSE(prepared.forward(owner, x).has_value());
  prepared.prepare(conv, norm, /*relu=*/true);
  EXPECT_FALSE(prepared.forward(owner, x).has_value()) << "outside of InferenceMode";
  for (Tensor* changed :
       {&conv->weight, &norm->weight, &norm->bias, &norm->running_mean, &norm->running_var}) {
    {
      const torch::NoGradGuard no_grad;
      changed->uniform_(0.5, 1.5);
    }
    const torch::InferenceMode inference;
    const Tensor expected = torch::relu(norm->forward(conv->forward(x)));
    const auto actual = prepared.forward(owner, x);
    ASSERT_TRUE(actual.has_value());
    expect_same(*actual, expected, 2e-6);
  }
  const torch::InferenceMode inference;
  EXPECT_FALSE(prepared.forward(owner, x.to(torch::kDouble)).has_value());
  owner.train();
  EXPECT_FALSE(prepared.forward(owner, x).has_value());
}

// A batch norm in training mode moves its statistics, which version counters do not see.
TEST(PreparedConv, NoticesStatisticsThatMove) {
  torch::manual_seed(4);
  torch::nn::Module owner;
  torch::nn::Conv2d conv(torch::nn::Conv2dOptions(8, 12, 3).padding(1).bias(false));
  torch::nn::BatchNorm2d norm(12);
  PreparedConv prepared;
  prepared.prepare(conv, norm, /*relu=*/false);
  const Tensor x = torch::randn({2, 8, 9, 9}) + 1;
  const auto evaluate = [&] {
    const torch::InferenceMode inference;
    owner.eval();
    return prepared.forward(owner, x).value();
  };
  const Tensor before = evaluate();
  owner.train();
  {
    const torch::NoGradGuard no_grad;
    EXPECT_FALSE(prepared.forward(owner, x).has_value());
    norm->forward(conv->forward(x));
  }
  norm->eval();
  const Tensor after = evaluate();
  const torch::InferenceMode inference;
  expect_same(after, norm->forward(conv->forward(x)), 2e-6);
  EXPECT_GT((after - before).abs().max().item<double>(), 1e-2);
}

TEST(PreparedConv, LeavesWhatItDoesNotKnow) {
  const torch::InferenceMode inference(false);
  using Options = torch::nn::Conv2dOptions;
  for (const Options& options :
       {Options(8, 8, 3).padding(1).stride(2), Options(8, 8, 3),
        Options(8, 8, 3).padding(1).groups(2), Options(8, 8, 3).padding(2).dilation(2),
        Options(8, 8, 5).padding(2), Options(8, 8, {1, 3}).padding({0, 1})}) {
    EXPECT_FALSE(plan_fits(torch::nn::Conv2d(options), nullptr));
  }
  EXPECT_TRUE(plan_fits(torch::nn::Conv2d(Options(8, 8, 3).padding(1)), nullptr));
  EXPECT_TRUE(plan_fits(torch::nn::Conv2d(Options(8, 8, 1)), nullptr));
}

}  // namespace
}  // namespace hornet::plan
