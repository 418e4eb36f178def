// ResNet: names, shapes, the forward pass against a reference, and its two kinds of batch norm.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/resnet.h>

#include <algorithm>
#include <map>

#include "tests/modules.h"

namespace hornet {
namespace {

using testing::error_of;
using testing::expect_close;
using testing::expect_contains;
using testing::expect_identical;
using torch::Tensor;
using State = std::map<std::string, Tensor>;

ResNetOptions narrow(bool frozen = false) {
  ResNetOptions options;
  options.base_width = 4;
  options.depths = {2, 1, 1, 2};
  options.frozen_norm = frozen;
  return options;
}

ResNet random_resnet(const ResNetOptions& options) {
  torch::manual_seed(1);
  ResNet network(options);
  testing::randomise(*network);
  network->eval();
  return network;
}

State state_of(const torch::nn::Module& module) {
  State state;
  for (const auto& item : module.named_parameters()) state[item.key()] = item.value();
  for (const auto& item : module.named_buffers()) state[item.key()] = item.value();
  return state;
}

// Convolution `conv` and batch norm `bn` by their names.
Tensor conv_bn(const State& state, const std::string& conv, const std::string& bn, const Tensor& x,
               int64_t stride, double eps) {
  const Tensor& weight = state.at(conv + ".weight");
  const Tensor y = torch::conv2d(x, weight, {}, stride, weight.size(2) / 2);
  const auto of = [&](const char* name) { return state.at(bn + "." + name).view({1, -1, 1, 1}); };
  return (y - of("running_mean")) / (of("running_var") + eps).sqrt() * of("weight") + of("bias");
}

Features reference(const State& state, const ResNetOptions& options, const Tensor& images) {
  const double eps = options.norm_eps;
  Tensor x = torch::relu(conv_bn(state, "conv1", "bn1", images, 2, eps));
  x = torch::max_pool2d(x, 3, 2, 1);
  Features maps;
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < options.depths[i]; ++j) {
      const std::string block = "layer" + std::to_string(i + 1) + "." + std::to_string(j) + ".";
      const int64_t stride = i > 0 && j == 0 ? 2 : 1;
      Tensor y = torch::relu(conv_bn(state, block + "conv1", block + "bn1", x, 1, eps));
      y = torch::relu(conv_bn(state, block + "conv2", block + "bn2", y, stride, eps));
      y = conv_bn(state, block + "conv3", block + "bn3", y, 1, eps);
      const std::string shortcut = block + "downsample.";
      x = torch::relu(
          y + (j == 0 ? conv_bn(state, shortcut + "0", shortcut + "1", x, stride, eps) : x));
    }
    maps.push_back(x);
  }
  return maps;
}

TEST(ResNet, EqualsTheReference) {
  const torch::NoGradGuard no_grad;
  for (const bool frozen : {false, true}) {
    ResNetOptions options = narrow(frozen);
    options.norm_eps = 0.25;  // large enough to be seen
    ResNet network = random_resnet(options);
    const std::pair<int64_t, int64_t> sizes[] = {{64, 96}, {33, 47}, {32, 129}};
    for (const auto& [height, width] : sizes) {
      const Tensor images = torch::randn({2, 3, height, width});
      expect_close(network->forward(images), reference(state_of(*network), options, images));
      const Tensor transposed = images.transpose(2, 3).contiguous().transpose(2, 3);
      expect_close(network->forward(transposed), network->forward(images));
    }
  }
}

TEST(ResNet, SaysWhatItGives) {
  const torch::NoGradGuard no_grad;
  ResNet network = random_resnet(narrow());
  const Features maps = network->forward(torch::zeros({1, 3, 64, 96}));
  const std::vector<FeatureInfo> info = network->feature_info();
  ASSERT_EQ(maps.size(), info.size());
  for (size_t i = 0; i < info.size(); ++i) {
    EXPECT_EQ(info[i].channels, 16 << i);
    EXPECT_EQ(maps[i].sizes(),
              (torch::IntArrayRef{1, info[i].channels, 64 / info[i].stride, 96 / info[i].stride}));
  }
}

