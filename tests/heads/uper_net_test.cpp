// UperNet: the head, resizing, and windows that slide over an image.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/heads/uper_net.h>

#include "tests/modules.h"

namespace hornet {
namespace {

using testing::expect_close;
using testing::expect_identical;
using torch::Tensor;
using Starts = std::vector<int64_t>;

constexpr int64_t kClasses = 5;

// Bilinear at pixel centres, in plain loops: src = (dst + 0.5) * in / out - 0.5, not below 0.
Tensor reference_resize(const Tensor& x, int64_t height, int64_t width) {
  Tensor out = torch::empty({x.size(0), x.size(1), height, width});
  const auto source = [](int64_t i, int64_t from, int64_t to) {
    const double at =
        (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5;
    return std::max(at, 0.0);
  };
  for (int64_t i = 0; i < height; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      const double y = source(i, x.size(2), height), x_at = source(j, x.size(3), width);
      const auto top = static_cast<int64_t>(y), left = static_cast<int64_t>(x_at);
      const int64_t bottom = std::min(top + 1, x.size(2) - 1);
      const int64_t right = std::min(left + 1, x.size(3) - 1);
      const double down = y - static_cast<double>(top), across = x_at - static_cast<double>(left);
      const auto at = [&](int64_t r, int64_t c) { return x.select(2, r).select(2, c); };
      out.select(2, i).select(2, j).copy_(
          (at(top, left) * (1 - across) + at(top, right) * across) * (1 - down) +
          (at(bottom, left) * (1 - across) + at(bottom, right) * across) * down);
    }
  }
  return out;
}

TEST(ResizeBilinear, SamplesAtPixelCentres) {
  torch::manual_seed(1);
  const Tensor x = torch::randn({2, 3, 7, 5});
  for (const auto& [height, width] :
       std::vector<std::pair<int64_t, int64_t>>{{14, 10}, {13, 21}, {3, 2}, {1, 1}, {7, 9}}) {
    expect_close(resize_bilinear(x, height, width), reference_resize(x, height, width));
  }
  expect_close(resize_bilinear(x.slice(2, 0, 1).slice(3, 0, 1), 4, 3),
               x.slice(2, 0, 1).slice(3, 0, 1).expand({2, 3, 4, 3}));
}

TEST(WindowStarts, CoverTheImage) {
  const SlideOptions official = {512, 341};
  EXPECT_EQ(window_starts(100, official), Starts{0}) << "smaller than the tile";
  EXPECT_EQ(window_starts(512, official), Starts{0}) << "as large as the tile";
  EXPECT_EQ(window_starts(513, official), (Starts{0, 1}));
  EXPECT_EQ(window_starts(683, official), (Starts{0, 171}));
  EXPECT_EQ(window_starts(853, official), (Starts{0, 341})) << "512 + 341 exactly";
  EXPECT_EQ(window_starts(854, official), (Starts{0, 341, 342}));
  EXPECT_EQ(window_starts(2048, official), (Starts{0, 341, 682, 1023, 1364, 1536}));
  EXPECT_EQ(window_starts(2560, {640, 426}), (Starts{0, 426, 852, 1278, 1704, 1920}));
}

TEST(WindowStarts, FollowTheAuthorsGrid) {
  for (const SlideOptions& options : {SlideOptions{8, 5}, {8, 8}, {3, 1}, {5, 9}}) {
    for (int64_t image = 1; image < 40; ++image) {
      Starts expected;
      const int64_t grids =
          std::max<int64_t>(image - options.tile + options.stride - 1, 0) / options.stride + 1;
      for (int64_t i = 0; i < grids; ++i) {
        const int64_t end = std::min(i * options.stride + options.tile, image);
        expected.push_back(std::max<int64_t>(end - options.tile, 0));
      }
      EXPECT_EQ(window_starts(image, options), expected);
    }
  }
  EXPECT_THROW(window_starts(10, {0, 5}), c10::Error);
  EXPECT_THROW(window_starts(10, {5, 0}), c10::Error);
}

UperNetOptions narrow_options(const HorNetOptions& backbone) {
  UperNetOptions options(HorNetImpl::feature_info(backbone));
  options.num_classes(kClasses);
  options.decode.channels(8).filter_size(FilterSize{6, 4});
  options.auxiliary->channels(8);
  return options;
}

UperNet random_model(FusionConv fusion = FusionConv::kConv3x3) {
  torch::manual_seed(2);
  UperNetOptions options = narrow_options(testing::narrow_hornet());
  options.decode.fusion(fusion);
  UperNet model(std::make_shared<HorNetImpl>(testing::narrow_hornet()), options);
  testing::randomise(*model);
  model->eval();
  return model;
}

// Convolution, batch norm and ReLU of one of the head's modules.
Tensor conv_bn_relu(const UperHead& head, const std::string& name, const Tensor& x) {
  const auto parameters = head->named_parameters(), buffers = head->named_buffers();
  const Tensor weight = parameters[name + ".conv.weight"];
  const Tensor y = torch::conv2d(x, weight, {}, 1, weight.size(2) / 2);
  const auto per_channel = [](const Tensor& v) { return v.view({-1, 1, 1}); };
  const Tensor deviation = (per_channel(buffers[name + ".bn.running_var"]) + 1e-5).sqrt();
  return ((y - per_channel(buffers[name + ".bn.running_mean"])) / deviation *
              per_channel(parameters[name + ".bn.weight"]) +
          per_channel(parameters[name + ".bn.bias"]))
      .relu();
}

// Means over n x n bins, which overlap where the map is no multiple of n.
Tensor binned(const Tensor& x, int64_t n) {
  Tensor out = torch::empty({x.size(0), x.size(1), n, n});
  const auto from = [n](int64_t i, int64_t size) { return i * size / n; };
  const auto to = [n](int64_t i, int64_t size) { return ((i + 1) * size + n - 1) / n; };
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      out.select(2, i).select(2, j).copy_(x.slice(2, from(i, x.size(2)), to(i, x.size(2)))
                                              .slice(3, from(j, x.size(3)), to(j, x.size(3)))
                                              .mean({2, 3}));
    }
  }
  return out;
}

