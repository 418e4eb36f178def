// What the tests of modules share: comparisons, weights that matter, and a network small enough
// to run in every test.
#pragma once

#include <gtest/gtest.h>
#include <hornet/backbone/hornet.h>
#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/weights/helpers.h"

namespace hornet::testing {

using weights::error_of;
using weights::expect_contains;

// Same shape, same type, and nowhere further apart than tolerance * (1 + |expected|).
inline void expect_close(const torch::Tensor& actual, const torch::Tensor& expected,
                         double tolerance = 1e-5) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  ASSERT_EQ(actual.scalar_type(), expected.scalar_type());
  if (actual.numel() == 0) return;
  const torch::Tensor difference = (actual - expected).abs() / (1 + expected.abs());
  EXPECT_LE(difference.max().item<double>(), tolerance);
}

inline void expect_close(const Features& actual, const Features& expected,
                         double tolerance = 1e-5) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) expect_close(actual[i], expected[i], tolerance);
}

inline void expect_identical(const torch::Tensor& actual, const torch::Tensor& expected) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  EXPECT_TRUE(torch::equal(actual, expected));
}

inline std::vector<std::string> parameter_names(const torch::nn::Module& module) {
  return module.named_parameters().keys();
}

inline int64_t parameter_count(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const torch::Tensor& parameter : module.parameters()) count += parameter.numel();
  return count;
}

// Fresh networks are close to the identity, which hides mistakes. This makes every parameter and
// every buffer count.
inline void randomise(torch::nn::Module& module) {
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : module.parameters()) {
    if (parameter.dim() < 2) {
      parameter.uniform_(0.5, 1.5);
    } else {
      const auto fan_in = static_cast<double>(parameter.numel() / parameter.size(0));
      parameter.normal_(0.0, 1.0 / std::sqrt(fan_in));
    }
  }
  for (torch::Tensor& buffer : module.buffers()) {
    if (buffer.is_floating_point()) buffer.uniform_(0.5, 1.5);
  }
}

// The shape of the published networks, with 8, 16, 32 and 64 channels and one block a stage.
inline HorNetOptions narrow_hornet() {
  HorNetOptions options;
  options.base_dim = 8;
  for (StageOptions& stage : options.stages) stage.depth = 1;
  return options;
}

// The same with global filters in the last two stages, for images of 128x128.
inline HorNetOptions narrow_hornet_gf() {
  HorNetOptions options = narrow_hornet();
  options.stages[2].global_filter = FilterSize{8, 5};
  options.stages[3].global_filter = FilterSize{4, 3};
  return options;
}

// A narrow backbone with weights that matter, in evaluation mode.
inline HorNet random_hornet(const HorNetOptions& options) {
  HorNet network(options);
  randomise(*network);
  network->eval();
  return network;
}

}  // namespace hornet::testing
