// Which model a checkpoint holds, what the published ones are called, and strict loading.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/heads/model.h>
#include <hornet/heads/model_complexity.h>
#include <hornet/heads/random_weights.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "tests/modules.h"

namespace hornet {
namespace {

using testing::error_of;
using testing::expect_contains;

weights::File fixture(const std::string& name) {
  return weights::read(std::string(HORNET_TEST_DATA) + "/fixtures/" + name + "/model.pth");
}

std::string filter_text(const std::optional<FilterSize>& size) {
  return size ? std::to_string(size->h) + "x" + std::to_string(size->w) : "7x7 convolution";
}

struct Expected {
  const char* fixture;
  Task task;
  const char* name;
  int64_t base_dim, num_classes;
  const char *filter2, *filter3;
  size_t meta_classes;
};

std::ostream& operator<<(std::ostream& out, const Expected& row) { return out << row.fixture; }

const Expected kFixtures[] = {
    {"hornet_tiny_gf_s1", Task::kClassification, "hornet_dim8_2-3-18-2_gf_14x8_7x4", 8, 1000,
     "14x8", "7x4", 0},
    {"hornet_base_7x7_s3", Task::kClassification, "hornet_dim4_2-3-18-2_7x7", 4, 1000,
     "7x7 convolution", "7x7 convolution", 0},
    {"cascade_mask_rcnn_hornet_tiny_gf_s2", Task::kDetection,
     "cascade_mask_rcnn_hornet_dim8_2-3-18-2_gf_14x8_7x4", 8, 80, "14x8", "7x4", 80},
    {"fpn_mask_rcnn_hornet_small_7x7_s1", Task::kDetection,
     "fpn_mask_rcnn_hornet_dim8_2-3-18-2_7x7", 8, 80, "7x7 convolution", "7x7 convolution", 80},
    {"horfpn_gf_mask_rcnn_hornet_small_7x7_s3", Task::kDetection,
     "horfpn_gf_mask_rcnn_hornet_dim8_2-3-18-2_7x7", 8, 80, "7x7 convolution", "7x7 convolution",
     80},
    {"upernet_hornet_tiny_gf_s2", Task::kSegmentation, "upernet_hornet_dim4_2-3-18-2_gf_24x13_12x7",
     4, 150, "24x13", "12x7", 150},
    {"horfpn_7x7_upernet_hornet_small_7x7_s1", Task::kSegmentation,
     "horfpn_7x7_upernet_hornet_dim4_2-3-18-2_7x7", 4, 150, "7x7 convolution", "7x7 convolution",
     150},
};

class Fixture : public ::testing::TestWithParam<Expected> {};
INSTANTIATE_TEST_SUITE_P(Models, Fixture, ::testing::ValuesIn(kFixtures),
                         [](const auto& row) { return std::string(row.param.fixture); });

TEST_P(Fixture, IsRecognised) {
  const Architecture found = recognise(fixture(GetParam().fixture));
  EXPECT_EQ(found.task, GetParam().task);
  EXPECT_EQ(architecture_name(found), GetParam().name);
  const HorNetOptions& backbone = std::get<HorNetOptions>(found.backbone);
  EXPECT_EQ(backbone.base_dim, GetParam().base_dim);
  EXPECT_EQ(found.num_classes, GetParam().num_classes);
  EXPECT_EQ(filter_text(backbone.stages[0].global_filter), "7x7 convolution");
  EXPECT_EQ(filter_text(backbone.stages[1].global_filter), "7x7 convolution");
  EXPECT_EQ(filter_text(backbone.stages[2].global_filter), GetParam().filter2);
  EXPECT_EQ(filter_text(backbone.stages[3].global_filter), GetParam().filter3);
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(backbone.stages[i].order, i + 2);
}

TEST_P(Fixture, LoadsCompletelyAndCountsItsParameters) {
  LoadedModel model = load_model(fixture(GetParam().fixture));
  EXPECT_TRUE(model.report.complete());
  EXPECT_EQ(model.report.loaded, model.report.expected);
  EXPECT_EQ(model.meta.classes.size(), GetParam().meta_classes);
  EXPECT_FALSE(as_module(model.module).is_training());
  EXPECT_EQ(model_complexity(model.architecture, {224, 224}).parameters,
            testing::parameter_count(as_module(model.module)));
}

std::vector<torch::Tensor> head_outputs(AnyModel& model, const torch::Tensor& images) {
  if (auto* net = std::get_if<UperNet>(&model)) return {(*net)->forward(images)};
  if (auto* classifier = std::get_if<HorNetClassifier>(&model)) {
    return {(*classifier)->forward(images)};
  }
  MaskRcnnImpl& detector = *std::get<MaskRcnn>(model);
  const Features levels = detector.neck->forward(detector.backbone->forward(images));
  std::vector<torch::Tensor> outputs = levels;
  const RpnOutputs rpn = detector.rpn_head->forward(levels);
  outputs.insert(outputs.end(), rpn.cls.begin(), rpn.cls.end());
  outputs.insert(outputs.end(), rpn.reg.begin(), rpn.reg.end());
  const torch::Tensor box_features = levels[0].narrow(2, 0, 7).narrow(3, 1, 7);
  const BboxOutputs boxes = detector.roi_head->bbox_heads.at(0)->forward(box_features);
  outputs.insert(outputs.end(), {boxes.cls_score, boxes.bbox_pred});
  const torch::Tensor mask_features = levels[0].narrow(2, 2, 14).narrow(3, 0, 14);
  outputs.push_back(detector.roi_head->mask_heads.at(0)->forward(
      mask_features, torch::zeros({mask_features.size(0)}, torch::kLong)));
  return outputs;
}

// The whole model, prepared, against its modules: two images of odd sizes.
TEST_P(Fixture, GivesTheSameWhenPrepared) {
  torch::manual_seed(1);
  LoadedModel loaded = load_model(fixture(GetParam().fixture));
  randomise_weights(as_module(loaded.module));
  const torch::Tensor images = torch::randn({2, 3, 85, 107});
  const torch::NoGradGuard no_grad;
  const std::vector<torch::Tensor> expected = head_outputs(loaded.module, images);
  prepare_for_inference(as_module(loaded.module));
  const torch::InferenceMode inference;
  const std::vector<torch::Tensor> actual = head_outputs(loaded.module, images);
  EXPECT_GT(prepared_bytes(as_module(loaded.module)), 0);
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const double largest = expected[i].abs().max().item<double>();
    EXPECT_LE((actual[i] - expected[i]).abs().max().item<double>(), 1e-5 * largest)
        << "output " << i;
  }
}

TEST(LoadModel, GivesWhatCanBePreparedUnderInferenceModeToo) {
  const torch::InferenceMode inference;
  LoadedModel loaded = load_model(fixture("upernet_hornet_tiny_gf_s2"));
  prepare_for_inference(as_module(loaded.module));
  std::get<UperNet>(loaded.module)->forward(torch::zeros({1, 3, 64, 64}));
  EXPECT_GT(prepared_bytes(as_module(loaded.module)), 0);
}

TEST(OfficialNames, AreThoseOfTheReadmes) {
  const std::vector<std::string> names = official_names();
  EXPECT_EQ(names.size(), 31);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 31);
  for (const char* name : {"hornet_large_gf_img384", "fpn_mask_rcnn_hornet_small_7x7",
                           "cascade_mask_rcnn_hornet_large_gf", "upernet_hornet_tiny_gf",
                           "horfpn_gf_upernet_hornet_small_7x7"}) {
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  }
}

