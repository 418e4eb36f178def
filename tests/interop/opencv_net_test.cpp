// A checkpoint as a cv::dnn::Net gives the authors' numbers, at any size, with OpenCV's own code.
#include <hornet/interop/opencv_net.h>
#include <hornet/pipelines/preprocess.h>

#include <opencv2/imgproc.hpp>

#include "tests/interop/fixture_outputs.h"
#include "tests/weights/helpers.h"

namespace hornet::testing {
namespace {

namespace fs = std::filesystem;
using weights::error_of;
using weights::expect_contains;
using weights::TemporaryFolder;

cv::Mat some_image(cv::Size size) {
  cv::Mat image(size, CV_8UC3);
  cv::theRNG().state = 7;
  cv::randu(image, 0, 256);
  cv::GaussianBlur(image, image, {9, 9}, 0);
  return image;
}

class OpencvNet : public ::testing::TestWithParam<FixtureCase> {};

TEST_P(OpencvNet, GivesTheAuthorsNumbers) {
  const LoadedModel model = load_model(weights::read(GetParam().folder / "model.pth"));
  const cv::dnn::Net net =
      opencv::make_net(GetParam().folder / "model.pth", {{}, graph::Pixels::kNormalised});
  expect_outputs(GetParam(), net, GetParam().input(model).input, output_names(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Fixtures, OpencvNet, ::testing::ValuesIn(whole_cases()), test_name);

// One Net meets sizes one after the other, even and odd, and forgets none of what it knows.
TEST(OpencvNetSizes, FollowTheInput) {
  const fs::path path = model_path("hornet_tiny_gf_s1");
  LoadedModel model = load_model(weights::read(path));
  cv::dnn::Net net = opencv::make_net(path, {{224, 224}, graph::Pixels::kNormalised});
  torch::manual_seed(3);
  const torch::InferenceMode inference;
  for (const auto& [height, width] :
       std::vector<std::pair<int, int>>{{224, 224}, {97, 131}, {32, 32}, {161, 64}, {224, 224}}) {
    const torch::Tensor input = torch::randn({2, 3, height, width});
    net.setInput(to_mat(input), "input");
    const torch::Tensor logits = to_tensor(net.forward());
    const torch::Tensor expected = std::get<HorNetClassifier>(model.module)->forward(input);
    const double scale = expected.abs().max().item<double>();
    EXPECT_LE((logits - expected).abs().max().item<double>(), kRelative * scale)
        << height << "x" << width;
  }
}

TEST(OpencvNetBackbone, GivesItsFeatures) {
  const FixtureCase fixture = backbone_case();
  const TemporaryFolder folder;
  write_backbone(fixture, folder / "backbone.safetensors");
  const LoadedModel model = load_model(weights::read(fixture.folder / "model.pth"));
  cv::dnn::Net net =
      opencv::make_net(folder / "backbone.safetensors", {{}, graph::Pixels::kNormalised});
  const std::vector<std::string> names = {"feat0", "feat1", "feat2", "feat3"};
  EXPECT_EQ(net.getUnconnectedOutLayersNames().size(), names.size());
  expect_outputs(fixture, net, fixture.input(model).input, names);
}

TEST(OpencvNetPixels, AreNormalisedByTheNetworkItself) {
  const fs::path path = model_path("hornet_base_7x7_s3");
  const cv::Mat image = some_image({150, 117});
  cv::dnn::Net normalised = opencv::make_net(path, {{}, graph::Pixels::kNormalised});
  cv::dnn::Net raw = opencv::make_net(path);
  cv::Mat rgb;
  cv::cvtColor(image, rgb, cv::COLOR_BGR2RGB);
  normalised.setInput(to_mat(normalize(rgb, segmentation_preprocess())));
  raw.setInput(cv::dnn::blobFromImage(image, 1.0, {}, {}, /*swapRB=*/true));
  const cv::Mat expected = normalised.forward().clone();
  EXPECT_LE(cv::norm(raw.forward(), expected, cv::NORM_INF),
            kRelative * cv::norm(expected, cv::NORM_INF));
}

// The models of OpenCV's own interface take the Net as they take any other.
TEST(OpencvNetModels, ClassifyAndSegment) {
  const cv::Mat image = some_image({200, 180});
  cv::dnn::ClassificationModel classify(opencv::make_net(model_path("hornet_tiny_gf_s1")));
  classify.setInputParams(1.0, {96, 96}, {}, true);
  cv::dnn::Net net = opencv::make_net(model_path("hornet_tiny_gf_s1"));
  net.setInput(cv::dnn::blobFromImage(image, 1.0, {96, 96}, {}, true));
  cv::Point best;
  cv::minMaxLoc(net.forward().reshape(1, 1), nullptr, nullptr, nullptr, &best);
  int label = -1;
  float score = 0;
  classify.classify(image, label, score);
  EXPECT_EQ(label, best.x);

  cv::dnn::SegmentationModel segment(opencv::make_net(model_path("upernet_hornet_tiny_gf_s2")));
  segment.setInputParams(1.0, {128, 96}, {}, true);
  cv::Mat labels;
  segment.segment(image, labels);
  EXPECT_EQ(labels.size(), cv::Size(128, 96));
  double most = 0;
  cv::minMaxLoc(labels, nullptr, &most);
  EXPECT_GT(most, 0);
}

TEST(OpencvNetErrors, NameTheFileAndWhatIsWrong) {
  const fs::path path = model_path("hornet_tiny_gf_s1");
  expect_contains(error_of(
                      [&] {
                        opencv::make_net(path, {{31, 64}});
                      },
                      ErrorCode::kUsage),
                  "from 32x32 to 65536x65536, got 31x64");
  expect_contains(error_of([] { opencv::make_net("no/such.pth"); }), "no/such.pth");

  TemporaryFolder folder;
  weights::File file = weights::read(path);
  const auto write_and_open = [&](const std::map<std::string, weights::Tensor>& tensors) {
    weights::write_safetensors(folder / "changed.safetensors", tensors);
    return error_of([&] { opencv::make_net(folder / "changed.safetensors"); });
  };
  auto tensors = file.tensors;
  tensors.erase("stages.2.3.gnconv.dwconv.complex_weight");
  expect_contains(write_and_open(tensors), "stages.2.3.gnconv.dwconv");
  tensors = file.tensors;
  tensors["stages.0.0.pwconv1.weight"] = tensors["stages.0.0.pwconv2.weight"];
  expect_contains(write_and_open(tensors), "'stages.0.0.pwconv1.weight' of shape [8,32]; expected");
  tensors = file.tensors;
  tensors["stages.0.0.surprise"] = tensors["norm.weight"];
  expect_contains(write_and_open(tensors), "'stages.0.0.surprise'");
}

}  // namespace
}  // namespace hornet::testing
