// The fast path against the modules it is made from.
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <hornet/backbone/inference.h>
#include <hornet/backbone/ops/global_filter.h>
#include <hornet/backbone/plan/pack.h>
#include <torch/optim/sgd.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "tests/backbone/weights_that_matter.h"
#include "tests/modules.h"

namespace hornet {
namespace {

using testing::expect_close;
using testing::make_weights_matter;
using testing::narrow_hornet;
using testing::narrow_hornet_gf;
using testing::parameter_count;
using torch::Tensor;

// Takes a level of vector instructions while it lives.
class Level {
 public:
  explicit Level(const std::string& name) { setenv("HORNET_CPU_LEVEL", name.c_str(), 1); }
  ~Level() { unsetenv("HORNET_CPU_LEVEL"); }
};

// Autocast on the CPU while it lives.
class Autocast {
 public:
  explicit Autocast(torch::ScalarType type) {
    at::autocast::set_autocast_dtype(torch::kCPU, type);
    at::autocast::set_autocast_enabled(torch::kCPU, true);
  }
  ~Autocast() {
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(torch::kCPU, false);
  }
};

HorNet random_network(const HorNetOptions& options) {
  HorNet network(options);
  make_weights_matter(*network);
  network->eval();
  return network;
}

// Within `tolerance` of the largest value of each map.
void expect_same(const Features& actual, const Features& expected, double tolerance = 1e-5) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(actual[i].sizes(), expected[i].sizes());
    EXPECT_TRUE(actual[i].is_contiguous(torch::MemoryFormat::ChannelsLast));
    const double largest = expected[i].abs().max().item<double>();
    EXPECT_LE((actual[i] - expected[i]).abs().max().item<double>(), tolerance * largest)
        << "map " << i;
  }
}

Features fast(HorNet& network, const Tensor& images) {
  const torch::InferenceMode inference;
  return network->forward(images);
}

Features plain(HorNet& network, const Tensor& images) {
  const torch::NoGradGuard no_grad;
  return network->forward(images);
}

// Prepares, and compares; the plain way is the one without InferenceMode.
void compare(HorNet& network, const Tensor& images) {
  prepare_for_inference(*network);
  const Features expected = plain(network, images);
  EXPECT_EQ(prepared_bytes(*network), 0);
  expect_same(fast(network, images), expected);
  EXPECT_GT(prepared_bytes(*network), 2 * parameter_count(*network) + 4 * expected[0].numel());
  expect_same(fast(network, images), expected);  // in a workspace that is used again
}

class InferenceLevel : public ::testing::TestWithParam<CpuLevel> {};

std::string name_of_level(const ::testing::TestParamInfo<CpuLevel>& info) {
  return cpu_level_name(info.param);
}

INSTANTIATE_TEST_SUITE_P(Levels, InferenceLevel, ::testing::ValuesIn(available_cpu_levels()),
                         name_of_level);

TEST_P(InferenceLevel, GivesWhatTheModulesGive) {
  torch::manual_seed(1);
  const Level level(cpu_level_name(GetParam()));
  for (HorNetOptions options : {narrow_hornet(), narrow_hornet_gf()}) {
    options.stages[2].depth = 3;
    for (int64_t base : {8, 24}) {  // 24: rows that are not whole vectors
      options.base_dim = base;
      HorNet network = random_network(options);
      compare(network, torch::randn({1, 3, 128, 128}));
      compare(network, torch::randn({2, 3, 101, 77}));
      compare(network, torch::randn({3, 3, 33, 150}));
      compare(network, torch::randn({1, 3, 32, 32}));
    }
  }
}

// In bf16, by autocast: a rounding of 2^-9 or less of what every product takes, and of nothing
// else.
TEST_P(InferenceLevel, MultipliesInBf16) {
  torch::manual_seed(11);
  const Level level(cpu_level_name(GetParam()));
  for (HorNetOptions options : {narrow_hornet(), narrow_hornet_gf()}) {
    for (int64_t base : {8, 24}) {
      options.base_dim = base;
      HorNet network = random_network(options);
      prepare_for_inference(*network);
      const Tensor images = torch::randn({2, 3, 101, 77});
      const Features expected = fast(network, images);
      const int64_t held = prepared_bytes(*network);
      const Autocast autocast(torch::kBFloat16);
      const Features actual = fast(network, images);
      EXPECT_GT(prepared_bytes(*network), held) << "not prepared for bf16";
      for (size_t i = 0; i < actual.size(); ++i) {
        EXPECT_EQ(actual[i].scalar_type(), torch::kFloat32);
        const double error = ((actual[i] - expected[i]).norm() / expected[i].norm()).item<double>();
        EXPECT_GT(error, 1e-4) << "map " << i;
        EXPECT_LT(error, 1e-2) << "map " << i;
      }
    }
  }
}

