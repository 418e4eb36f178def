// Every stage of every fixture model against the authors' numbers.
//
// Continuous stages are held to the manifest's tolerance per tensor. Discrete steps (top-k, NMS,
// argmax) may flip on differences within it, so what comes after them is checked twice: stage by
// stage from the saved inputs, and end to end by matching detections and counting labels.
#include <gtest/gtest.h>
#include <hornet/pipelines/results.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <map>

#include "tests/pipelines/fixture.h"

namespace hornet::testing {
namespace {

constexpr double kBoxTolerance = 0.05, kScoreTolerance = 1e-3;  // pixels, probability
constexpr double kMatchSlack = 0.02;                            // share of proposals
// And of detections: with random weights many are within rounding of another one, and LibTorch's
// own instruction sets (ATEN_CPU_CAPABILITY) disagree in up to 4 of 100 on the worst fixture.
constexpr double kDetectionSlack = 0.05;
constexpr double kLabelSlack = 1e-3, kMaskSlack = 2e-3;  // share of pixels

using Tensors = std::map<std::string, torch::Tensor>;

class FixtureTest : public ::testing::TestWithParam<FixtureCase> {
 protected:
  FixtureTest()
      : fixture_(GetParam()),
        model_(load_model(weights::read(fixture_.folder / "model.pth"))),
        expected_(fixture_.expected()) {}

  torch::Tensor expected(const std::string& name) const {
    return weights::to_torch(expected_.tensors.at(name));
  }
  bool has(const std::string& name) const { return expected_.tensors.count(name) > 0; }
  const nlohmann::json& entry(const std::string& name) const {
    return fixture_.description["tensors"][name];
  }

  // The manifest's shape and tolerance.
  void expect_close(const std::string& name, const torch::Tensor& full) const {
    const auto& info = entry(name);
    ASSERT_EQ(full.sizes().vec(), info["shape"].get<std::vector<int64_t>>()) << name;
    const torch::Tensor got = subsample(full, info).to(torch::kFloat64);
    const double error = (got - expected(name).to(torch::kFloat64)).abs().max().item<double>();
    const double tolerance = info["atol"].is_number() ? info["atol"].get<double>() : 0.0;
    EXPECT_LE(error, tolerance) << name;
  }

  Tensors run(const std::string& device = "cpu") {
    const ForwardInput input = fixture_.input(model_);
    const NamedTensors named =
        forward_stages(model_, input, fixture_.options(model_), Runtime({device, "fp32"}));
    return {named.begin(), named.end()};
  }

  void expect_continuous_stages(const Tensors& got) const;
  void expect_labels(const Tensors& got) const;
  void expect_proposals(const Tensors& got) const;
  void expect_detections(const Tensors& got) const;

