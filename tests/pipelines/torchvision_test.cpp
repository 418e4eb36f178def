// torchvision's maskrcnn_resnet50_fpn from an image to masks: what it computed is in
// tests/data/torchvision, made by tests/heads/torchvision_reference.py, whose formulas for the
// weights and the image stand here once more.
#include <gtest/gtest.h>
#include <hornet/heads/model_complexity.h>
#include <hornet/pipelines/detector.h>
#include <hornet/pipelines/forward.h>
#include <torch/types.h>

#include <cmath>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>

#include "tests/heads/detector_files.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet {
namespace {

using torch::Tensor;

constexpr int kHeight = 187, kWidth = 263;
const cv::Size kScale = {333, 151};
const std::string kFolder = std::string(HORNET_TEST_DATA) + "/torchvision/";

struct Rule {
  const char* ending;
  double centre, spread;
};

constexpr Rule kRules[] = {
    {"running_var", 1.0, 0.5},
    {"running_mean", 0.0, 0.2},
    {"bn3.weight", 0.3, 0.1},
    {"downsample.1.weight", 0.7, 0.1},
    {"bn1.weight", 1.0, 0.2},
    {"bn2.weight", 1.0, 0.2},
    {"bias", 0.0, 0.1},
    {"inner_blocks.0.0.weight", 0.0, 0.1},
    {"inner_blocks.1.0.weight", 0.0, 0.1},
    {"inner_blocks.2.0.weight", 0.0, 0.1},
    {"inner_blocks.3.0.weight", 0.0, 0.1},
    {"rpn.head.cls_logits.weight", 0.0, 3.0},
    {"rpn.head.bbox_pred.weight", 0.0, 0.1},
    {"box_predictor.cls_score.weight", 0.0, 20.0},
    {"box_predictor.bbox_pred.weight", 0.0, 0.5},
    {"mask_fcn_logits.weight", 0.0, 4.0},
    {"weight", 0.0, 2.0},
};

bool ends_with(const std::string& text, const std::string& ending) {
  return text.size() >= ending.size() &&
         text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
}

uint32_t mix(uint32_t bits) {
  bits = (bits ^ (bits >> 16)) * 0x85EBCA6Bu;
  bits = (bits ^ (bits >> 13)) * 0xC2B2AE35u;
  return bits ^ (bits >> 16);
}

uint32_t seed_of(const std::string& name) {
  uint32_t value = 2166136261u;
  for (const char c : name) value = (value ^ static_cast<uint8_t>(c)) * 16777619u;
  return value;
}

Tensor formula(const std::string& name, const std::vector<int64_t>& shape) {
  const Rule* rule = std::find_if(std::begin(kRules), std::end(kRules),
                                  [&](const Rule& r) { return ends_with(name, r.ending); });
  Tensor values = torch::empty(shape);
  const int64_t count = values.numel();
  double spread = rule->spread;
  if (shape.size() > 1) {
    spread = std::sqrt(3 * spread * static_cast<double>(shape[0]) / static_cast<double>(count));
  }
  const bool pairs = ends_with(name, "fc6.weight");
  const uint32_t seed = seed_of(name);
  float* out = values.data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) {
    const bool odd = pairs && i % 2 == 1;
    const uint32_t bits = mix(seed ^ (static_cast<uint32_t>(odd ? i - 1 : i) * 0x9E3779B9u));
    const float unit = static_cast<float>(bits >> 8) * 0x1p-23f - 1;
    out[i] = static_cast<float>(rule->centre) + static_cast<float>(spread) * (odd ? -unit : unit);
  }
  return values;
}

weights::File formula_checkpoint() {
  testing::StateDict state;
  std::ifstream names(kFolder + "names.txt");
  for (std::string line; std::getline(names, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    std::vector<int64_t> shape;
    for (int64_t size = 0; words >> size;) shape.push_back(size);
    state.add(name, formula(name, shape));
  }
  return state.file();
}

cv::Mat formula_image() {
  cv::Mat bgr(kHeight, kWidth, CV_8UC3);
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) {
      for (int c = 0; c < 3; ++c) {
        const int tiles = (x / 37 * 83 + y / 29 * 151 + c * 67) % 160;
        const int stripes = (x * 5 + y * 3) / 16 % 4 * 20;
        const uint32_t noise = mix((y * kWidth + x) * 3 + c) % 36;
        bgr.at<cv::Vec3b>(y, x)[2 - c] = static_cast<uint8_t>(tiles + stripes + noise);
      }
    }
  }
  return bgr;
}