GnConv prepared_gnconv(const GnConvOptions& options) {
  GnConv conv(options);
  testing::randomise(*conv);
  conv->eval();
  prepare_for_inference(*conv);
  return conv;
}

// By themselves, as those of a HorFPN are; widths that are and are not whole vectors.
TEST_P(InferenceLevel, GivesWhatSingleGnConvsGive) {
  torch::manual_seed(12);
  const Level level(cpu_level_name(GetParam()));
  for (const int64_t order : {1, 2, 3}) {
    for (const int64_t in : {0, 6, 70}) {
      GnConvOptions options = GnConvOptions(24).in_channels(in).order(order).scale(0.5);
      for (const bool filter : {false, true}) {
        if (filter) options.global_filter(FilterSize{6, 4});
        GnConv conv = prepared_gnconv(options);
        for (const auto& size : std::vector<std::vector<int64_t>>{{2, 13, 21}, {1, 1, 5}}) {
          const Tensor x = torch::randn({size[0], in == 0 ? 24 : in, size[1], size[2]});
          Features expected;
          {
            const torch::NoGradGuard no_grad;
            expected = {conv->forward(x)};
          }
          EXPECT_EQ(prepared_bytes(*conv) > 0, size[1] == 1);
          const torch::InferenceMode inference;
          expect_same({conv->forward(x)}, expected);
          EXPECT_GT(prepared_bytes(*conv), 3 * parameter_count(*conv))
              << "of 4 bytes each, some are folded";
          const Tensor transposed = x.transpose(2, 3).contiguous().transpose(2, 3);
          expect_same({conv->forward(transposed)}, expected);
          const Autocast autocast(torch::kBFloat16);
          const Tensor rounded = conv->forward(x);
          EXPECT_EQ(rounded.scalar_type(), torch::kFloat32);
          const Tensor error = (rounded - expected[0]).norm() / expected[0].norm();
          EXPECT_GT(error.item<double>(), 1e-4);
          EXPECT_LT(error.item<double>(), 1e-2);
        }
      }
    }
  }
}

TEST(Inference, NoticesASingleGnConvsChanges) {
  torch::manual_seed(13);
  GnConv conv = prepared_gnconv(GnConvOptions(16).order(3));
  const Tensor x = torch::randn({1, 16, 9, 7}), empty = torch::randn({0, 16, 9, 7});
  const auto prepared = [&] {
    const torch::InferenceMode inference;
    return conv->forward(x);
  };
  const torch::NoGradGuard no_grad;
  const Tensor before = prepared();
  for (auto& item : conv->named_parameters()) {
    item.value().mul_(1.5);
    expect_same({prepared()}, {conv->forward(x)});
  }
  EXPECT_GT((prepared() - before).abs().max().item<double>(), 1e-2);
  const torch::InferenceMode inference;
  EXPECT_EQ(conv->forward(empty).sizes(), empty.sizes());
  EXPECT_THROW(conv->forward(torch::randn({1, 8, 9, 7})), c10::Error);
}

TEST_P(InferenceLevel, TransformsAnySizeOfMap) {
  torch::manual_seed(2);
  const plan::Kernels& kernels = plan::kernels(GetParam());
  const int64_t channels = 2 * kernels.lanes + 3;
  for (const auto& [height, width] : std::vector<std::pair<int64_t, int64_t>>{{1, 1},
                                                                              {1, 2},
                                                                              {2, 1},
                                                                              {3, 5},
                                                                              {4, 4},
                                                                              {7, 8},
                                                                              {11, 6},
                                                                              {13, 21},
                                                                              {9, 25},
                                                                              {23, 16},
                                                                              {50, 76},
                                                                              {29, 49},
                                                                              {1, 37},
                                                                              {64, 30}}) {
    const Tensor weight = torch::randn({channels, 5, 4, 2});
    const Tensor map = torch::randn({1, channels, height, width});
    const Tensor expected = ops::global_filter(map, weight);

    const plan::Filter filter = plan::make_filter(kernels, weight, {height, width});
    const int64_t floats = channels * height * width;
    plan::AlignedBuffer in(floats), out(floats), scratch(filter_scratch(kernels, filter));
    const Tensor rows = map.permute({0, 2, 3, 1}).contiguous();
    std::copy_n(rows.const_data_ptr<float>(), floats, in.data());
    for (int64_t block = 0; block < 3; ++block) {
      kernels.global_filter(filter, block, {in.data(), channels}, {out.data(), channels},
                            scratch.data());
    }
    const Tensor actual =
        torch::from_blob(out.data(), {1, height, width, channels}).permute({0, 3, 1, 2});
    const double largest = expected.abs().max().item<double>();
    EXPECT_LE((actual - expected).abs().max().item<double>(), 1e-6 * largest)
        << height << "x" << width;
  }
}

