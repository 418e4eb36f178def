// HorNet as a whole: shapes, symmetries, stochastic depth, gradients, serialisation.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/hornet.h>
#include <torch/serialize.h>

#include <sstream>

#include "tests/modules.h"

namespace hornet {
namespace {

using testing::expect_close;
using testing::expect_identical;
using testing::narrow_hornet;
using testing::narrow_hornet_gf;
using testing::random_hornet;
using torch::Tensor;

std::vector<HorNetOptions> both_mixers() { return {narrow_hornet(), narrow_hornet_gf()}; }

// Each step rounds down: 333 -> 83 -> 41 -> 20 -> 10 and 517 -> 129 -> 64 -> 32 -> 16.
TEST(HorNet, RoundsOddSizesDownAndSaysWhatItReturns) {
  const torch::NoGradGuard no_grad;
  const std::vector<std::vector<int64_t>> sizes = {{83, 129}, {41, 64}, {20, 32}, {10, 16}};
  for (const HorNetOptions& options : both_mixers()) {
    HorNet network = random_hornet(options);
    const Features maps = network->forward(torch::randn({2, 3, 333, 517}));
    const std::vector<FeatureInfo> info = network->feature_info();
    ASSERT_EQ(maps.size(), 4);
    ASSERT_EQ(info.size(), 4);
    for (int64_t i = 0; i < 4; ++i) {
      EXPECT_EQ(maps[i].sizes(), (torch::IntArrayRef{2, 8 << i, sizes[i][0], sizes[i][1]}));
      EXPECT_TRUE(maps[i].isfinite().all().item<bool>());
      EXPECT_EQ(info[i].channels, 8 << i);
      EXPECT_EQ(info[i].stride, 4 << i);
    }
  }
}

TEST(HorNet, RefusesWhatIsTooSmall) {
  HorNet network(narrow_hornet());
  EXPECT_NO_THROW(network->forward(torch::zeros({1, 3, 32, 32})));
  EXPECT_THROW(network->forward(torch::zeros({1, 3, 31, 64})), c10::Error);
  EXPECT_THROW(network->forward(torch::zeros({1, 3, 64, 31})), c10::Error);
  EXPECT_THROW(network->forward(torch::zeros({3, 64, 64})), c10::Error);
}

TEST(HorNet, ReturnsTheChosenStages) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  HorNet all = random_hornet(narrow_hornet());
  HorNetOptions options = narrow_hornet();
  options.out_indices = {1, 3};
  HorNet some(options);
  some->eval();
  auto source = all->named_parameters();
  for (auto& item : some->named_parameters()) item.value().copy_(source[item.key()]);

  EXPECT_FALSE(some->named_parameters().contains("norm0.weight"));
  ASSERT_EQ(some->feature_info().size(), 2);
  EXPECT_EQ(some->feature_info()[0].stride, 8);
  const Tensor images = torch::randn({1, 3, 64, 96});
  const Features maps = all->forward(images), chosen = some->forward(images);
  expect_close(chosen, {maps[1], maps[3]});
  options.out_indices = {4};
  EXPECT_THROW(HorNet{options}, c10::Error);
}

// The next stage sees a stage's output without the norm.
TEST(HorNet, NormalisesWhatItReturnsOnly) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(2);
  HorNet network = random_hornet(narrow_hornet());
  const Tensor images = torch::randn({1, 3, 64, 64});
  const Features before = network->forward(images);
  network->named_parameters()["norm0.weight"].mul_(2);
  network->named_parameters()["norm0.bias"].mul_(2);
  expect_close(network->forward(images), {before[0] * 2, before[1], before[2], before[3]});
}

TEST(HorNetBlock, AddsAGnConvAndAnMlp) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(3);
  HorNetBlock block(GnConvOptions(8).order(2).scale(1.0 / 3.0), /*drop_path=*/0.0,
                    /*layer_scale_init=*/1e-6);
  testing::randomise(*block);
  const Tensor x = torch::randn({2, 8, 5, 7});
  const Tensor y =
      x + block->gamma1.view({8, 1, 1}) * block->gnconv->forward(block->norm1->forward(x));
  Tensor hidden = block->norm2->forward(y.permute({0, 2, 3, 1}));
  hidden = block->pwconv1->forward(hidden);
  hidden = hidden * 0.5 * (1 + torch::erf(hidden / std::sqrt(2.0)));
  hidden = block->gamma2 * block->pwconv2->forward(hidden);
  expect_close(block->forward(x), y + hidden.permute({0, 3, 1, 2}));
}