  const FixtureCase& fixture_;
  LoadedModel model_;
  weights::File expected_;
};

// Names whose values depend on a discrete step before them.
bool after_selection(const std::string& name) {
  static const char* const kPrefixes[] = {"proposals", "s0.",  "s1.",   "s2.",    "m0.",   "m1.",
                                          "m2.",       "mask", "boxes", "scores", "labels"};
  for (const char* prefix : kPrefixes) {
    if (name.rfind(prefix, 0) == 0) return true;
  }
  return false;
}

// Detections of the fixture that `got` has too: same label, box and score. -1 where it has not.
std::vector<int64_t> match(const Tensors& got, const torch::Tensor& boxes,
                           const torch::Tensor& scores, const torch::Tensor& labels) {
  std::vector<int64_t> partner(boxes.size(0), -1);
  std::vector<bool> used(got.at("boxes").size(0), false);
  for (int64_t i = 0; i < boxes.size(0); ++i) {
    for (size_t j = 0; j < used.size() && partner[i] < 0; ++j) {
      const auto row = static_cast<int64_t>(j);
      if (used[j] || got.at("labels")[row].item<int>() != labels[i].item<int>()) continue;
      const double box = (got.at("boxes")[row] - boxes[i]).abs().max().item<double>();
      const double score = std::abs((got.at("scores")[row] - scores[i]).item<double>());
      if (box < kBoxTolerance && score < kScoreTolerance) {
        partner[i] = row;
        used[j] = true;
      }
    }
  }
  return partner;
}

// The stored mask `i` (run lengths, column by column) as [h,w].
torch::Tensor stored_mask(const torch::Tensor& runs, const torch::Tensor& offsets, int64_t i,
                          cv::Size size) {
  std::vector<uint32_t> counts;
  for (int64_t k = offsets[i].item<int>(); k < offsets[i + 1].item<int>(); ++k) {
    counts.push_back(static_cast<uint32_t>(runs[k].item<int>()));
  }
  const MaskCrop crop = from_run_lengths(counts, size);
  torch::Tensor mask = torch::zeros({size.height, size.width}, torch::kUInt8);
  if (crop.region.empty()) return mask;
  const cv::Mat pixels = crop.pixels.clone();
  mask.narrow(0, crop.region.y, crop.region.height)
      .narrow(1, crop.region.x, crop.region.width)
      .copy_(torch::from_blob(pixels.data, {pixels.rows, pixels.cols}, torch::kUInt8));
  return mask;
}

void FixtureTest::expect_continuous_stages(const Tensors& got) const {
  for (const auto& [name, info] : fixture_.description["tensors"].items()) {
    ASSERT_TRUE(got.count(name)) << name;
    if (!after_selection(name)) expect_close(name, got.at(name));
  }
}

void FixtureTest::expect_labels(const Tensors& got) const {
  const torch::Tensor differ = got.at("labels").ne(expected("labels"));
  EXPECT_LE(differ.to(torch::kFloat64).mean().item<double>(),
            fixture_.description["labels_differ_f64"].get<double>() + kLabelSlack);
}

void FixtureTest::expect_proposals(const Tensors& got) const {
  const torch::Tensor want = expected("proposals").slice(1, 0, 4);
  const torch::Tensor have = got.at("proposals").slice(1, 0, 4);
  const torch::Tensor distance = (want.unsqueeze(1) - have.unsqueeze(0)).abs().amax(2);
  const torch::Tensor found = distance.amin(1) < kBoxTolerance;
  EXPECT_GE(found.to(torch::kFloat64).mean().item<double>(), 1.0 - kMatchSlack);
}

void FixtureTest::expect_detections(const Tensors& got) const {
  const torch::Tensor boxes = expected("boxes");
  const auto partner = match(got, boxes, expected("scores"), expected("labels"));
  const auto matched =
      std::count_if(partner.begin(), partner.end(), [](int64_t j) { return j >= 0; });
  EXPECT_GE(static_cast<double>(matched) / static_cast<double>(boxes.size(0)),
            fixture_.description["matched_f64"].get<double>() - kDetectionSlack);

  const auto& ori = fixture_.description["meta"]["ori_shape"];
  const cv::Size size(ori[1].get<int>(), ori[0].get<int>());
  const torch::Tensor runs = expected("mask_rle"), offsets = expected("mask_rle_off");
  int64_t differ = 0, set = 0;
  for (int64_t i = 0; i + 1 < offsets.size(0); ++i) {
    if (partner[i] < 0) continue;
    const torch::Tensor mask = stored_mask(runs, offsets, i, size);
    differ += got.at("masks")[partner[i]].ne(mask).sum().item<int64_t>();
    set += mask.sum().item<int64_t>();
  }
  EXPECT_GT(set, 0);
  EXPECT_LE(static_cast<double>(differ), kMaskSlack * static_cast<double>(set));
}

TEST_P(FixtureTest, EndToEnd) {
  EXPECT_TRUE(model_.report.complete());
  EXPECT_EQ(model_.report.loaded, model_.report.expected);
  const Tensors got = run();
  expect_continuous_stages(got);
  if (fixture_.kind == "seg") expect_labels(got);
  if (fixture_.kind == "det") {
    expect_proposals(got);
    expect_detections(got);
  }
}

TEST_P(FixtureTest, EndToEndOnTheGpu) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  const Tensors got = run("cuda:0");
  expect_continuous_stages(got);
  if (fixture_.kind == "det") expect_detections(got);
}

// Heads alone, fed with the saved RoIs.
TEST_P(FixtureTest, HeadsAgreeOnSavedRois) {
  if (!has("s0.rois")) GTEST_SKIP() << "no RoIs were saved";
  const torch::InferenceMode inference;
  auto& detector = std::get<MaskRcnn>(model_.module);
  const RoiHeadOptions& options = detector->roi_head->options;
  const Features levels =
      detector->neck->forward(detector->backbone->forward(fixture_.input(model_).input));
  const auto stages = detector->roi_head->bbox_heads.size();
  for (size_t k = 0; k < stages; ++k) {
    const std::string stage = "s" + std::to_string(k) + ".";
    const torch::Tensor feats = extract_rois(levels, options.inputs(), expected(stage + "rois"), 7);
    const BboxOutputs outputs = detector->roi_head->bbox_heads[k]->forward(feats);
    expect_close(stage + "roi_feats", feats);
    expect_close(stage + "cls_score", outputs.cls_score);
    expect_close(stage + "bbox_pred", outputs.bbox_pred);
  }
  const torch::Tensor feats = extract_rois(levels, options.inputs(), expected("mask_rois"), 14);
  torch::Tensor probs = torch::zeros({feats.size(0), 28, 28});
  for (size_t k = 0; k < stages; ++k) {
    const torch::Tensor logits =
        detector->roi_head->mask_heads[k]->forward(feats, expected("labels").to(torch::kInt64));
    expect_close("m" + std::to_string(k) + ".mask_logits", logits);
    probs = probs + logits.sigmoid() / static_cast<double>(stages);
  }
  expect_close("mask_prob", probs);
}

std::string test_name(const ::testing::TestParamInfo<FixtureCase>& info) {
  std::string name = std::to_string(info.index) + "_" + info.param.folder.filename().string() +
                     "_" + info.param.mode();
  for (char& c : name) c = isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Authors, FixtureTest, ::testing::ValuesIn(all_cases()), test_name);

}  // namespace
}  // namespace hornet::testing