TEST(Inference, HasTheErrorOfFloat32OnThePublishedNetworks) {
  torch::manual_seed(3);
  for (const std::string& name : hornet_variant_names()) {
    if (name.find("img384") != std::string::npos) continue;  // only its filters are larger
    SCOPED_TRACE(name);
    HorNet network = random_network(hornet_variant(name));
    const Tensor images = torch::randn({2, 3, 50, 65});
    prepare_for_inference(*network);
    expect_same(fast(network, images), plain(network, images), 2e-5);
  }
}

TEST(Inference, TakesImagesOfAnyStrides) {
  torch::manual_seed(4);
  HorNet network = random_network(narrow_hornet_gf());
  prepare_for_inference(*network);
  const Tensor images = torch::randn({2, 3, 70, 90});
  const Features expected = plain(network, images);
  expect_same(fast(network, images.contiguous(torch::MemoryFormat::ChannelsLast)), expected);
  const Tensor wide = torch::zeros({2, 4, 80, 200});
  const Tensor view = wide.narrow(1, 1, 3).narrow(2, 5, 70).slice(3, 10, 190, 2);
  view.copy_(images);
  expect_same(fast(network, view), expected);
}

TEST(Inference, ReturnsTheChosenStagesAndNetworksWithoutLayerScale) {
  torch::manual_seed(5);
  HorNetOptions options = narrow_hornet();
  options.out_indices = {2, 0};
  options.layer_scale_init = 0;
  options.in_channels = 5;
  HorNet network = random_network(options);
  compare(network, torch::randn({1, 5, 64, 96}));
}

TEST(Inference, NoticesWeightsThatChange) {
  torch::manual_seed(6);
  HorNet network = random_network(narrow_hornet_gf());
  prepare_for_inference(*network);
  const Tensor images = torch::randn({1, 3, 64, 64});
  for (auto& item : network->named_parameters()) {
    if (item.key().find("stages.3") == 0 || item.key().find("stages.1") == 0) continue;
    const Features before = fast(network, images);
    {
      const torch::NoGradGuard no_grad;
      item.value().add_(torch::randn_like(item.value()) * 0.3);
    }
    const Features after = plain(network, images);
    expect_same(fast(network, images), after);
    double change = 0;
    for (size_t i = 0; i < after.size(); ++i) {
      change = std::max(change, (after[i] - before[i]).abs().max().item<double>());
    }
    EXPECT_GT(change, 1e-4) << item.key();
  }
  const auto weight = network->named_parameters()["stages.0.0.pwconv1.weight"];
  weight.set_data(torch::randn_like(weight));  // another memory under the same name
  expect_same(fast(network, images), plain(network, images));
}

// torch::optim::SGD writes through data(), which version counters do not see.
TEST(Inference, NoticesStepsOfAnOptimizer) {
  torch::manual_seed(14);
  HorNet network = random_network(narrow_hornet_gf());
  GnConv conv = prepared_gnconv(GnConvOptions(16).order(3));
  prepare_for_inference(*network);
  const Tensor images = torch::randn({1, 3, 64, 64}), map = torch::randn({1, 16, 9, 7});
  const auto prepared = [&] {
    const torch::InferenceMode inference;
    Features all = network->forward(images);
    all.push_back(conv->forward(map));
    return all;
  };
  const Features before = prepared();
  std::vector<Tensor> weights = network->parameters();
  for (const Tensor& weight : conv->parameters()) weights.push_back(weight);
  torch::optim::SGD optimizer(weights, torch::optim::SGDOptions(0.1));
  (network->forward(images).back().square().mean() + conv->forward(map).square().mean()).backward();
  optimizer.step();
  const torch::NoGradGuard no_grad;
  Features expected = network->forward(images);
  expected.push_back(conv->forward(map));
  const Features after = prepared();
  expect_same(after, expected);
  for (size_t i = 3; i < after.size(); ++i) {
    EXPECT_GT((after[i] - before[i]).abs().max().item<double>(), 1e-3) << i;
  }
}

