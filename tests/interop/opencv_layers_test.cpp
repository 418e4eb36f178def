// OpenCV's layers of ours against LibTorch, op by op, on sizes that no model has.
#include <hornet/backbone/layer_norm.h>
#include <hornet/backbone/ops/global_filter.h>
#include <hornet/interop/opencv_net.h>

#include "tests/interop/fixture_outputs.h"

namespace hornet::testing {
namespace {

using cv::dnn::LayerParams;

// A layer on its own in a Net.
torch::Tensor run_layer(const std::string& type, LayerParams params, const torch::Tensor& input) {
  opencv::register_layers();
  opencv::register_layers();
  cv::dnn::Net net;
  net.addLayerToPrev("layer", type, params);
  net.setInput(to_mat(input));
  return to_tensor(net.forward());
}

void expect_near(const torch::Tensor& actual, const torch::Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  EXPECT_LE((actual - expected).abs().max().item<double>(), tolerance);
}

const std::vector<std::pair<int64_t, int64_t>> kSizes = {
    {7, 5}, {13, 21}, {1, 9}, {16, 1}, {24, 40}};

TEST(OpencvLayers, LayerNormIsLibTorchs) {
  torch::manual_seed(1);
  for (const auto& [height, width] : kSizes) {
    const torch::Tensor x = 3 * torch::randn({2, 24, height, width}) + 5;
    ChannelLayerNorm norm(24);
    const torch::NoGradGuard no_grad;
    norm->weight.uniform_(0.5, 1.5);
    norm->bias.normal_();
    LayerParams params;
    params.blobs = {to_mat(norm->weight), to_mat(norm->bias)};
    expect_near(run_layer("HorNetLayerNorm", params, x), norm->forward(x), 5e-6);
  }
}

TEST(OpencvLayers, GeluIsTheExactOne) {
  const torch::Tensor x = torch::linspace(-12, 12, 40001).view({1, 1, 1, -1});
  expect_near(run_layer("HorNetGelu", {}, x), torch::gelu(x), 2e-6);
}

TEST(OpencvLayers, GlobalFilterIsLibTorchs) {
  torch::manual_seed(2);
  for (const auto& [height, width] : kSizes) {
    for (const int64_t channels : {1, 11}) {
      const torch::Tensor x = torch::randn({2, channels, height, width});
      const torch::Tensor weight = torch::randn({channels, 14, 8, 2});
      LayerParams params;
      params.blobs = {to_mat(weight)};
      const torch::Tensor expected =
          ops::global_filter(x, ops::interpolate_filter(weight, height, width));
      expect_near(run_layer("HorNetGlobalFilter", params, x), expected,
                  5e-6 * expected.abs().max().item<double>());
    }
  }
}

TEST(OpencvLayers, AdaptivePoolIsLibTorchs) {
  torch::manual_seed(4);
  for (const auto& [height, width] : kSizes) {
    const torch::Tensor x = torch::randn({2, 3, height, width});
    for (const int bins : {1, 2, 3, 6}) {
      LayerParams params;
      params.set("bins", bins);
      expect_near(run_layer("HorNetAdaptivePool", params, x),
                  torch::adaptive_avg_pool2d(x, {bins, bins}), 1e-6);
    }
  }
}

TEST(OpencvLayers, DepthwiseIsLibTorchs) {
  torch::manual_seed(5);
  for (const auto& [height, width] : kSizes) {
    for (const int64_t kernel : {3, 7}) {
      const torch::Tensor x = torch::randn({2, 5, height, width});
      const torch::Tensor weight = torch::randn({5, 1, kernel, kernel}), bias = torch::randn({5});
      LayerParams params;
      params.blobs = {to_mat(weight), to_mat(bias)};
      expect_near(run_layer("HorNetDepthwise", params, x),
                  torch::conv2d(x, weight, bias, 1, kernel / 2, 1, 5), 2e-5);
    }
  }
}

TEST(OpencvLayers, RefuseWhatTheyWereNotMadeFor) {
  LayerParams params;
  params.blobs = {to_mat(torch::ones({4, 3, 2, 2}))};
  EXPECT_THROW(run_layer("HorNetGlobalFilter", params, torch::ones({1, 5, 6, 6})), cv::Exception);
  LayerParams norm;
  norm.blobs = {to_mat(torch::ones({4})), to_mat(torch::ones({4}))};
  EXPECT_THROW(run_layer("HorNetLayerNorm", norm, torch::ones({1, 5, 6, 6})), cv::Exception);
  EXPECT_THROW(run_layer("HorNetLayerNorm", {}, torch::ones({1, 5, 6, 6})), cv::Exception);
}

}  // namespace
}  // namespace hornet::testing