TEST(OfficialNames, StandForTheirArchitecture) {
  for (const std::string& name : official_names()) {
    EXPECT_EQ(architecture_name(official_architecture(name)), name);
  }
  for (const char* name : {"hornet_huge_gf", "upernet_hornet_huge_gf", "mask_rcnn", ""}) {
    expect_contains(error_of([&] { official_architecture(name); }, ErrorCode::kUsage),
                    "hornet_tiny_gf");
  }
}

TEST(OfficialNames, StandForModelsOfTheCountedSize) {
  for (const char* name :
       {"hornet_tiny_7x7", "hornet_tiny_gf", "cascade_mask_rcnn_hornet_tiny_gf",
        "fpn_mask_rcnn_hornet_small_7x7", "horfpn_7x7_mask_rcnn_hornet_small_7x7",
        "horfpn_gf_mask_rcnn_hornet_small_7x7", "upernet_hornet_tiny_gf",
        "horfpn_7x7_upernet_hornet_small_7x7", "horfpn_gf_upernet_hornet_small_7x7"}) {
    const Architecture architecture = official_architecture(name);
    AnyModel model = build_model(architecture);
    EXPECT_EQ(model_complexity(architecture, {64, 64}).parameters,
              testing::parameter_count(as_module(model)))
        << name;
  }
}

