// Networks of a user's as backbones: shared parameters, declared and real feature maps.
#include <gtest/gtest.h>
#include <hornet/backbone/adapter.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/checkpoint.h>
#include <torch/nn/modules/activation.h>
#include <torch/optim/sgd.h>

#include <algorithm>

#include "tests/modules.h"

namespace hornet {
namespace {

using testing::error_of;
using testing::expect_contains;
using testing::expect_identical;
using torch::Tensor;

torch::nn::Conv2d halving(int64_t in, int64_t out) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).stride(2).padding(1));
}

// Two levels, and one of everything that a module can own.
struct SmallNetImpl : torch::nn::Module {
  SmallNetImpl() {
    stem = register_module("stem", halving(3, 6));
    norm = register_module("norm", torch::nn::BatchNorm2d(6));
    deeper = register_module("deeper", halving(6, 10));
    gain = register_parameter("gain", torch::full({1}, 2.0));
    frozen = register_parameter("frozen", torch::ones({1}), /*requires_grad=*/false);
    offset = register_buffer("offset", torch::full({1}, 0.5));
  }
  std::vector<Tensor> forward(Tensor images) {
    was_training = is_training();
    const Tensor fine = torch::relu(norm(stem(images * gain * frozen + offset)));
    return {fine, deeper(fine)};
  }

  torch::nn::Conv2d stem{nullptr}, deeper{nullptr};
  torch::nn::BatchNorm2d norm{nullptr};
  Tensor gain, frozen, offset;
  bool was_training = false;
};
TORCH_MODULE(SmallNet);

const std::vector<FeatureInfo> kSmallNet = {{6, 2}, {10, 4}};

std::string error_at_forward(const std::vector<FeatureInfo>& declared, torch::IntArrayRef images) {
  const auto backbone = as_backbone(SmallNet(), declared);
  return error_of([&] { backbone->forward(torch::randn(images)); }, ErrorCode::kUsage);
}

TEST(AsBackbone, GivesWhatTheModuleGives) {
  SmallNet net;
  const auto backbone = as_backbone(net, kSmallNet);
  EXPECT_EQ(backbone->feature_info()[1].channels, 10);
  backbone->eval();
  for (const auto& shape : std::vector<std::vector<int64_t>>{{2, 3, 33, 46}, {1, 3, 64, 32}}) {
    const Tensor images = torch::randn(shape).transpose(2, 3).contiguous().transpose(2, 3);
    const Features maps = backbone->forward(images);
    const Features expected = net->forward(images);
    ASSERT_EQ(maps.size(), 2);
    expect_identical(maps[0], expected[0]);
    expect_identical(maps[1], expected[1]);
  }
}

TEST(AsBackbone, KeepsTheModulesNames) {
  SmallNet net;
  const auto backbone = as_backbone(net.ptr(), kSmallNet);
  const auto sorted = [](std::vector<std::string> names) {
    std::sort(names.begin(), names.end());
    return names;
  };
  EXPECT_EQ(sorted(testing::parameter_names(*backbone)), sorted(testing::parameter_names(*net)));
  EXPECT_EQ(sorted(backbone->named_buffers().keys()), sorted(net->named_buffers().keys()));
  EXPECT_FALSE(backbone->named_parameters()["frozen"].requires_grad());

  weights::File file;  // the module's state dict
  for (const auto& item : net->named_parameters()) {
    file.tensors[item.key()] = weights::from_torch(item.value());
  }
  for (const auto& item : net->named_buffers()) {
    file.tensors[item.key()] = weights::from_torch(item.value());
  }
  const auto other = as_backbone(SmallNet(), kSmallNet);
  EXPECT_TRUE(weights::load(*other, file).complete());
  expect_identical(other->named_parameters()["stem.weight"], net->stem->weight);
}

TEST(AsBackbone, SharesStateWithTheModule) {
  SmallNet net;
  const auto backbone = as_backbone(net, kSmallNet);
  backbone->eval();
  backbone->forward(torch::randn({1, 3, 32, 32}));
  EXPECT_FALSE(net->was_training) << "the module itself is told, not only its children";
  EXPECT_FALSE(net->norm->is_training());
  backbone->train();
  EXPECT_TRUE(net->is_training());

  backbone->to(torch::kFloat64);
  EXPECT_EQ(net->gain.scalar_type(), torch::kFloat64);
  EXPECT_EQ(net->offset.scalar_type(), torch::kFloat64);
  EXPECT_EQ(net->stem->weight.scalar_type(), torch::kFloat64);
  const auto options = torch::dtype(torch::kFloat64);
  EXPECT_EQ(backbone->forward(torch::randn({1, 3, 32, 32}, options))[1].scalar_type(),
            torch::kFloat64);
}

TEST(AsBackbone, Trains) {
  SmallNet net;
  const auto backbone = as_backbone(net, kSmallNet);
  const Tensor before = net->gain.detach().clone();
  torch::optim::SGD optimiser(backbone->parameters(), torch::optim::SGDOptions(0.1));
  backbone->forward(torch::randn({2, 3, 32, 32}))[1].square().mean().backward();
  for (const auto& item : backbone->named_parameters()) {
    EXPECT_EQ(item.value().grad().defined(), item.key() != "frozen") << item.key();
  }
  optimiser.step();
  EXPECT_FALSE(torch::equal(net->gain, before));
}

