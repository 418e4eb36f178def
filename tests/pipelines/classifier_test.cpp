#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/classifier.h>
#include <hornet/pipelines/forward.h>
#include <hornet/pipelines/model_defaults.h>
#include <torch/types.h>

namespace hornet {
namespace {

const std::string kFixtures = std::string(HORNET_TEST_DATA) + "/fixtures/";
const std::string kCheckpoint = kFixtures + "hornet_base_7x7_s3/model.pth";

cv::Mat noise(int seed) {
  cv::Mat image(71, 93, CV_8UC3);
  cv::RNG(seed).fill(image, cv::RNG::UNIFORM, 0, 255);
  return image;
}

torch::Tensor logits_of(const cv::Mat& image, int size) {
  LoadedModel model = load_model(weights::read(kCheckpoint));
  const Runtime runtime({"cpu", "fp32"});
  for (const auto& [name, value] :
       forward_stages(model, forward_input(image, classification_preprocess(size)), {}, runtime)) {
    if (name == "logits") return value[0];
  }
  return {};
}

TEST(Classifier, RanksTheLogits) {
  ClassifierOptions options;
  options.size = 64;
  Classifier classify(kCheckpoint, {"cpu", "fp32"}, options);
  const auto found = classify(std::vector<cv::Mat>{noise(1), noise(2)});
  ASSERT_EQ(found.size(), 2u);
  for (int i : {0, 1}) {
    const torch::Tensor logits = logits_of(noise(i + 1), 64);
    const torch::Tensor best = logits.argsort(-1, /*descending=*/true);
    const torch::Tensor shares = logits.softmax(0, torch::kFloat);
    ASSERT_EQ(found[i].size(), 5u);
    for (int k = 0; k < 5; ++k) {
      const ClassScore& guess = found[i][k];
      EXPECT_EQ(guess.label, best[k].item<int64_t>());
      EXPECT_NEAR(guess.score, shares[guess.label].item<float>(), 1e-5);
    }
  }
  EXPECT_EQ(classify(noise(2))[0].label, found[1][0].label);
  EXPECT_TRUE(classify(std::vector<cv::Mat>()).empty());
  EXPECT_EQ(classify.name(7), classify.names().empty() ? "class 7" : classify.names()[7]);
}

TEST(Classifier, TakesTheSizeThatTrainingHasWritten) {
  LoadedModel model = load_model(weights::read(kCheckpoint));
  EXPECT_EQ(official_preprocess(model).scale, cv::Size(224, 224));
  set_default_size(model.meta, {96, 96});
  EXPECT_EQ(official_preprocess(model).scale, cv::Size(96, 96));
}

TEST(Classifier, NeedsAClassifiersCheckpoint) {
  try {
    Classifier(kFixtures + "upernet_hornet_tiny_gf_s2/model.pth", {"cpu", "fp32"});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kWeights);
  }
}

}  // namespace
}  // namespace hornet