Tensor reference_head(const UperHead& head, const Features& inputs) {
  const auto resize = [](const Tensor& x, const Tensor& like) {
    return reference_resize(x, like.size(2), like.size(3));
  };
  std::vector<Tensor> pooled = {inputs[3]};
  const std::vector<int64_t> bins = {1, 2, 3, 6};
  for (size_t i = 0; i < bins.size(); ++i) {
    const std::string name = "psp_modules." + std::to_string(i) + ".1";
    pooled.push_back(resize(conv_bn_relu(head, name, binned(inputs[3], bins[i])), inputs[3]));
  }
  Features maps(4);
  maps[3] = conv_bn_relu(head, "bottleneck", torch::cat(pooled, 1));
  for (int64_t i = 2; i >= 0; --i) {
    const Tensor lateral = conv_bn_relu(head, "lateral_convs." + std::to_string(i), inputs[i]);
    maps[i] = lateral + resize(maps[i + 1], lateral);
  }
  for (int64_t i = 0; i < 3; ++i) {
    maps[i] = conv_bn_relu(head, "fpn_convs." + std::to_string(i), maps[i]);
  }
  for (int64_t i = 1; i < 4; ++i) maps[i] = resize(maps[i], maps[0]);
  const Tensor fused = conv_bn_relu(head, "fpn_bottleneck", torch::cat(maps, 1));
  return torch::conv2d(fused, head->conv_seg->weight, head->conv_seg->bias);
}