TEST(ResNet, ReturnsTheChosenStages) {
  const torch::NoGradGuard no_grad;
  const Tensor images = torch::randn({1, 3, 64, 64});
  ResNetOptions options = narrow();
  const Features all = random_resnet(options)->forward(images);
  options.out_indices = {2, 0};
  ResNet network = random_resnet(options);
  const Features some = network->forward(images);
  ASSERT_EQ(some.size(), 2);
  expect_identical(some[0], all[2]);
  expect_identical(some[1], all[0]);
  EXPECT_EQ(network->feature_info()[0].stride, 16);
  options.out_indices = {4};
  EXPECT_THROW(ResNet{options}, c10::Error);
}

TEST(ResNet, HasTheNamesOfTheAuthors) {
  const State state = state_of(*ResNet(narrow()));
  for (const char* name :
       {"conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var",
        "bn1.num_batches_tracked", "layer1.0.conv1.weight", "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.running_var", "layer1.1.bn3.bias", "layer4.1.conv3.weight"}) {
    EXPECT_EQ(state.count(name), 1) << name;
  }
  EXPECT_EQ(state.count("layer1.1.downsample.0.weight"), 0);
  EXPECT_EQ(state.size(), 6 * (1 + 6 * 3 + 4));
}

TEST(ResNet, StridesInTheThreeByThree) {
  const State state = state_of(*ResNet(narrow()));
  ResNet network = random_resnet(narrow());
  const auto block = network->layers[1]->ptr<BottleneckImpl>(0);
  EXPECT_EQ(block->conv1->options.stride()->at(0), 1);
  EXPECT_EQ(block->conv2->options.stride()->at(0), 2);
  EXPECT_EQ(state.at("layer2.0.conv2.weight").sizes(), (torch::IntArrayRef{8, 8, 3, 3}));
}

TEST(ResNet, FrozenNormIsNoParameterAndNeverChanges) {
  ResNet network = random_resnet(narrow(/*frozen=*/true));
  for (const std::string& name : testing::parameter_names(*network)) {
    EXPECT_EQ(name.find("bn"), std::string::npos) << name;
  }
  const Tensor images = torch::randn({2, 3, 64, 64});
  const Features before = network->forward(images);
  network->train();
  expect_close(network->forward(images), before, 0);

  ResNet trainable = random_resnet(narrow());
  const Tensor mean = trainable->bn1->running_mean.clone();
  trainable->train();
  trainable->forward(images);
  EXPECT_FALSE(torch::equal(trainable->bn1->running_mean, mean));
}

TEST(ResNet, GradientsReachTheStem) {
  for (const bool training : {false, true}) {
    ResNet network = random_resnet(narrow());
    network->train(training);
    network->forward(torch::randn({2, 3, 64, 64})).back().square().mean().backward();
    for (const auto& item : network->named_parameters()) {
      ASSERT_TRUE(item.value().grad().defined()) << item.key();
      EXPECT_GT(item.value().grad().abs().max().item<float>(), 0) << item.key();
    }
  }
}

TEST(ResNetVariants, AreARowEach) {
  EXPECT_EQ(resnet_variant_names(), (std::vector<std::string>{"resnet50", "resnet101"}));
  for (const std::string& name : resnet_variant_names()) {
    EXPECT_EQ(variant_name(resnet_variant(name)), name);
  }
  EXPECT_EQ(resnet_variant("resnet101").depths[2], 23);
  EXPECT_EQ(variant_name(narrow()), "");
  expect_contains(error_of([] { resnet_variant("resnet18"); }, ErrorCode::kUsage), "resnet101");
}

TEST(ResNetVariants, AreInTheRegistry) {
  const std::shared_ptr<Backbone> backbone = make_backbone("resnet50");
  // torchvision's resnet50 has 25,557,032 parameters, of which 2,049,000 are its classifier's.
  EXPECT_EQ(testing::parameter_count(*backbone), 25557032 - 2049000);
  EXPECT_EQ(backbone->feature_info().back().channels, 2048);
  const std::vector<std::string> names = backbone_names();
  EXPECT_NE(std::find(names.begin(), names.end(), "resnet101"), names.end());
}

}  // namespace
}  // namespace hornet
