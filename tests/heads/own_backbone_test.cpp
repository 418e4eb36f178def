// A user's network, made a backbone by as_backbone, in whole models.
#include <gtest/gtest.h>
#include <hornet/backbone/adapter.h>
#include <hornet/backbone/error.h>
#include <hornet/heads/mask_rcnn.h>
#include <hornet/heads/uper_net.h>

#include "tests/modules.h"

namespace hornet {
namespace {

using testing::error_of;
using testing::expect_contains;

torch::nn::Conv2d conv(int64_t in, int64_t out, int64_t stride) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, stride).stride(stride));
}

torch::nn::Sequential stages() {
  return torch::nn::Sequential(conv(3, 4, 4), conv(4, 6, 2), conv(6, 8, 2), conv(8, 10, 2));
}

const std::vector<FeatureInfo> kStages = {{4, 4}, {6, 8}, {8, 16}, {10, 32}};

std::shared_ptr<Backbone> own_backbone() { return as_backbone(stages(), kStages); }

MaskRcnnOptions narrow(const Fpn& neck) {
  MaskRcnnOptions options(neck->feature_info());
  options.num_classes(3);
  options.roi.bbox().fc_channels(16);
  options.rpn.max_proposals(20);
  return options;
}

Fpn narrow_neck(const std::vector<FeatureInfo>& inputs) {
  return Fpn(FpnOptions(inputs).channels(16));
}

void expect_one_line(const std::string& message) {
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

TEST(OwnBackbone, RunsInMaskRcnn) {
  const torch::NoGradGuard no_grad;
  const auto backbone = own_backbone();
  const Fpn neck = narrow_neck(backbone->feature_info());
  MaskRcnn model(backbone, neck, narrow(neck));
  model->eval();
  EXPECT_TRUE(model->named_parameters().contains("backbone.0.weight"));
  model->roi_head->options.score_threshold(0);
  const auto found = model->forward(torch::randn({2, 3, 64, 96}), {{64, 96}, {50, 70}});
  ASSERT_EQ(found.size(), 2);
  EXPECT_GT(found[0].boxes.size(0), 0);
  EXPECT_LE(found[1].boxes.max().item<double>(), 70);
}

TEST(OwnBackbone, TrainsInUperNet) {
  const auto backbone = own_backbone();
  UperNetOptions options(backbone->feature_info());
  options.num_classes(5).decode.channels(8);
  UperNet model(backbone, options);
  const torch::Tensor logits = model->forward(torch::randn({2, 3, 64, 96}));
  EXPECT_EQ(logits.sizes(), (torch::IntArrayRef{2, 5, 16, 24}));
  logits.square().mean().backward();
  EXPECT_GT(backbone->named_parameters()["0.weight"].grad().abs().sum().item<double>(), 0);
}

TEST(OwnBackbone, IsNamedWhenTheNeckIsForAnother) {
  const auto backbone = own_backbone();
  const auto wrong = [&](const std::vector<FeatureInfo>& built_for) {
    const Fpn neck = narrow_neck(built_for);
    const std::string message =
        error_of([&] { MaskRcnn(backbone, neck, narrow(neck)); }, ErrorCode::kUsage);
    expect_one_line(message);
    expect_contains(message, "gives 4 channels at stride 4, 6 channels at stride 8, 8 channels");
    return message;
  };
  expect_contains(wrong({{4, 4}, {6, 8}, {9, 16}, {10, 32}}), "the neck was built for 4 channels");
  expect_contains(wrong({{4, 4}, {6, 8}, {8, 16}}), "8 channels at stride 16, but what");
  expect_contains(wrong({{4, 4}, {6, 8}, {8, 16}, {10, 32}, {12, 64}}), "12 channels at stride 64");
  wrong({{4, 4}});
}

TEST(OwnBackbone, IsNamedWhenTheHeadsAreForAnother) {
  const auto backbone = own_backbone();
  const Fpn neck = narrow_neck(backbone->feature_info());
  MaskRcnnOptions options = narrow(neck);
  options.roi.inputs({{16, 4}, {16, 8}, {16, 16}, {16, 32}, {16, 64}, {16, 128}});
  const std::string too_many =
      error_of([&] { MaskRcnn(backbone, neck, options); }, ErrorCode::kUsage);
  expect_one_line(too_many);
  expect_contains(too_many, "the RoI head was built for 16 channels at stride 4");
  options.roi.inputs({{16, 8}, {16, 16}});
  expect_contains(error_of([&] { MaskRcnn(backbone, neck, options); }, ErrorCode::kUsage),
                  "gives 16 channels at stride 4, 16 channels at stride 8;");
}

TEST(OwnBackbone, IsNamedWhenUperNetIsForAnother) {
  const auto backbone = own_backbone();
  const std::string message = error_of(
      [&] {
        UperNet(backbone, UperNetOptions({{4, 4}, {6, 8}, {8, 16}, {20, 32}}));
      },
      ErrorCode::kUsage);
  expect_one_line(message);
  expect_contains(message, "UperNet's head was built for 4 channels at stride 4");
  expect_contains(message, "20 channels at stride 32, but what it is wired to gives");

  UperNetOptions auxiliary(backbone->feature_info());
  auxiliary.auxiliary = FcnHeadOptions(10);
  expect_contains(error_of([&] { UperNet(backbone, auxiliary); }, ErrorCode::kUsage),
                  "UperNet's auxiliary head was built for 10 channels at stride 16");
  const std::vector<FeatureInfo> two = {{4, 4}, {6, 8}};
  auxiliary.decode.inputs(two);
  const auto shallow = as_backbone(torch::nn::Sequential(conv(3, 4, 4), conv(4, 6, 2)), two);
  EXPECT_THROW(UperNet(shallow, auxiliary), c10::Error) << "there is no third map";
}

TEST(OwnBackbone, IsNamedAtTheFirstImageWhenItIsDeclaredWrongly) {
  const torch::NoGradGuard no_grad;
  const auto backbone = as_backbone(stages(), {{4, 4}, {6, 8}, {8, 16}, {12, 32}});
  UperNetOptions options(backbone->feature_info());
  options.decode.channels(8);
  UperNet model(backbone, options);
  model->eval();
  const std::string message = error_of(
      [&] {
        model->forward(torch::randn({1, 3, 64, 64}));
      },
      ErrorCode::kUsage);
  expect_one_line(message);
  expect_contains(message, "level 3 is declared with 12 channels at stride 32");
  expect_contains(message, "forward gives 10 channels at stride 32");
}

}  // namespace
}  // namespace hornet