TEST(Architecture, IsReadOffABackboneAlone) {
  const weights::TemporaryFolder folder;
  HorNetOptions options = testing::narrow_hornet_gf();
  options.out_indices = {1, 3};
  options.layer_scale_init = 0;
  weights::save(*HorNet(options), folder / "backbone.safetensors");
  LoadedModel model = load_model(weights::read(folder / "backbone.safetensors"));
  EXPECT_EQ(model.architecture.task, Task::kBackbone);
  EXPECT_EQ(model.architecture.num_classes, 0);
  const HorNetOptions& backbone = std::get<HorNetOptions>(model.architecture.backbone);
  EXPECT_EQ(backbone.out_indices, options.out_indices);
  EXPECT_EQ(backbone.layer_scale_init, 0);
  EXPECT_EQ(architecture_name(model.architecture), "hornet_dim8_1-1-1-1_gf_8x5_4x3");
  EXPECT_TRUE(std::holds_alternative<HorNet>(model.module));
}

// The tensors of a file under other names.
weights::File renamed(const weights::File& file, const std::string& prefix) {
  weights::File out = file;
  out.tensors.clear();
  for (const auto& [key, tensor] : file.tensors) out.tensors[prefix + key] = tensor;
  return out;
}

TEST(Architecture, IsReadOffAClassifierBelowBackbone) {
  const weights::File file = renamed(fixture("hornet_base_7x7_s3"), "backbone.");
  LoadedModel model = load_model(file);
  EXPECT_EQ(model.architecture.task, Task::kClassification);
  EXPECT_TRUE(model.report.complete());
}

std::string recognition_error(const weights::File& file) {
  return error_of([&] { recognise(file); });
}

TEST(Recognise, RefusesWhatIsNoHorNet) {
  weights::File file = weights::read(std::string(HORNET_TEST_DATA) + "/checkpoints/zip.pth");
  const std::string message = recognition_error(file);
  expect_contains(message, "zip.pth");
  expect_contains(message, "downsample_layers.0.0.weight");
  expect_contains(message, "expected a HorNet checkpoint");
  file.tensors.clear();
  expect_contains(recognition_error(file), "downsample_layers.0.0.weight");
}

TEST(Recognise, NamesWhatIsMissing) {
  weights::File detector = fixture("fpn_mask_rcnn_hornet_small_7x7_s1");
  const auto without = [&](const std::string& key) {
    weights::File file = detector;
    EXPECT_EQ(file.tensors.erase(key), 1) << key;
    return recognition_error(file);
  };
  expect_contains(without("backbone.norm2.weight"), "backbone.norm0..3");
  expect_contains(without("backbone.stages.1.0.gnconv.proj_in.weight"),
                  "stages.1.0.gnconv.proj_in");
  expect_contains(without("neck.lateral_convs.0.conv.weight"), "neck.lateral_convs.0.conv.weight");
  expect_contains(without("roi_head.bbox_head.fc_cls.weight"), "fc_cls.weight");
  expect_contains(without("roi_head.mask_head.conv_logits.weight"), "conv_logits.weight");

  weights::File classifier = fixture("hornet_base_7x7_s3");
  classifier.tensors.erase("head.weight");
  expect_contains(recognition_error(classifier), "neither output norms nor a head");
}