std::map<std::string, Tensor> reference() {
  std::map<std::string, Tensor> tensors;
  const weights::File file = weights::read(kFolder + "outputs.safetensors");
  for (const auto& [name, tensor] : file.tensors) tensors[name] = weights::to_torch(tensor);
  return tensors;
}

// One run for all tests.
class Torchvision : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    LoadedModel model = load_model(formula_checkpoint());
    architecture_ = model.architecture;
    complete_ = model.report.complete();
    parameters_ = testing::parameter_count(as_module(model.module));
    PreprocessOptions options = official_preprocess(model);
    options.scale = kScale;
    const Runtime runtime({"cpu", "fp32"});
    for (auto& [name, value] :
         forward_stages(model, forward_input(formula_image(), options), {}, runtime)) {
      found_[name] = value;
    }
    expected_ = reference();
  }
  static void TearDownTestSuite() {
    found_.clear();
    expected_.clear();
  }

  static const Tensor& expected(const std::string& name) { return expected_.at(name); }
  static const Tensor& found(const std::string& name) { return found_.at(name); }

  // For each row of the reference the row here that is nearest in `values`, and how far it is.
  static std::pair<Tensor, Tensor> nearest(const Tensor& reference, const Tensor& values) {
    const auto [distance, index] =
        (reference.unsqueeze(1) - values.unsqueeze(0)).abs().amax(2).min(1);
    return {index, distance};
  }

  // The part of a tensor that was kept of the reference. Proposals of nearly the same score may
  // have changed places, and what is made of each of them with them.
  static Tensor sampled(const std::string& name) {
    Tensor values = found(name);
    if (name.rfind("s0.", 0) == 0) {
      values = values.index_select(0, nearest(expected("proposals"), found("proposals")).first);
    }
    const int64_t step = expected(name + ".step").item<int64_t>();
    return values.flatten().slice(0, c10::nullopt, c10::nullopt, step);
  }

  static Architecture architecture_;
  static bool complete_;
  static int64_t parameters_;
  static std::map<std::string, Tensor> found_, expected_;
};

Architecture Torchvision::architecture_;
bool Torchvision::complete_ = false;
int64_t Torchvision::parameters_ = 0;
std::map<std::string, Tensor> Torchvision::found_, Torchvision::expected_;

TEST_F(Torchvision, IsRecognisedAndLoadedWhole) {
  EXPECT_TRUE(complete_);
  EXPECT_EQ(architecture_name(architecture_), "mask_rcnn_resnet50_fpn");
  EXPECT_EQ(architecture_.detector->conventions, Conventions::kTorchvision);
  EXPECT_EQ(architecture_.num_classes, 90);
  EXPECT_EQ(parameters_, model_complexity(architecture_, {64, 64}).parameters);
}

TEST_F(Torchvision, EveryStageHasItsNumbers) {
  std::vector<std::string> names = {"input", "s0.roi_feats", "s0.cls_score", "s0.bbox_pred",
                                    "mask_prob"};
  for (const char* name : {"feat", "fpn", "rpn_cls", "rpn_reg"}) {
    for (int i = 0; i < (std::string(name) == "feat" ? 4 : 5); ++i) {
      names.push_back(name + std::to_string(i));
    }
  }
  for (const std::string& name : names) {
    const Tensor values = sampled(name), reference = expected(name);
    ASSERT_EQ(values.sizes(), reference.sizes()) << name;
    const double largest = reference.abs().max().item<double>();
    const double tolerance = name == "input" ? 1e-6 : 1e-4;
    EXPECT_LE((values - reference).abs().max().item<double>(), tolerance * largest) << name;
  }
  EXPECT_EQ(found("input").sizes(), (torch::IntArrayRef{1, 3, 160, 224}));
  EXPECT_EQ(found("fpn4").sizes(), (torch::IntArrayRef{1, 256, 3, 4}));  // a step of 53 pixels
}

TEST_F(Torchvision, ProposalsAreTheSame) {
  const Tensor reference = expected("proposals"), values = found("proposals");
  ASSERT_EQ(values.sizes(), reference.sizes());
  const auto [index, distance] = nearest(reference, values);
  EXPECT_EQ((distance > 1e-2).sum().item<int64_t>(), 0);
}

TEST_F(Torchvision, ObjectsAreTheSame) {
  const Tensor boxes = expected("boxes"), scores = expected("scores"), labels = expected("labels");
  ASSERT_EQ(found("boxes").sizes(), boxes.sizes());
  EXPECT_GE(std::get<0>(at::_unique(labels)).size(0), 10) << "the reference says little";
  const auto rows = [](const Tensor& box, const Tensor& score, const Tensor& label) {
    return torch::cat({box, score.unsqueeze(1) * 100, label.unsqueeze(1) * 100}, 1);
  };
  const auto [index, distance] =
      nearest(rows(boxes, scores, labels), rows(found("boxes"), found("scores"), found("labels")));
  EXPECT_LE(distance.max().item<double>(), 2e-2);
  EXPECT_EQ(std::get<0>(at::_unique(index)).size(0), boxes.size(0));
}