// A 7x7 network pads with zeros, so shifts only commute with it where no border is in reach: from
// 6 cells of the last map inwards.
TEST(HorNet, CommutesWithShiftsInTheInterior) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(4);
  HorNet network = random_hornet(narrow_hornet());
  const Tensor image = torch::randn({1, 3, 512, 544});
  const Features left = network->forward(image.slice(3, 0, 512));
  const Features right = network->forward(image.slice(3, 32, 544));
  for (size_t i = 0; i < 4; ++i) {
    const int64_t cell = 8 >> i, from = 6 * cell, count = 3 * cell;
    const auto interior = [&](const Tensor& map, int64_t x) {
      return map.narrow(2, from, count + cell).narrow(3, x, count);
    };
    expect_close(interior(right[i], from), interior(left[i], from + cell), 1e-4);
  }
}

TEST(HorNet, CommutesWithCircularShiftsIfNothingIsPadded) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(5);
  HorNetOptions options = narrow_hornet();
  for (int64_t i = 0; i < 4; ++i)
    options.stages[i].global_filter = FilterSize{32 >> i, (16 >> i) + 1};
  HorNet network = random_hornet(options);
  for (auto& item : network->named_parameters()) {  // the padded half of each filter
    if (item.key().find("dwconv.dw.weight") != std::string::npos) item.value().zero_();
  }
  const Tensor image = torch::randn({1, 3, 128, 128});
  Features shifted;
  const Features maps = network->forward(image);
  for (int64_t i = 0; i < 4; ++i) {
    const int64_t cell = 8 >> i;
    shifted.push_back(maps[i].roll({cell, 3 * cell}, {2, 3}));
  }
  expect_close(network->forward(image.roll({32, 96}, {2, 3})), shifted, 1e-4);
}

TEST(HorNet, TreatsTheImagesOfABatchAlike) {
  const torch::NoGradGuard no_grad;
  for (const HorNetOptions& options : both_mixers()) {
    torch::manual_seed(6);
    HorNet network = random_hornet(options);
    const Tensor images = torch::randn({2, 3, 96, 70});
    const Features both = network->forward(images);
    for (size_t n = 0; n < 2; ++n) {
      const Features one = network->forward(images.slice(0, n, n + 1));
      for (size_t i = 0; i < 4; ++i) expect_close(both[i].slice(0, n, n + 1), one[i]);
    }
  }
}

TEST(HorNet, IsDeterministic) {
  const torch::NoGradGuard no_grad;
  for (const HorNetOptions& options : both_mixers()) {
    HorNet network = random_hornet(options);
    const Tensor images = torch::randn({1, 3, 128, 100});
    expect_close(network->forward(images), network->forward(images), /*tolerance=*/0);
  }
}

TEST(HorNet, HasLayerScaleUnlessItIsOff) {
  HorNetOptions options = narrow_hornet();
  const auto with = HorNet(options)->named_parameters();
  EXPECT_EQ(with["stages.3.0.gamma2"].sizes(), (torch::IntArrayRef{64}));
  EXPECT_TRUE(torch::equal(with["stages.3.0.gamma2"], torch::full({64}, 1e-6)));
  options.layer_scale_init = 0;
  HorNet without(options);
  for (const std::string& name : testing::parameter_names(*without)) {
    EXPECT_EQ(name.find("gamma"), std::string::npos) << name;
  }
  EXPECT_EQ(without->forward(torch::randn({1, 3, 32, 32})).size(), 4);
}

HorNetBlock random_block(double drop_path) {
  torch::manual_seed(7);
  HorNetBlock block(GnConvOptions(8).order(2), drop_path, /*layer_scale_init=*/1e-6);
  testing::randomise(*block);
  return block;
}

TEST(StochasticDepth, DropsBranchesInTrainingOnly) {
  const torch::NoGradGuard no_grad;
  HorNetBlock always = random_block(0.0), never = random_block(1 - 1e-9);
  const Tensor x = torch::randn({16, 8, 3, 3});
  expect_identical(never->forward(x), x);
  never->eval();
  expect_identical(never->forward(x), always->forward(x));
}

// With the second branch switched off a sample is x, or x + branch / keep: x + branch on average.
TEST(StochasticDepth, KeepsTheExpectedValue) {
  const torch::NoGradGuard no_grad;
  constexpr double kKeep = 0.75;
  constexpr int64_t kSamples = 4000;
  HorNetBlock block = random_block(1 - kKeep);
  block->gamma2.zero_();
  const Tensor x = torch::randn({1, 8, 1, 1});
  block->eval();
  const Tensor branch = block->forward(x) - x;
  block->train();
  const Tensor y = block->forward(x.expand({kSamples, 8, 1, 1})) - x;
  const Tensor kept = (y != 0).flatten(1).any(1);
  const Tensor expected = torch::where(kept.view({-1, 1, 1, 1}), branch / kKeep, torch::zeros({}));
  expect_close(y, expected, 1e-4);
  EXPECT_NEAR(kept.to(torch::kDouble).mean().item<double>(), kKeep, 0.03);
}

