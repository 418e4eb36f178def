// Weights of one model in another.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/checkpoint.h>
#include <hornet/heads/model.h>
#include <hornet/training/architecture.h>
#include <hornet/training/pretrained.h>

#include "tests/modules.h"
#include "tests/weights/helpers.h"

namespace hornet {
namespace {

using testing::expect_close;
using testing::expect_identical;

Architecture narrow_upernet(int64_t classes, const HorNetOptions& backbone) {
  Architecture architecture;
  architecture.task = Task::kSegmentation;
  architecture.backbone = backbone;
  architecture.num_classes = classes;
  architecture.segmentor = UperNetOptions(feature_info(architecture.backbone));
  architecture.segmentor->num_classes(classes).decode.channels(8);
  return architecture;
}

UperNet make(const Architecture& architecture) {
  AnyModel model = build_model(architecture);
  testing::randomise(as_module(model));
  return std::get<UperNet>(model);
}

torch::Tensor value(torch::nn::Module& module, const std::string& name) {
  return module.named_parameters()[name].detach();
}

class Pretrained : public ::testing::Test {
 protected:
  weights::File saved(const torch::nn::Module& module) {
    weights::save(module, folder_ / "model.safetensors");
    return weights::read(folder_ / "model.safetensors");
  }
  weights::TemporaryFolder folder_;
};

TEST_F(Pretrained, AClassifierGivesItsBackboneWithFiltersResized) {
  HorNetClassifier classifier(testing::narrow_hornet_gf(), 5);
  testing::randomise(*classifier);
  HorNetOptions wider = testing::narrow_hornet_gf();
  wider.stages[2].global_filter = FilterSize{12, 7};
  UperNet model = make(narrow_upernet(3, wider));
  const torch::Tensor head = value(*model, "decode_head.conv_seg.weight").clone();
  const PretrainedReport report = load_pretrained(*model, saved(*classifier));

  EXPECT_EQ(report.resized.size(), 1);
  EXPECT_NE(report.text().find("stages.2.0.gnconv.dwconv.complex_weight: 8x5 to 12x7"),
            std::string::npos);
  EXPECT_EQ(report.unused,
            (std::vector<std::string>{"head.bias", "head.weight", "norm.bias", "norm.weight"}));
  expect_identical(value(*model, "decode_head.conv_seg.weight"), head);
  expect_identical(value(*model, "backbone.stages.3.0.gnconv.dwconv.complex_weight"),
                   value(*classifier, "stages.3.0.gnconv.dwconv.complex_weight"));
  const torch::Tensor from = value(*classifier, "stages.2.0.gnconv.dwconv.complex_weight");
  const torch::Tensor to = value(*model, "backbone.stages.2.0.gnconv.dwconv.complex_weight");
  // Corners stay, and row 1 of 12 lies 7/11 of a row below row 0 of 8.
  expect_close(to[0][0][0], from[0][0][0]);
  expect_close(to[1][11][6], from[1][7][4]);
  expect_close(to[0][1][0], from[0][0][0] * (4.0 / 11) + from[0][1][0] * (7.0 / 11), 1e-5);
}

TEST_F(Pretrained, ASegmentorFitsOneOfOtherClassesButForTheClassifiers) {
  UperNet given = make(narrow_upernet(3, testing::narrow_hornet()));
  UperNet model = make(narrow_upernet(4, testing::narrow_hornet()));
  const PretrainedReport report = load_pretrained(*model, saved(*given));
  EXPECT_EQ(report.unused.size(), 4);  // weight and bias of both classifiers
  EXPECT_EQ(report.untouched.size(), 4);
  EXPECT_TRUE(report.resized.empty());
  expect_identical(model->decode_head->bottleneck->bn->running_var,
                   given->decode_head->bottleneck->bn->running_var);
}

TEST_F(Pretrained, ASegmentorGivesItsBackboneToAClassifier) {
  UperNet given = make(narrow_upernet(3, testing::narrow_hornet()));
  HorNetClassifier classifier(testing::narrow_hornet(), 5);
  load_pretrained(*classifier, saved(*given));
  expect_identical(value(*classifier, "stages.3.0.pwconv1.weight"),
                   value(*given, "backbone.stages.3.0.pwconv1.weight"));
}

TEST_F(Pretrained, StrangersAreRefused) {
  const torch::nn::Sequential stranger(torch::nn::Linear(3, 4));
  HorNetClassifier classifier(testing::narrow_hornet(), 5);
  const std::string message =
      weights::error_of([&] { load_pretrained(*classifier, saved(*stranger)); });
  weights::expect_contains(message, "model.safetensors");
  weights::expect_contains(message, "'0.bias'");
}

TEST_F(Pretrained, ACheckpointsArchitectureIsTrainedForOtherClasses) {
  Architecture given = narrow_upernet(3, testing::narrow_hornet_gf());
  given.segmentor->auxiliary.reset();
  ModelChanges changes;
  changes.classes = 7;
  changes.drop_path = 0.2;
  const weights::File file = saved(*make(given));
  const Architecture architecture = segmentation_architecture(file, changes);
  EXPECT_EQ(architecture.num_classes, 7);
  EXPECT_EQ(architecture.segmentor->decode.channels(), 8);
  EXPECT_EQ(std::get<HorNetOptions>(architecture.backbone).drop_path_rate, 0.2);
  ASSERT_TRUE(architecture.segmentor->auxiliary);
  EXPECT_EQ(architecture.segmentor->auxiliary->channels(), 8);
  changes.width = 16;
  EXPECT_THROW(segmentation_architecture(file, changes), Error);
  EXPECT_THROW(classification_architecture(file, {}), Error);
}

TEST(Architectures, OfTheTableTakeOtherSizes) {
  ModelChanges changes;
  changes.classes = 11;
  changes.width = 16;
  changes.depths = {1, 2, 1, 1};
  changes.head_channels = 24;
  const Architecture architecture = segmentation_architecture("hornet_pico_gf", changes);
  UperNet model = make(architecture);
  EXPECT_EQ(model->decode_head->options.channels(), 24);
  EXPECT_EQ(model->auxiliary_head->options.num_classes(), 11);
  EXPECT_EQ(model->backbone->feature_info()[3].channels, 128);
  EXPECT_EQ(architecture_name(architecture), "upernet_hornet_dim16_1-2-1-1_gf_14x8_7x4");
  EXPECT_THROW(segmentation_architecture("fpn_mask_rcnn_hornet_small_7x7", changes), Error);
  EXPECT_THROW(segmentation_architecture("hornet_huge", changes), Error);
}

TEST(Classes, AreReadFromNamesAndFiles) {
  const weights::TemporaryFolder folder;
  EXPECT_EQ(read_classes("camvid").names.at(8), "car");
  std::ofstream(folder / "names.txt") << "grass\r\n\nwater \n";
  EXPECT_EQ(read_classes((folder / "names.txt").string()).names,
            (std::vector<std::string>{"grass", "water"}));
  std::ofstream(folder / "empty.txt") << "\n";
  EXPECT_THROW(read_classes((folder / "empty.txt").string()), Error);
  EXPECT_THROW(read_classes("no such file"), Error);
}

}  // namespace
}  // namespace hornet