TEST(AsBackbone, OutlivesTheHolderOfTheModule) {
  const auto make = [] { return as_backbone(SmallNet(), kSmallNet); };
  register_backbone("small_net", make);
  EXPECT_EQ(make_backbone("small_net")->forward(torch::randn({1, 3, 40, 36}))[1].size(2), 10);
}

TEST(AsBackbone, TakesStagesOneModuleOneLevelAndFunctions) {
  torch::nn::Sequential stages(halving(3, 4), torch::nn::ReLU(), halving(4, 8), halving(8, 9));
  const auto pyramid = as_backbone(stages, {{8, 4}, {9, 8}});  // the first two are the stem
  EXPECT_EQ(testing::parameter_count(*pyramid), testing::parameter_count(*stages));
  const Features maps = pyramid->forward(torch::randn({2, 3, 37, 50}));
  EXPECT_EQ(maps[0].sizes(), (torch::IntArrayRef{2, 8, 10, 13}));
  EXPECT_EQ(maps[1].sizes(), (torch::IntArrayRef{2, 9, 5, 7}));

  const auto single = as_backbone(halving(3, 5), {{5, 2}});  // forward gives a Tensor
  EXPECT_EQ(single->forward(torch::randn({1, 3, 33, 32}))[0].size(2), 17);

  const auto pooled = as_backbone(
      [](const Tensor& x) -> Features { return {torch::avg_pool2d(x, 8, 8)}; }, {{3, 8}});
  EXPECT_EQ(pooled->forward(torch::ones({1, 3, 39, 40}))[0].size(2), 4) << "rounded down";
  EXPECT_TRUE(pooled->parameters().empty());
}

TEST(AsBackbone, NamesTheLevelThatIsNotAsDeclared) {
  const std::string channels = error_at_forward({{6, 2}, {12, 4}}, {2, 3, 48, 64});
  expect_contains(channels, "level 1 is declared with 12 channels at stride 4");
  expect_contains(channels, "forward gives 10 channels at stride 4 (a map [2, 10, 12, 16]");
  EXPECT_EQ(channels.find('\n'), std::string::npos) << "one line";

  const std::string stride = error_at_forward({{6, 4}, {10, 4}}, {1, 3, 48, 64});
  expect_contains(stride, "level 0 is declared with 6 channels at stride 4");
  expect_contains(stride, "forward gives 6 channels at stride 2 (");

  expect_contains(error_at_forward({{6, 2}}, {1, 3, 48, 64}),
                  "1 levels are declared, but forward gives 2");
  expect_contains(error_at_forward({{6, 2}, {10, 4}, {20, 8}}, {1, 3, 48, 64}),
                  "3 levels are declared, but forward gives 2");
}

TEST(AsBackbone, RefusesWhatIsNoMapOfTheImages) {
  const auto message = [](FeatureFunction function, std::vector<FeatureInfo> info) {
    const auto backbone = as_backbone(std::move(function), std::move(info));
    return error_of([&] { backbone->forward(torch::ones({2, 3, 32, 64})); }, ErrorCode::kUsage);
  };
  expect_contains(message([](const Tensor&) -> Features { return {Tensor()}; }, {{3, 1}}),
                  "an undefined tensor");
  expect_contains(message(
                      [](const Tensor& x) -> Features {
                        return {x.mean({2, 3})};
                      },
                      {{3, 1}}),
                  "2 dimensions instead of [N,C,H,W]");
  expect_contains(message([](const Tensor& x) -> Features { return {x.slice(0, 0, 1)}; }, {{3, 1}}),
                  "a map [1, 3, 32, 64] of images [2, 3, 32, 64]");
  const auto wide = [](const Tensor& x) -> Features { return {torch::avg_pool2d(x, {2, 4})}; };
  expect_contains(message(wide, {{3, 2}}), "at stride 2 x 4");
  const auto shrunk = [](const Tensor& x) -> Features { return {x.slice(2, 4).slice(3, 4)}; };
  expect_contains(message(shrunk, {{3, 1}}), "at stride 1.14 x 1.07");
}

TEST(AsBackbone, ChecksTheDeclaration) {
  const auto message = [](std::vector<FeatureInfo> info) {
    return error_of([&] { as_backbone(SmallNet(), info); }, ErrorCode::kUsage);
  };
  expect_contains(message({}), "declare at least one level");
  expect_contains(message({{6, 2}, {0, 4}}), "level 1 is declared with 0 channels");
  expect_contains(message({{6, 4}, {10, 2}}), "level 1 is declared with 10 channels at stride 2");
  expect_contains(error_of([] { as_backbone(SmallNet(nullptr), kSmallNet); }, ErrorCode::kUsage),
                  "the module is empty");
  expect_contains(error_of(
                      [] {
                        as_backbone(FeatureFunction(), {{3, 1}});
                      },
                      ErrorCode::kUsage),
                  "the function is empty");
}

}  // namespace
}  // namespace hornet
