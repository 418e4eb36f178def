// Parameter groups, averaged weights, initialisation.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/heads/model.h>
#include <hornet/training/initialise.h>
#include <hornet/training/optimizer.h>

#include <set>

#include "tests/modules.h"

namespace hornet {
namespace {

constexpr int64_t kPublishedBlocks = 18;

TEST(RateDecay, LayerWiseIsTheAuthors) {
  const RateDecay decay{RateDecay::kLayerWise, 0.7};
  // Layers 0 to 13 of their table; the head is layer 13.
  const std::map<std::string, int> layers = {
      {"backbone.downsample_layers.0.0.weight", 0},
      {"backbone.stages.0.1.gamma1", 1},
      {"backbone.downsample_layers.1.1.weight", 2},
      {"backbone.stages.1.2.pwconv1.bias", 2},
      {"backbone.downsample_layers.2.0.bias", 3},
      {"backbone.stages.2.0.gnconv.proj_in.weight", 3},
      {"backbone.stages.2.1.gnconv.proj_in.weight", 3},
      {"backbone.stages.2.2.gnconv.proj_in.weight", 4},
      {"backbone.stages.2.17.norm1.weight", 11},
      {"backbone.downsample_layers.3.1.weight", 12},
      {"backbone.stages.3.1.gnconv.dwconv.complex_weight", 12},
      {"backbone.norm3.weight", 13},
      {"neck.lateral_convs.0.conv.weight", 13},
      {"stages.2.17.norm1.weight", 11},  // a classifier
      {"head.weight", 13}};
  for (const auto& [name, layer] : layers) {
    EXPECT_DOUBLE_EQ(rate_factor(name, decay, kPublishedBlocks), std::pow(0.7, 13 - layer)) << name;
  }
}

TEST(RateDecay, StageWiseIsTheAuthors) {
  const RateDecay decay{RateDecay::kStageWise, 0.9};
  const std::map<std::string, int> levels = {{"backbone.downsample_layers.3.1.weight", 0},
                                             {"backbone.stages.0.0.gamma1", 1},
                                             {"backbone.stages.3.1.gamma1", 4},
                                             {"backbone.norm0.weight", 7},
                                             {"decode_head.conv_seg.weight", 7}};
  for (const auto& [name, level] : levels) {
    EXPECT_DOUBLE_EQ(rate_factor(name, decay, kPublishedBlocks), std::pow(0.9, 7 - level)) << name;
  }
}

TEST(RateDecay, OfShallowBackbonesHasFewerLayers) {
  const RateDecay decay{RateDecay::kLayerWise, 0.5};
  // Blocks 0-1, 2-3 and 4 of the third stage are layers 3, 4 and 5; the head is 7.
  EXPECT_DOUBLE_EQ(rate_factor("stages.2.4.gamma1", decay, 5), std::pow(0.5, 2));
  EXPECT_DOUBLE_EQ(rate_factor("stages.3.0.gamma1", decay, 5), std::pow(0.5, 1));
  EXPECT_DOUBLE_EQ(rate_factor("downsample_layers.0.0.weight", decay, 5), std::pow(0.5, 7));
}

TEST(RateDecay, IsParsed) {
  EXPECT_EQ(parse_rate_decay("none").kind, RateDecay::kNone);
  EXPECT_EQ(parse_rate_decay("layer:0.7").kind, RateDecay::kLayerWise);
  EXPECT_DOUBLE_EQ(parse_rate_decay("stage:0.9").rate, 0.9);
  for (const char* wrong :
       {"", "layer", "layer:", "layer:0", "stage:1.5", "depth:0.5", "layer:x"}) {
    EXPECT_THROW(parse_rate_decay(wrong), Error) << wrong;
  }
}

TEST(ParameterGroups, HoldEveryParameterOnce) {
  const HorNet model(testing::narrow_hornet_gf());
  const auto groups = parameter_groups(*model, {RateDecay::kLayerWise, 0.7});
  std::set<std::string> names;
  for (const ParameterGroup& group : groups) {
    ASSERT_EQ(group.names.size(), group.parameters.size());
    for (size_t i = 0; i < group.names.size(); ++i) {
      EXPECT_TRUE(names.insert(group.names[i]).second);
      EXPECT_EQ(group.weight_decay, group.parameters[i].dim() > 1) << group.names[i];
      EXPECT_DOUBLE_EQ(group.rate_factor,
                       rate_factor(group.names[i], {RateDecay::kLayerWise, 0.7}, 1));
    }
  }
  EXPECT_EQ(names.size(), model->parameters().size());
}

TEST(AdamW, TakesTheStepOfItsDefinition) {
  torch::nn::Linear model(2, 1);
  {
    const torch::NoGradGuard no_grad;
    model->weight.copy_(torch::tensor({{1.0f, -2.0f}}));
    model->bias.fill_(1);
  }
  const auto groups = parameter_groups(*model, {});
  torch::optim::AdamW optimizer = make_adamw(groups, {/*weight_decay=*/0.5});
  set_learning_rate(optimizer, groups, 0.1);
  (model->weight.sum() * 3 + model->bias.sum()).backward();
  optimizer.step();
  // The first step is the rate in the gradient's direction, after decay by rate * 0.5.
  testing::expect_close(model->weight.detach(), torch::tensor({{0.95f - 0.1f, -1.9f - 0.1f}}));
  testing::expect_close(model->bias.detach(), torch::tensor({0.9f}));
}

TEST(Ema, AveragesParametersAndStatistics) {
  torch::nn::BatchNorm1d model(1);
  Ema ema(*model, 0.75);
  const auto set = [&](float value) {
    const torch::NoGradGuard no_grad;
    model->weight.fill_(value);
    model->running_mean.fill_(2 * value);
    model->num_batches_tracked.fill_(static_cast<int64_t>(value));
  };
  set(11);                // weights began as 1, means as 0
  ema.update(*model, 0);  // decay 1/10
  EXPECT_FLOAT_EQ(ema.averages().at("weight").item<float>(), 0.1f + 0.9f * 11);
  EXPECT_FLOAT_EQ(ema.averages().at("running_mean").item<float>(), 0.9f * 22);
  ema.update(*model, 1000);  // decay 0.75
  const float average = 0.75f * 10 + 0.25f * 11;
  EXPECT_FLOAT_EQ(ema.averages().at("weight").item<float>(), average);
  EXPECT_EQ(ema.averages().at("num_batches_tracked").item<int64_t>(), 11);
  ema.swap(*model);
  EXPECT_FLOAT_EQ(model->weight.item<float>(), average);
  EXPECT_FLOAT_EQ(ema.averages().at("weight").item<float>(), 11);
  ema.swap(*model);
  EXPECT_FLOAT_EQ(model->weight.item<float>(), 11);
}

// The standard deviation of gnConv's branch over that of its input, block by block.
std::vector<double> branch_strengths(HorNet& model) {
  std::vector<double> strengths;
  for (const auto& stage : *model->named_modules()["stages"]->as<torch::nn::ModuleList>()) {
    for (const auto& child : stage->children()) {
      auto* block = child->as<HorNetBlock>();
      const int64_t channels = block->norm1->weight.size(0);
      const torch::Tensor x = torch::randn({2, channels, 12, 12});
      const torch::Tensor branch =
          block->gamma1.view({1, -1, 1, 1}) * block->gnconv->forward(block->norm1->forward(x));
      strengths.push_back((branch.std() / x.std()).item<double>());
    }
  }
  return strengths;
}

TEST(Initialise, FanInKeepsGnConvAlive) {
  torch::manual_seed(1);
  for (const HorNetOptions& options :
       {hornet_variant("hornet_pico_7x7"), hornet_variant("hornet_pico_gf")}) {
    HorNet model(options);
    const torch::NoGradGuard no_grad;
    initialise(*model, Initialisation::kFanIn);
    for (const double strength : branch_strengths(model)) {
      EXPECT_GT(strength, 0.03);
      EXPECT_LT(strength, 3);
    }
    initialise(*model, Initialisation::kOfficial);
    for (const double strength : branch_strengths(model)) EXPECT_LT(strength, 1e-8);
  }
}

TEST(Initialise, FollowsFromTheGenerator) {
  UperNet model = std::get<UperNet>(build_model(official_architecture("upernet_hornet_pico_gf")));
  const auto drawn = [&] {
    torch::manual_seed(7);
    initialise(*model, Initialisation::kFanIn);
    std::vector<torch::Tensor> copy;
    for (const torch::Tensor& parameter : model->parameters()) copy.push_back(parameter.clone());
    return copy;
  };
  const auto first = drawn(), second = drawn();
  for (size_t i = 0; i < first.size(); ++i) testing::expect_identical(first[i], second[i]);
  EXPECT_NEAR(model->decode_head->conv_seg->weight.std().item<double>(), 0.01, 1e-3);
}

TEST(SmallVariants, AreSmall) {
  for (const std::string& name : hornet_small_variant_names()) {
    const double limit = name.find("pico") != std::string::npos ? 3e6 : 8e6;
    for (const FilterUse use :
         {FilterUse::kClassification, FilterUse::kDetection, FilterUse::kSegmentation}) {
      const HorNetOptions options = hornet_variant(name, use);
      EXPECT_LE(testing::parameter_count(*HorNet(options)), limit) << name;
      EXPECT_EQ(variant_name(options, use), name);
    }
    EXPECT_EQ(architecture_name(official_architecture("upernet_" + name)), "upernet_" + name);
    EXPECT_NE(make_backbone(name), nullptr);
  }
  EXPECT_EQ(official_architecture("upernet_hornet_pico_gf").segmentor->decode.channels(), 64);
  EXPECT_EQ(official_architecture("upernet_hornet_tiny_gf").segmentor->decode.channels(), 512);
}

}  // namespace
}  // namespace hornet