TEST(Recognise, RefusesAbsurdSizes) {
  const weights::File file = fixture("upernet_hornet_tiny_gf_s2");
  const auto with_size = [&](const std::string& key, size_t dim, int64_t size) {
    weights::File changed = file;
    changed.tensors.at(key).shape[dim] = size;
    return recognition_error(changed);
  };
  expect_contains(with_size("backbone.downsample_layers.0.0.weight", 0, int64_t{1} << 40),
                  "of size 1099511627776");
  expect_contains(with_size("backbone.downsample_layers.0.0.weight", 0, 0), "of size 0");
  expect_contains(with_size("decode_head.conv_seg.weight", 0, int64_t{1} << 21), "conv_seg");
  expect_contains(with_size("backbone.downsample_layers.0.0.weight", 1, 4), "three colours");
  weights::File flat = file;
  flat.tensors.at("backbone.downsample_layers.0.0.weight").shape.clear();
  expect_contains(recognition_error(flat), "too few dimensions");
}

TEST(LoadModel, RefusesModelsMuchLargerThanTheFile) {
  weights::File file = fixture("hornet_base_7x7_s3");
  file.tensors.at("downsample_layers.0.0.weight").shape[0] = 4096;
  try {
    load_model(file);
    FAIL() << "a model of a few hundred billion parameters was built";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kWeights);
    expect_contains(error.what(), "calls for a model of");
  }
}

TEST(LoadModel, IsStrictUnlessToldOtherwise) {
  weights::File file = fixture("hornet_base_7x7_s3");
  file.tensors["surplus"] = file.tensors.at("norm.bias");
  file.tensors.erase("norm.weight");
  const std::string message = error_of([&] { load_model(file); });
  expect_contains(message, "missing: in the model, not in the file (1):\n    norm.weight");
  expect_contains(message, "unexpected: in the file, not in the model (1):\n    surplus");
  const LoadedModel model = load_model(file, /*allow_partial=*/true);
  EXPECT_EQ(model.report.loaded + 1, model.report.expected);
}

TEST(LoadModel, RefusesWidthsThatDoNotFit) {
  weights::File file = fixture("hornet_base_7x7_s3");
  file.tensors.at("stages.2.3.pwconv1.weight").shape = {32, 32};
  expect_contains(error_of([&] { load_model(file); }),
                  "stages.2.3.pwconv1.weight: file [32,32], model [64,16]");
}

TEST(LoadModel, BlamesTheFileForImpossibleWidths) {
  weights::File file = fixture("hornet_base_7x7_s3");
  file.tensors.at("downsample_layers.0.0.weight").shape[0] = 3;
  const std::string message = error_of([&] { load_model(file); });
  expect_contains(message, "model.pth");
  expect_contains(message, "got 3 channels");
}

TEST(RandomWeights, LeaveNoPartCloseToZeroAndComeAgain) {
  HorNetOptions narrow;
  narrow.base_dim = 16;
  for (StageOptions& stage : narrow.stages) stage.depth = 1;
  narrow.stages[2].global_filter = FilterSize{14, 8};
  HorNet first(narrow), second(narrow);
  for (HorNet& model : {std::ref(first), std::ref(second)}) {
    torch::manual_seed(7);
    randomise_weights(*model);
  }
  for (const auto& item : first->named_parameters()) {
    const torch::Tensor& value = item.value();
    EXPECT_TRUE(torch::equal(value, second->named_parameters()[item.key()])) << item.key();
    if (value.dim() < 2) {
      EXPECT_GE(value.min().item<double>(), 0.1) << item.key();
      EXPECT_LE(value.max().item<double>(), 0.5) << item.key();
    } else if (value.numel() > 1000) {
      const double inputs = static_cast<double>(value[0].numel());
      EXPECT_NEAR(value.std().item<double>() * std::sqrt(inputs), 1, 0.15) << item.key();
    }
  }
}

}  // namespace
}  // namespace hornet
