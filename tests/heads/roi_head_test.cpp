// The second stage, and the whole detector with random weights.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/heads/mask_rcnn.h>
#include <hornet/heads/ops/roi_align.h>

#include <map>

#include "tests/modules.h"

namespace hornet {
namespace {

using testing::expect_close;
using testing::expect_identical;
using torch::Tensor;
using Tapped = std::map<std::string, Tensor>;

constexpr int64_t kClasses = 3;
const std::vector<FeatureInfo> kPyramid = {{16, 4}, {16, 8}, {16, 16}, {16, 32}, {16, 64}};

MaskRcnnOptions narrow_options(bool cascade) {
  MaskRcnnOptions options(kPyramid);
  options.cascade(cascade).num_classes(kClasses);
  options.roi.bbox().fc_channels(16);
  options.rpn.max_proposals(60);
  return options;
}

// Random weights, with class scores far enough apart for some to pass and deltas that stay small.
MaskRcnn random_detector(bool cascade) {
  torch::manual_seed(1);
  const auto backbone = std::make_shared<HorNetImpl>(testing::narrow_hornet());
  MaskRcnn model(backbone, Fpn(FpnOptions(backbone->feature_info()).channels(16)),
                 narrow_options(cascade));
  testing::randomise(*model);
  const torch::NoGradGuard no_grad;
  for (BboxHead& head : model->roi_head->bbox_heads) {
    head->fc_cls->weight.mul_(3 / head->fc_cls->weight.abs().sum(1).max());
    head->fc_cls->bias.zero_();
    head->fc_reg->weight.mul_(1 / head->fc_reg->weight.abs().sum(1).max());
    head->fc_reg->bias.zero_();
  }
  model->rpn_head->rpn_reg->weight.mul_(0.01);
  model->rpn_head->rpn_reg->bias.zero_();
  model->eval();
  return model;
}

void expect_shapes(const Detections& found, int64_t count) {
  EXPECT_EQ(found.boxes.sizes(), (torch::IntArrayRef{count, 4}));
  EXPECT_EQ(found.scores.sizes(), (torch::IntArrayRef{count}));
  EXPECT_EQ(found.labels.sizes(), (torch::IntArrayRef{count}));
  EXPECT_EQ(found.mask_probs.sizes(), (torch::IntArrayRef{count, 28, 28}));
  EXPECT_EQ(found.boxes.scalar_type(), torch::kFloat);
  EXPECT_EQ(found.scores.scalar_type(), torch::kFloat);
  EXPECT_EQ(found.labels.scalar_type(), torch::kLong);
  EXPECT_EQ(found.mask_probs.scalar_type(), torch::kFloat);
}

// Levels that are 1, 2, 3 and 4 everywhere show where a RoI was taken from.
Tensor levels_of(const std::vector<std::pair<float, float>>& sizes) {
  Features levels;
  for (int64_t i = 0; i < 4; ++i) {
    levels.push_back(torch::full({1, 1, 256 >> i, 256 >> i}, static_cast<double>(i + 1)));
  }
  const std::vector<FeatureInfo> info = {{1, 4}, {1, 8}, {1, 16}, {1, 32}};
  std::vector<Tensor> rois;
  for (const auto& [w, h] : sizes) rois.push_back(torch::tensor({0.f, 8.f, 8.f, 8 + w, 8 + h}));
  return extract_rois(levels, info, torch::stack(rois), 2).select(1, 0).select(1, 0).select(1, 0);
}

TEST(ExtractRois, TakesTheLevelThatSuitsTheSize) {
  expect_close(levels_of({{1, 1}, {55, 55}, {56, 56}, {111, 111}}), torch::full({4}, 1.0));
  expect_close(levels_of({{112, 112}, {56, 224}, {223, 223}, {448, 28}}),
               torch::tensor({2.f, 2.f, 2.f, 2.f}));
  expect_close(levels_of({{224, 224}, {447, 447}, {448, 448}, {900, 900}}),
               torch::tensor({3.f, 3.f, 4.f, 4.f}));
}

TEST(ExtractRois, LeavesEmptyRoisToTheFinestLevel) {
  expect_close(levels_of({{0, 0}, {0, 500}}), torch::zeros({2}));
}

TEST(ExtractRois, ARoiThatOverflowedHasALevel) {
  const Features levels = {torch::ones({1, 2, 8, 8}), torch::ones({1, 2, 4, 4})};
  const Tensor rois = torch::tensor({{0.f, 0.f, 0.f, NAN, 9.f}, {0.f, 0.f, 0.f, 8.f, 8.f}});
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);  // fills with NaN
  const Tensor pooled = extract_rois(levels, {{2, 4}, {2, 8}}, rois, 2, {});
  at::globalContext().setDeterministicAlgorithms(false, false);
  EXPECT_TRUE(pooled[0].equal(torch::zeros({2, 2, 2})));
  EXPECT_TRUE(pooled[1].equal(torch::ones({2, 2, 2})));
}

TEST(ExtractRois, KeepsTheOrderOfRois) {
  torch::manual_seed(2);
  const Features levels = {torch::randn({2, 3, 64, 64}), torch::randn({2, 3, 32, 32})};
  const std::vector<FeatureInfo> info = {{3, 4}, {3, 8}};
  const Tensor rois = torch::tensor({{1.f, 10.f, 10.f, 200.f, 180.f},
                                     {0.f, 5.f, 6.f, 30.f, 40.f},
                                     {1.f, 0.f, 0.f, 16.f, 16.f},
                                     {0.f, 0.f, 0.f, 250.f, 250.f}});
  const Tensor pooled = extract_rois(levels, info, rois, 7);
  ASSERT_EQ(pooled.sizes(), (torch::IntArrayRef{4, 3, 7, 7}));
  for (const int64_t k : {0, 1, 2, 3}) {
    const bool coarse = k == 0 || k == 3;
    expect_close(pooled.slice(0, k, k + 1),
                 ops::roi_align(levels[coarse], rois.slice(0, k, k + 1), coarse ? 0.125 : 0.25, 7));
  }
  EXPECT_EQ(extract_rois(levels, info, torch::empty({0, 5}), 7).sizes(),
            (torch::IntArrayRef{0, 3, 7, 7}));
}

// Anchors that do not touch, so that none suppresses another, and scores with ties.
TEST(RpnHead, KeepsTheBestCandidatesAndTheFirstOfEquals) {
  constexpr int64_t kSide = 6;
  RpnHeadOptions options({{4, 8}});
  options.anchors().scales = {1};
  options.anchors().ratios = {1};
  const RpnHead head(options.channels(4));
  const Tensor scores = torch::tensor({3, 1, 2, 2, 0, 2, 1, 3, 2}, torch::kFloat32).repeat({4});
  const RpnOutputs outputs = {{scores.view({1, 1, kSide, kSide})},
                              {torch::zeros({1, 4, kSide, kSide})}};
  const Tensor order = scores.argsort(/*stable=*/true, 0, /*descending=*/true);
  for (const int64_t count : {1, 5, 8, 11, 35, 36, 100}) {
    RpnHeadOptions numbers = head->options;
    numbers.pre_nms(count);
    const Tensor found = head->proposals(outputs, 0, {8 * kSide, 8 * kSide}, numbers);
    const Tensor wanted = count > 36 ? order : order.slice(0, 0, count);
    ASSERT_EQ(found.size(0), wanted.size(0));
    expect_identical(found.select(1, 4), scores.index_select(0, wanted).sigmoid());
    expect_identical((found.select(1, 2) - 4) / 8, (wanted % kSide).to(torch::kFloat32));
    expect_identical((found.select(1, 3) - 4) / 8, wanted.floor_divide(kSide).to(torch::kFloat32));
  }
}

class Detector : public ::testing::TestWithParam<bool> {
 protected:
  torch::NoGradGuard no_grad;
  MaskRcnn model = random_detector(GetParam());
};
INSTANTIATE_TEST_SUITE_P(PlainAndCascade, Detector, ::testing::Bool());

TEST_P(Detector, FindsObjectsInsideTheImage) {
  const std::vector<Detections> found = model->forward(torch::randn({1, 3, 96, 128}), {{90, 120}});
  ASSERT_EQ(found.size(), 1);
  const int64_t count = found[0].scores.size(0);
  ASSERT_GT(count, 0);
  ASSERT_LE(count, 100);
  expect_shapes(found[0], count);
  EXPECT_TRUE((found[0].scores > 0.05).all().item<bool>());
  EXPECT_TRUE((found[0].scores.slice(0, 1) <= found[0].scores.slice(0, 0, -1)).all().item<bool>());
  EXPECT_TRUE((found[0].labels >= 0).all().item<bool>());
  EXPECT_TRUE((found[0].labels < kClasses).all().item<bool>());
  EXPECT_TRUE((found[0].boxes >= 0).all().item<bool>());
  EXPECT_LE(found[0].boxes.select(1, 2).max().item<float>(), 120);
  EXPECT_LE(found[0].boxes.select(1, 3).max().item<float>(), 90);
  EXPECT_TRUE((found[0].mask_probs > 0).logical_and(found[0].mask_probs < 1).all().item<bool>());
}

TEST_P(Detector, TreatsTheImagesOfABatchAlike) {
  const Tensor images = torch::randn({2, 3, 96, 128});
  const std::vector<ImageSize> sizes = {{90, 120}, {96, 64}};
  const std::vector<Detections> both = model->forward(images, sizes);
  ASSERT_EQ(both.size(), 2);
  for (size_t i = 0; i < 2; ++i) {
    const auto one = model->forward(images.slice(0, i, i + 1), {sizes[i]});
    ASSERT_GT(one[0].scores.size(0), 0);
    expect_identical(both[i].labels, one[0].labels);
    expect_close(both[i].scores, one[0].scores);
    expect_close(both[i].boxes, one[0].boxes, 1e-4);
    expect_close(both[i].mask_probs, one[0].mask_probs, 1e-4);
  }
}

TEST_P(Detector, FindsNothingInNoProposals) {
  const Features pyramid =
      model->neck->forward(model->backbone->forward(torch::randn({2, 3, 64, 64})));
  const Tensor none = torch::empty({0, 5}), some = torch::tensor({{2.f, 3.f, 50.f, 60.f, 1.f}});
  const std::vector<ImageSize> sizes = {{64, 64}, {64, 64}};
  for (const Detections& found : model->roi_head->forward(pyramid, {none, none}, sizes)) {
    expect_shapes(found, 0);
  }
  const auto found = model->roi_head->forward(pyramid, {none, some}, sizes);
  expect_shapes(found[0], 0);
  EXPECT_GT(found[1].scores.size(0), 0);
}

TEST_P(Detector, FindsNothingAboveAnImpossibleThreshold) {
  model->roi_head->options.score_threshold(1.0);
  expect_shapes(model->forward(torch::randn({1, 3, 64, 64}), {{64, 64}})[0], 0);
}

TEST_P(Detector, KeepsTheBestOnly) {
  const Tensor images = torch::randn({1, 3, 96, 128});
  const Detections all = model->forward(images, {{96, 128}})[0];
  ASSERT_GT(all.scores.size(0), 3);
  model->roi_head->options.max_detections(3);
  expect_identical(model->forward(images, {{96, 128}})[0].scores, all.scores.slice(0, 0, 3));
}

TEST_P(Detector, NeedsASizeForEachImage) {
  EXPECT_THROW(model->forward(torch::randn({2, 3, 64, 64}), {{64, 64}}), c10::Error);
}

Tapped tapped_forward(MaskRcnn model, const Tensor& images, const ImageSize& size) {
  Tapped values;
  model->forward(images, {size}, [&](const std::string& name, const Tensor& value) {
    EXPECT_TRUE(values.emplace(name, value).second) << name << " twice";
  });
  return values;
}

TEST(Cascade, RefinesTheBoxesOfEachStageForTheNext) {
  const torch::NoGradGuard no_grad;
  const Tapped values =
      tapped_forward(random_detector(true), torch::randn({1, 3, 64, 96}), {64, 90});
  const std::vector<DeltaStds> stds = {{0.1, 0.1, 0.2, 0.2}, {0.05, 0.05, 0.1, 0.1}};
  for (size_t k = 0; k < 2; ++k) {
    const std::string stage = "s" + std::to_string(k), next = "s" + std::to_string(k + 1);
    const Tensor rois = values.at(stage + ".rois"), scores = values.at(stage + ".cls_score");
    const Tensor deltas = values.at(stage + ".bbox_pred");
    for (int64_t r = 0; r < rois.size(0); ++r) {
      const auto best = scores[r].slice(0, 0, kClasses).argmax().item<int64_t>();
      const Tensor expected = decode_deltas(
          rois.slice(0, r, r + 1).slice(1, 1),
          deltas.slice(0, r, r + 1).slice(1, 4 * best, 4 * best + 4), stds[k], {64, 90});
      expect_identical(values.at(next + ".rois")[r].slice(0, 1), expected[0]);
    }
  }
}

TEST(Cascade, AveragesLogitsAndMasks) {
  const torch::NoGradGuard no_grad;
  MaskRcnn model = random_detector(true);
  const Tensor images = torch::randn({1, 3, 64, 96});
  const Tapped values = tapped_forward(model, images, {64, 96});
  const auto mean = [&](const std::function<Tensor(const std::string&)>& of) {
    return (of("0") + of("1") + of("2")) / 3;
  };
  const Tensor scores =
      mean([&](const std::string& k) { return values.at("s" + k + ".cls_score"); }).softmax(1);
  const float best = model->forward(images, {{64, 96}})[0].scores[0].item<float>();
  EXPECT_NEAR(best, scores.slice(1, 0, kClasses).max().item<float>(), 1e-6);
  expect_close(values.at("mask_prob"), mean([&](const std::string& k) {
                 return values.at("m" + k + ".mask_logits").sigmoid();
               }));
}

TEST(MaskHead, ComputesTheChannelOfEachLabel) {
  const torch::NoGradGuard no_grad;
  MaskHead head(MaskHeadOptions().in_channels(4).channels(4).num_classes(5).convs(2));
  testing::randomise(*head);
  const Tensor feats = torch::randn({3, 4, 6, 6});
  const std::vector<int64_t> labels = {4, 0, 2};
  const Tensor logits = head->forward(feats, torch::tensor(labels));
  Tensor x = feats;
  const auto parameters = head->named_parameters();
  for (const std::string conv : {"convs.0.conv.", "convs.1.conv."}) {
    x = torch::conv2d(x, parameters[conv + "weight"], parameters[conv + "bias"], 1, 1).relu();
  }
  x = torch::conv_transpose2d(x, parameters["upsample.weight"], parameters["upsample.bias"], 2);
  x = torch::conv2d(x.relu(), parameters["conv_logits.weight"], parameters["conv_logits.bias"]);
  ASSERT_EQ(logits.sizes(), (torch::IntArrayRef{3, 12, 12}));
  for (size_t k = 0; k < 3; ++k) expect_close(logits[k], x[k][labels[k]]);
}

TEST(MaskRcnn, RefusesPartsThatDoNotFit) {
  const auto backbone = std::make_shared<HorNetImpl>(testing::narrow_hornet());
  const Fpn foreign(FpnOptions({{10, 4}, {20, 8}, {40, 16}, {80, 32}}).channels(16));
  const std::string neck = testing::error_of(
      [&] { MaskRcnn(backbone, foreign, narrow_options(false)); }, ErrorCode::kUsage);
  testing::expect_contains(neck, "the neck was built for 10 channels at stride 4, 20 channels");
  testing::expect_contains(neck, "gives 8 channels at stride 4, 16 channels at stride 8");

  const Fpn wide(FpnOptions(backbone->feature_info()).channels(24));
  const std::string rpn = testing::error_of(
      [&] { MaskRcnn(backbone, wide, narrow_options(false)); }, ErrorCode::kUsage);
  testing::expect_contains(rpn, "built for 16 channels at stride 4");
  testing::expect_contains(rpn, "gives 24 channels at stride 4");
}

}  // namespace
}  // namespace hornet