TEST(Inference, WarnsOfWeightsThatCannotBeWatched) {
  const torch::InferenceMode inference;
  HorNet network(narrow_hornet());
  ::testing::internal::CaptureStderr();
  prepare_for_inference(*network);
  testing::expect_contains(::testing::internal::GetCapturedStderr(), "torch::InferenceMode");
}

TEST(Inference, LeavesOtherWaysOfRunningAlone) {
  torch::manual_seed(7);
  HorNet network = random_network(narrow_hornet());
  const Tensor images = torch::randn({1, 3, 64, 64});
  prepare_for_inference(*network);
  Tensor input = images.clone().requires_grad_();
  network->forward(input).back().sum().backward();
  EXPECT_GT(input.grad().abs().sum().item<double>(), 0);

  network->to(torch::kFloat64);
  const torch::InferenceMode inference;
  EXPECT_EQ(network->forward(images.to(torch::kFloat64)).back().scalar_type(), torch::kFloat64);
  network->to(torch::kFloat32);
  EXPECT_EQ(network->forward(images).back().scalar_type(), torch::kFloat32);
  EXPECT_THROW(network->forward(torch::randn({1, 3, 31, 64})), c10::Error);
  EXPECT_THROW(network->forward(torch::randn({1, 4, 64, 64})), c10::Error);
}

TEST(Inference, DoesNotDependOnThreads) {
  torch::manual_seed(8);
  HorNet network = random_network(narrow_hornet_gf());
  prepare_for_inference(*network);
  const Tensor images = torch::randn({2, 3, 90, 110});
  const Features expected = plain(network, images);
  const int threads = torch::get_num_threads();
  for (int count : {1, 3, 7}) {
    torch::set_num_threads(count);
    expect_same(fast(network, images), expected);
  }
  torch::set_num_threads(threads);
}

// Bytes of memory that the process has in use; 0 where the system does not say.
int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST(Inference, KeepsOneWorkspaceForAllSizes) {
  if (resident_bytes() == 0) GTEST_SKIP() << "this system does not say what is in use";
  torch::manual_seed(10);
  HorNet network = random_network(narrow_hornet_gf());
  prepare_for_inference(*network);
  const auto side = [](int64_t from, int64_t to) {
    return torch::randint(from, to, {1}).item<int64_t>();
  };
  fast(network, torch::zeros({2, 3, 300, 300}));
  const int64_t held = prepared_bytes(*network);
  int64_t before = 0;
  for (int i = 0; i < 200; ++i) {
    if (i == 50) before = resident_bytes();
    fast(network, torch::zeros({side(1, 3), 3, side(32, 300), side(32, 300)}));
  }
  EXPECT_LT(resident_bytes() - before, 8 << 20);
  // Filters of four sizes, none larger than the first.
  EXPECT_LT(prepared_bytes(*network), 2 * held);
}

TEST(Inference, ServesClassifiers) {
  torch::manual_seed(9);
  HorNetClassifier network(narrow_hornet_gf(), 10);
  make_weights_matter(*network);
  network->eval();
  prepare_for_inference(*network);
  const Tensor images = torch::randn({2, 3, 64, 80});
  const torch::NoGradGuard no_grad;
  const ClassifierOutputs expected = network->forward_stages(images);
  const torch::InferenceMode inference;
  const ClassifierOutputs actual = network->forward_stages(images);
  expect_same(actual.stages, expected.stages);
  expect_close(actual.logits, expected.logits, 1e-4);
  EXPECT_FALSE(torch::equal(actual.stages.back(), expected.stages.back()));
}

TEST(Inference, NamesTheLevelsThatThereAre) {
  const Level level("mmx");
  const std::string error = testing::error_of([] { cpu_level(); }, ErrorCode::kUsage);
  testing::expect_contains(error, "HORNET_CPU_LEVEL=mmx");
  testing::expect_contains(error, "portable");
}

}  // namespace
}  // namespace hornet