// From no drops in the first block to drop_path_rate, which silences the last one.
TEST(StochasticDepth, RisesWithTheDepth) {
  const torch::NoGradGuard no_grad;
  HorNetOptions options = narrow_hornet();
  options.drop_path_rate = 1 - 1e-9;
  options.out_indices = {0, 3};
  HorNet network = random_hornet(options);
  const Tensor images = torch::randn({4, 3, 32, 32});
  const Features whole = network->forward(images);
  network->train();
  torch::manual_seed(9);
  const Features dropped = network->forward(images);
  expect_identical(dropped[0], whole[0]);
  network->named_parameters()["stages.3.0.pwconv2.weight"].mul_(2);
  torch::manual_seed(9);
  expect_identical(network->forward(images)[1], dropped[1]);
}

void expect_gradients_everywhere(const torch::nn::Module& module) {
  for (const auto& item : module.named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_TRUE(item.value().grad().isfinite().all().item<bool>()) << item.key();
    EXPECT_TRUE((item.value().grad() != 0).any().item<bool>()) << item.key();
  }
}

TEST(HorNet, SendsGradientsToEveryParameter) {
  for (const HorNetOptions& options : both_mixers()) {
    HorNet backbone = random_hornet(options);
    HorNetClassifier classifier(options, 5);
    testing::randomise(*classifier);
    const Tensor images = torch::randn({2, 3, 64, 96});
    Tensor loss = classifier->forward(images).square().sum();
    for (const Tensor& map : backbone->forward(images)) loss = loss + map.pow(3).sum();
    loss.backward();
    expect_gradients_everywhere(*backbone);
    expect_gradients_everywhere(*classifier);
  }
}

Tensor last_of(const Tensor& logits) { return logits; }
Tensor last_of(const Features& maps) { return maps.back(); }

// Filters that `loaded` has in its caches must not outlive the weights they were made from.
template <typename Holder>
void expect_survives_serialisation(Holder saved, Holder loaded) {
  const torch::NoGradGuard no_grad;
  const Tensor images = torch::randn({1, 3, 96, 64});
  testing::randomise(*saved);
  loaded->forward(images);
  std::stringstream stream;
  torch::save(saved, stream);
  torch::load(loaded, stream);
  expect_identical(last_of(loaded->forward(images)), last_of(saved->forward(images)));
}

TEST(HorNet, SurvivesSerialisation) {
  for (const HorNetOptions& options : both_mixers()) {
    expect_survives_serialisation(HorNet(options), HorNet(options));
    expect_survives_serialisation(HorNetClassifier(options, 11), HorNetClassifier(options, 11));
  }
}

TEST(HorNet, ComputesInFloat64) {
  const torch::NoGradGuard no_grad;
  for (const HorNetOptions& options : both_mixers()) {
    HorNet network = random_hornet(options);
    const Tensor images = torch::randn({1, 3, 64, 96});
    Features expected;
    for (const Tensor& map : network->forward(images)) expected.push_back(map.to(torch::kDouble));
    network->to(torch::kDouble);
    expect_close(network->forward(images.to(torch::kDouble)), expected, 1e-4);
  }
}

TEST(HorNetClassifier, NormalisesTheMeanOfTheLastStage) {
  const torch::NoGradGuard no_grad;
  HorNetClassifier model(narrow_hornet_gf(), 11);
  testing::randomise(*model);
  const Tensor images = torch::randn({2, 3, 75, 64});
  const ClassifierOutputs outputs = model->forward_stages(images);
  ASSERT_EQ(outputs.stages.size(), 4);
  const Tensor mean = outputs.stages[3].flatten(2).mean(2);
  const Tensor centred = mean - mean.mean(1, true);
  const Tensor pooled =
      centred / (centred.square().mean(1, true) + 1e-6).sqrt() * model->norm->weight +
      model->norm->bias;
  expect_close(outputs.pooled, pooled);
  expect_close(outputs.logits, pooled.matmul(model->head->weight.t()) + model->head->bias, 1e-4);
  EXPECT_EQ(outputs.logits.size(1), 11);
  expect_identical(model->forward(images), outputs.logits);
}

}  // namespace
}  // namespace hornet
