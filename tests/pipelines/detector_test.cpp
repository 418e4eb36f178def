#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/detector.h>

#include <algorithm>

#include "tests/pipelines/scene.h"

namespace hornet {
namespace {

using testing::contains;
using testing::kDetector;
using testing::scene;

const std::string kFixtures = std::string(HORNET_TEST_DATA) + "/fixtures/";

DetectorOptions small() {
  DetectorOptions options;
  options.size = {160, 128};
  options.score_threshold = 0.2;
  return options;
}

TEST(Detector, FindsObjectsInsideTheImageBestFirst) {
  Detector detect(kDetector, {"cpu", "fp32"}, small());
  const cv::Mat image = scene({201, 143}, 1);
  const auto found = detect(image);
  ASSERT_FALSE(found.empty());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_GE(found[i].score, 0.2f);
    if (i > 0) {
      EXPECT_LE(found[i].score, found[i - 1].score);
    }
    const cv::Rect2f frame(-0.01f, -0.01f, 201.02f, 143.02f);
    EXPECT_EQ((found[i].box & frame).area(), found[i].box.area());
    const cv::Rect region = found[i].mask.region;
    EXPECT_EQ(region & cv::Rect(0, 0, 201, 143), region);
    EXPECT_EQ(found[i].mask.pixels.size(), region.size());
  }
}

TEST(Detector, BatchGivesWhatSingleImagesGive) {
  Detector detect(kDetector, {"cpu", "fp32"}, small());
  const std::vector<cv::Mat> images = {scene({160, 120}, 2), scene({160, 120}, 3),
                                       scene({90, 131}, 4)};
  const auto together = detect(images);
  ASSERT_EQ(together.size(), images.size());
  for (size_t i = 0; i < images.size(); ++i) {
    const auto alone = detect(images[i]);
    EXPECT_EQ(together[i].size(), alone.size());
    EXPECT_TRUE(std::all_of(alone.begin(), alone.end(), [&](const Instance& instance) {
      return contains(together[i], instance);
    }));
  }
}

TEST(Detector, ThresholdMayChangeAndComeBack) {
  DetectorOptions options = small();
  Detector detect(kFixtures + "fpn_mask_rcnn_hornet_small_7x7_s1/model.pth", {"cpu", "fp32"},
                  options);
  const cv::Mat image = scene({160, 120}, 5);
  const size_t before = detect(image).size();
  detect.set_score_threshold(0.01);  // below the model's own 0.05
  const auto weak = detect(image);
  EXPECT_GT(weak.size(), before);
  EXPECT_LT(weak.back().score, 0.05f);
  detect.set_score_threshold(options.score_threshold);
  EXPECT_EQ(detect(image).size(), before);
}

TEST(Detector, IsDeterministic) {
  Detector detect(kDetector, {"cpu", "fp32"}, small());
  const cv::Mat image = scene({160, 120}, 5);
  const auto first = detect(image), second = detect(image);
  ASSERT_EQ(first.size(), second.size());
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].score, second[i].score);
    EXPECT_EQ(first[i].box, second[i].box);
  }
}

// On a model that does not amplify rounding: the random cascades do, until a score says nothing.
TEST(Detector, ReducedPrecisionStaysNear) {
  const std::string calm = kFixtures + "fpn_mask_rcnn_hornet_small_7x7_s1/model.pth";
  Detector exact(calm, {"cpu", "fp32"}, small());
  Detector reduced(calm, {"cpu", "bf16"}, small());
  const cv::Mat image = scene({160, 120}, 6);
  const auto a = exact(image), b = reduced(image);
  ASSERT_FALSE(a.empty());
  ASSERT_FALSE(b.empty());
  EXPECT_NEAR(a.front().score, b.front().score, 0.15);
  EXPECT_NE(a.front().score, b.front().score) << "nothing was reduced";
  EXPECT_EQ(a.front().label, b.front().label);
  const cv::Rect2f common = a.front().box & b.front().box;
  EXPECT_GT(common.area(), 0.8 * a.front().box.area());
}

TEST(Detector, RefusesOtherModels) {
  try {
    Detector detect(kFixtures + "hornet_tiny_gf_s1/model.pth");
    FAIL() << "a classification model is no detector";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kWeights);
    EXPECT_NE(std::string(error.what()).find("classification"), std::string::npos);
  }
}

TEST(Detector, RefusesDeepImages) {
  Detector detect(kDetector, {"cpu", "fp32"}, small());
  EXPECT_THROW(detect(cv::Mat(40, 40, CV_16UC3)), Error);
  EXPECT_THROW(detect(cv::Mat()), Error);
}

}  // namespace
}  // namespace hornet