TEST(UperHead, FollowsTheAuthorsGraph) {
  const torch::NoGradGuard no_grad;
  UperHead head = random_model()->decode_head;
  const Features inputs = {torch::randn({2, 8, 21, 17}), torch::randn({2, 16, 10, 8}),
                           torch::randn({2, 32, 5, 4}), torch::randn({2, 64, 4, 3})};
  expect_close(head->forward(inputs), reference_head(head, inputs), 1e-4);
  EXPECT_THROW(head->forward({inputs[0], inputs[1]}), c10::Error);
}

TEST(UperHead, HasTheAuthorsNamesForItsGnConv) {
  const auto gnconv = random_model(FusionConv::kGnConvGlobalFilter)->named_parameters();
  const std::string name = "decode_head.fpn_bottleneck.";
  EXPECT_EQ(gnconv[name + "proj_in.weight"].sizes(), (torch::IntArrayRef{16, 32, 1, 1}));
  EXPECT_EQ(gnconv[name + "dwconv.complex_weight"].sizes(), (torch::IntArrayRef{6, 6, 4, 2}));
  EXPECT_EQ(gnconv[name + "bn.weight"].sizes(), (torch::IntArrayRef{8}));
  EXPECT_FALSE(gnconv.contains(name + "conv.weight"));
}

TEST(UperNet, TapsTheAuxiliaryHead) {
  const torch::NoGradGuard no_grad;
  UperNet model = random_model();
  Tensor auxiliary;
  const Tensor images = torch::randn({1, 3, 64, 96});
  const Tensor tapped = model->forward(images, [&](const std::string& name, const Tensor& value) {
    if (name == "aux_logits") auxiliary = value;
  });
  ASSERT_TRUE(auxiliary.defined());
  EXPECT_EQ(auxiliary.sizes(), (torch::IntArrayRef{1, kClasses, 4, 6}));
  EXPECT_EQ(tapped.sizes(), (torch::IntArrayRef{1, kClasses, 16, 24}));
  expect_identical(model->forward(images), tapped);
}

TEST(UperNet, SlidesOverOneTileAsOverTheWhole) {
  const torch::NoGradGuard no_grad;
  UperNet model = random_model();
  const Tensor images = torch::randn({2, 3, 50, 64});
  for (const SlideOptions& options : {SlideOptions{64, 43}, SlideOptions{512, 341}}) {
    expect_close(model->slide(images, options), resize_bilinear(model->forward(images), 50, 64));
  }
}

TEST(UperNet, TakesTheMeanOverWindows) {
  const torch::NoGradGuard no_grad;
  constexpr int64_t kTile = 64, kHeight = 100, kWidth = 150;
  UperNet model = random_model(FusionConv::kGnConv7x7);
  const Tensor images = torch::randn({1, 3, kHeight, kWidth});
  Tensor sum = torch::zeros({1, kClasses, kHeight, kWidth}), count = torch::zeros_like(sum);
  for (const int64_t y : {0, 36}) {
    for (const int64_t x : {0, 43, 86}) {
      const auto window = [&](const Tensor& t) {
        return t.slice(2, y, y + kTile).slice(3, x, x + kTile);
      };
      window(sum) += reference_resize(model->forward(window(images)), kTile, kTile);
      window(count) += 1;
    }
  }
  EXPECT_EQ(count.max().item<float>(), 4);
  expect_close(model->slide(images, {kTile, 43}), sum / count, 1e-4);
}

TEST(UperNet, RefusesAnotherBackbone) {
  const auto backbone = std::make_shared<HorNetImpl>(testing::narrow_hornet());
  HorNetOptions other = testing::narrow_hornet();
  other.base_dim = 10;
  const std::string message =
      testing::error_of([&] { UperNet(backbone, narrow_options(other)); }, ErrorCode::kUsage);
  testing::expect_contains(message, "built for 10 channels at stride 4");
  testing::expect_contains(message, "gives 8 channels at stride 4");
}

}  // namespace
}  // namespace hornet
