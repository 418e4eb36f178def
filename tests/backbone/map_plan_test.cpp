// What a GPU runs as a whole network, on the CPU, where its ops have composites; and, where there
// is a GPU, on it.
#include <ATen/Context.h>
#include <hornet/backbone/plan/map_plan.h>
#include <torch/cuda.h>

#include "tests/backbone/weights_that_matter.h"
#include "tests/modules.h"

namespace hornet {
namespace {

using plan::MapPlan;
using plan::PlanOutput;
using testing::make_weights_matter;
using testing::narrow_hornet;
using testing::narrow_hornet_gf;
using torch::Tensor;

// Within `tolerance` of the largest value of each map.
void expect_same(const Features& actual, const Features& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(actual[i].sizes(), expected[i].sizes());
    ASSERT_EQ(actual[i].scalar_type(), torch::kFloat);
    EXPECT_TRUE(actual[i].is_contiguous(torch::MemoryFormat::ChannelsLast));
    const double largest = expected[i].abs().max().item<double>();
    EXPECT_LE((actual[i] - expected[i]).abs().max().item<double>(), tolerance * largest)
        << "map " << i;
  }
}

// A trunk, norms for two of its maps, and a plan of both.
struct Network {
  explicit Network(const HorNetOptions& options, torch::ScalarType type = torch::kFloat)
      : trunk(owner, options) {
    for (const int64_t stage : {3, 1}) {
      outputs.push_back({stage, ChannelLayerNorm(stage_channels(options, stage))});
      owner.register_module("norm" + std::to_string(stage), outputs.back().norm);
    }
    outputs.push_back({1, {nullptr}});
    make_weights_matter(owner);
    owner.eval();
    plan = std::make_unique<MapPlan>(trunk, outputs, type, watch);
  }

  Features plain(const Tensor& images) const {
    const torch::NoGradGuard no_grad;
    const Features stages = trunk.forward(images);
    Features maps;
    for (PlanOutput output : outputs) {
      const Tensor& map = stages[static_cast<size_t>(output.stage)];
      maps.push_back(output.norm.is_empty() ? map : output.norm->forward(map));
    }
    return maps;
  }

  Features fast(const Tensor& images) const {
    const torch::InferenceMode inference;
    return plan->forward(images);
  }

  torch::nn::Module owner;
  HorNetTrunk trunk;
  std::vector<PlanOutput> outputs;
  plan::WeightWatch watch;
  std::unique_ptr<MapPlan> plan;
};

TEST(MapPlan, GivesWhatTheModulesGive) {
  torch::manual_seed(1);
  for (HorNetOptions options : {narrow_hornet(), narrow_hornet_gf()}) {
    options.stages[2].depth = 3;
    const Network network(options);
    EXPECT_TRUE(plan::HorNetPlan::fits(network.trunk));
    for (const auto& size : std::vector<std::vector<int64_t>>{
             {1, 3, 128, 128}, {2, 3, 101, 77}, {3, 3, 33, 150}, {1, 3, 32, 32}}) {
      const Tensor images = torch::randn(size);
      expect_same(network.fast(images), network.plain(images), 1e-5);
    }
  }
}

TEST(MapPlan, DoesWithoutLayerScaleAndTakesAnyStrides) {
  torch::manual_seed(2);
  HorNetOptions options = narrow_hornet_gf();
  options.layer_scale_init = 0;
  options.in_channels = 5;
  const Network network(options);
  const Tensor images = torch::randn({2, 64, 96, 5}).permute({0, 3, 1, 2});
  expect_same(network.fast(images), network.plain(images), 1e-5);
  EXPECT_EQ(network.plan->in_channels(), 5);
}

TEST(MapPlan, StaysCloseInReducedPrecision) {
  for (const auto& [type, tolerance] : std::vector<std::pair<torch::ScalarType, double>>{
           {torch::kBFloat16, 6e-2}, {torch::kHalf, 8e-3}}) {
    torch::manual_seed(3);
    const Network network(narrow_hornet_gf(), type);
    const Tensor images = torch::randn({1, 3, 96, 70});
    expect_same(network.fast(images), network.plain(images), tolerance);
  }
}

TEST(MapPlan, RecordsAllWeights) {
  torch::manual_seed(4);
  for (const auto& options : {narrow_hornet(), narrow_hornet_gf()}) {
    Network network(options);
    for (auto& item : network.owner.named_parameters()) {
      network.watch = {};
      network.plan =
          std::make_unique<MapPlan>(network.trunk, network.outputs, torch::kFloat, network.watch);
      EXPECT_FALSE(network.watch.changed());
      const torch::NoGradGuard no_grad;
      item.value().add_(1);
      EXPECT_TRUE(network.watch.changed()) << item.key();
    }
  }
}

// Captures by keeping the work: what a graph does, without the speed.
class KeptWork : public plan::Replay {
 public:
  explicit KeptWork(std::function<void()> work) : work_(std::move(work)) { ++alive; }
  ~KeptWork() override { --alive; }
  void run() override {
    ++runs;
    work_();
  }
  static inline int alive = 0, runs = 0;