TEST_F(Torchvision, MasksAreTheSame) {
  const Tensor masks = found("masks").to(torch::kLong);
  ASSERT_EQ(masks.sizes(), (torch::IntArrayRef{100, kHeight, kWidth}));
  const auto [index, distance] = nearest(expected("boxes"), found("boxes"));
  const Tensor areas = masks.flatten(1).sum(1).index_select(0, index);
  EXPECT_LE((areas - expected("mask_areas")).abs().max().item<int64_t>(), 3);

  const Tensor bits = expected("mask_bits").to(torch::kLong).unsqueeze(1);
  const Tensor weights = torch::tensor({128, 64, 32, 16, 8, 4, 2, 1}, torch::kLong);
  const Tensor flat = bits.bitwise_and(weights).ne(0).to(torch::kLong).flatten();
  const int64_t whole = flat.size(0) / (kHeight * kWidth);
  ASSERT_GE(whole, 10);
  const Tensor reference =
      flat.slice(0, 0, whole * kHeight * kWidth).view({whole, kHeight, kWidth});
  const Tensor own = masks.index_select(0, index.slice(0, 0, whole));
  EXPECT_LE(own.ne(reference).sum().item<int64_t>(), 6);
}

// A checkpoint on disk goes the same way through the detector that users have.
class TorchvisionFile : public TemporaryFolder {};

TEST_F(TorchvisionFile, RunsInTheDetector) {
  const weights::File narrow =
      testing::as_torchvision_file(testing::narrow_resnet_detector(), true);
  weights::write_pth(path("narrow.pth"), narrow.tensors);
  const cv::Mat image = formula_image();
  DetectorOptions options;
  options.size = kScale;
  options.score_threshold = 0;
  Detector detect(path("narrow.pth"), {"cpu", "fp32"}, options);
  EXPECT_EQ(architecture_name(detect.architecture()), "mask_rcnn_resnet_width4_1-2-1-1_fpn");
  const std::vector<Instance> instances = detect(image);

  LoadedModel model = load_model(narrow);
  RoiHeadOptions& roi = std::get<MaskRcnn>(model.module)->roi_head->options;
  roi.score_threshold(0);
  PreprocessOptions preprocessing = official_preprocess(model);
  preprocessing.scale = kScale;
  std::map<std::string, Tensor> values;
  for (auto& [name, value] :
       forward_stages(model, forward_input(image, preprocessing), {}, Runtime({"cpu", "fp32"}))) {
    values[name] = value;
  }
  EXPECT_EQ(values.count("resized_u8_rgb"), 0);
  ASSERT_GT(instances.size(), 3);
  ASSERT_EQ(static_cast<int64_t>(instances.size()), values.at("scores").size(0));
  for (size_t i = 0; i < instances.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    EXPECT_NEAR(instances[i].box.x, values.at("boxes")[row][0].item<float>(), 1e-3);
    EXPECT_EQ(instances[i].label, values.at("labels")[row].item<int>());
    EXPECT_EQ(cv::countNonZero(instances[i].mask.pixels),
              values.at("masks")[row].sum().item<int64_t>());
  }
}

TEST(TorchvisionSize, RoundsDown) {
  // What Python's int(side * min(800 / shorter, 1333 / longer)) gives.
  const std::pair<cv::Size, cv::Size> sizes[] = {
      {{640, 480}, {1066, 800}},   {{500, 333}, {1201, 800}},  {{333, 500}, {800, 1201}},
      {{4000, 1000}, {1333, 333}}, {{1000, 1000}, {800, 800}}, {{2000, 1}, {1333, 1}}};
  for (const auto& [image, expected] : sizes) {
    EXPECT_EQ(torchvision_size(image, {1333, 800}), expected) << image;
    EXPECT_EQ(torchvision_size(image, {800, 1333}), expected) << image;
  }
}

TEST(TorchvisionClasses, AreCocosByTheirIds) {
  const ClassTable table = ClassTable::from_names({}, 90);
  EXPECT_EQ(table.name(0), "person");
  EXPECT_EQ(table.name(12), "stop sign");
  EXPECT_EQ(table.category_id(12), 13);
  EXPECT_EQ(table.name(11), "class 11");
  EXPECT_EQ(table.name(89), "toothbrush");
}

}  // namespace
}  // namespace hornet
