// What checkpoints say about detectors beside their weights, and what of it is believed.
#include <hornet/backbone/error.h>
#include <hornet/heads/detector_settings.h>
#include <hornet/heads/model.h>

#include "tests/heads/detector_files.h"
#include "tests/modules.h"

namespace hornet {
namespace {

using testing::error_of;
using testing::expect_contains;

DetectorSettings read(const std::map<std::string, std::string>& entries) {
  weights::Metadata meta;
  meta.entries = entries;
  return read_detector_settings(meta, "model.pth");
}

TEST(DetectorSettings, AreTheAuthorsWithoutMetadata) {
  const DetectorSettings settings = read({{"epoch", "36"}});
  EXPECT_EQ(settings.anchors.scales, (std::vector<double>{8}));
  EXPECT_EQ(settings.anchors.ratios, (std::vector<double>{0.5, 1, 2}));
  EXPECT_EQ(settings.levels, 5);
  EXPECT_EQ(settings.proposals, 1000);
}

TEST(DetectorSettings, AreReadAsWritten) {
  DetectorSettings settings;
  settings.anchors.scales = {6, 8.48528137423857};
  settings.anchors.ratios = {1.7, 1.0 / 3};
  settings.levels = 4;
  settings.proposals = 300;
  weights::Metadata meta;
  write_detector_settings(meta, settings);
  const DetectorSettings again = read(meta.entries);
  EXPECT_EQ(again.anchors.scales, settings.anchors.scales);
  EXPECT_EQ(again.anchors.ratios, settings.anchors.ratios);
  EXPECT_EQ(again.levels, 4);
  EXPECT_EQ(again.proposals, 300);
}

TEST(DetectorSettings, RefusesWhatIsNoSetting) {
  const std::string many = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17";
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"hornet.anchor_scales", ""},      {"hornet.anchor_scales", "8 x"},
      {"hornet.anchor_scales", "-8"},    {"hornet.anchor_scales", "nan"},
      {"hornet.anchor_ratios", "1e9"},   {"hornet.anchor_ratios", many},
      {"hornet.pyramid_levels", "4.5"},  {"hornet.pyramid_levels", "4 5"},
      {"hornet.pyramid_levels", "1000"}, {"hornet.proposals", "0"},
      {"hornet.proposals", "1e300"}};
  for (const auto& [key, value] : bad) {
    SCOPED_TRACE(key + "=" + value);
    const std::string message = error_of(
        [&, k = key, v = value] {
          read({{k, v}});
        },
        ErrorCode::kWeights);
    expect_contains(message, "model.pth");
    expect_contains(message, key);
  }
}

TEST(DetectorSettings, MakeTheModelAndMustFitItsWeights) {
  const MaskRcnn model = testing::narrow_resnet_detector();
  testing::StateDict state;
  testing::for_each_tensor(model, [&](const std::string& name, const torch::Tensor& tensor) {
    state.add(name, tensor);
  });
  weights::File file = state.file();
  EXPECT_EQ(recognise(file).neck->levels(), 5);
  file.meta.entries = {{"hornet.pyramid_levels", "4"}, {"hornet.anchor_ratios", "1 2 4"}};
  const Architecture architecture = recognise(file);
  EXPECT_EQ(architecture.neck->levels(), 4);
  EXPECT_EQ(architecture.detector->rpn.inputs().size(), 4);
  EXPECT_EQ(architecture.detector->rpn.anchors().ratios, (std::vector<double>{1, 2, 4}));
  file.meta.entries["hornet.anchor_ratios"] = "1 2";
  expect_contains(error_of([&] { recognise(file); }, ErrorCode::kWeights), "has 3 anchors");
  file.meta.entries = {{"hornet.pyramid_levels", "3"}};
  expect_contains(error_of([&] { recognise(file); }, ErrorCode::kWeights), "3 pyramid levels");
}

}  // namespace
}  // namespace hornet