 private:
  std::function<void()> work_;
};

class Replayed : public ::testing::Test {
 protected:
  void SetUp() override {
    plan::register_capture(torch::kCPU, [](const c10::Device&, const std::function<void()>& work) {
      work();
      return std::make_unique<KeptWork>(work);
    });
    KeptWork::runs = 0;
  }
  void TearDown() override { plan::register_capture(torch::kCPU, {}); }
};

TEST_F(Replayed, SizesAreCapturedWhenTheyComeAgain) {
  torch::manual_seed(5);
  const Network network(narrow_hornet_gf());
  for (const int count : {1, 2, 3}) {
    const Tensor images = torch::randn({1, 3, 64, 70});
    expect_same(network.fast(images), network.plain(images), 1e-5);
    EXPECT_EQ(network.plan->captured_sizes(), count == 1 ? 0u : 1u);
    EXPECT_EQ(KeptWork::runs, count - 1);
  }
  network.fast(torch::randn({2, 3, 64, 70}));
  network.fast(torch::randn({2, 3, 64, 70}));
  EXPECT_EQ(network.plan->captured_sizes(), 1u) << "batches are not captured";
}

TEST_F(Replayed, OutputsAreTheCallersOwn) {
  torch::manual_seed(6);
  const Network network(narrow_hornet());
  const Tensor first = torch::randn({1, 3, 64, 64}), second = torch::randn({1, 3, 64, 64});
  network.fast(first);
  const Features kept = network.fast(first);
  network.fast(second);
  expect_same(kept, network.plain(first), 1e-5);
}

TEST_F(Replayed, TheLastFewSizesStay) {
  torch::manual_seed(7);
  {
    const Network network(narrow_hornet_gf());
    for (int64_t side = 32; side < 32 + 16 * 8; side += 8) {
      for (int i = 0; i < 3; ++i) {
        const Tensor images = torch::randn({1, 3, side, 64});
        expect_same(network.fast(images), network.plain(images), 1e-5);
      }
    }
    EXPECT_EQ(network.plan->captured_sizes(), plan::Replays::kSizes);
    EXPECT_EQ(KeptWork::alive, static_cast<int>(plan::Replays::kSizes));
  }
  EXPECT_EQ(KeptWork::alive, 0);
}

TEST_F(Replayed, PrecisionsOfProductsAreApart) {
  torch::manual_seed(8);
  const Network network(narrow_hornet());
  const Tensor images = torch::randn({1, 3, 64, 64});
  for (int i = 0; i < 2; ++i) network.fast(images);
  at::globalContext().setAllowTF32CuBLAS(true);
  for (int i = 0; i < 2; ++i) network.fast(images);
  at::globalContext().setAllowTF32CuBLAS(false);
  EXPECT_EQ(network.plan->captured_sizes(), 2u);
}

TEST_F(Replayed, WhatCannotBeCapturedRunsAsItIs) {
  plan::register_capture(torch::kCPU, [](const c10::Device&, const std::function<void()>&) {
    TORCH_CHECK(false, "no");
    return std::unique_ptr<plan::Replay>();
  });
  torch::manual_seed(9);
  const Network network(narrow_hornet());
  for (int i = 0; i < 3; ++i) {
    const Tensor images = torch::randn({1, 3, 64, 64});
    expect_same(network.fast(images), network.plain(images), 1e-5);
  }
  EXPECT_EQ(network.plan->captured_sizes(), 0u);
}

TEST(MapPlanCuda, EqualsTheModulesOnTheCpu) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU";
  torch::manual_seed(10);
  at::globalContext().setAllowTF32CuDNN(false);
  for (const char* name : {"hornet_tiny_7x7", "hornet_tiny_gf"}) {
    HorNet network(hornet_variant(name));
    make_weights_matter(*network);
    network->eval();
    for (const auto& size : std::vector<std::vector<int64_t>>{{1, 3, 160, 224}, {2, 3, 101, 77}}) {
      const Tensor images = torch::randn(size);
      network->to(torch::kCPU);
      Features expected;
      {
        const torch::NoGradGuard no_grad;
        expected = network->forward(images);
      }
      network->to(torch::kCUDA);
      prepare_for_inference(*network);
      const torch::InferenceMode inference;
      for (int i = 0; i < 4; ++i) {
        Features maps = network->forward(images.cuda());
        for (Tensor& map : maps) map = map.cpu();
        expect_same(maps, expected, 5e-5);
      }
      EXPECT_GT(prepared_bytes(*network), 4 * testing::parameter_count(*network) / 2);
    }
  }
}

}  // namespace
}  // namespace hornet
