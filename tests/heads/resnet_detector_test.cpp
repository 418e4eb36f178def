// Mask R-CNN on a ResNet: swapping backbones, and both layouts of its checkpoints.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/heads/model.h>
#include <hornet/heads/model_complexity.h>

#include "tests/heads/detector_files.h"
#include "tests/modules.h"

namespace hornet {
namespace {

using testing::as_mmdet_file;
using testing::as_torchvision_file;
using testing::error_of;
using testing::expect_contains;
using testing::expect_identical;
using testing::narrow_resnet_detector;
using torch::Tensor;

weights::File without(weights::File file, const std::string& key) {
  EXPECT_EQ(file.tensors.erase(key), 1) << key;
  return file;
}

MaskRcnn detector_of(const weights::File& file) {
  return std::get<MaskRcnn>(load_model(file).module);
}

void expect_equal_state(MaskRcnn a, MaskRcnn b) {
  const auto parameters = b->named_parameters();
  const auto buffers = b->named_buffers();
  for (const auto& item : a->named_parameters()) {
    const Tensor* other = parameters.find(item.key());
    if (other == nullptr) other = &buffers[item.key()];
    expect_identical(item.value(), *other);
  }
}

// One line differs between the two.
class SwappedBackbone : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Names, SwappedBackbone, ::testing::Values("resnet50", "hornet_tiny_gf"));

TEST_P(SwappedBackbone, TakesTheSameNeckAndHeads) {
  const torch::NoGradGuard no_grad;
  const auto backbone = make_backbone(GetParam());
  Fpn neck(FpnOptions(backbone->feature_info()).channels(16));
  MaskRcnnOptions options(neck->feature_info());
  options.num_classes(3);
  options.roi.bbox().fc_channels(16);
  MaskRcnn model(backbone, neck, options);
  model->eval();
  const std::vector<Detections> found = model->forward(torch::randn({1, 3, 64, 96}), {{60, 90}});
  ASSERT_EQ(found.size(), 1);
  EXPECT_EQ(found[0].boxes.size(1), 4);
  EXPECT_EQ(found[0].mask_probs.size(0), found[0].scores.size(0));
}

TEST(ResNetDetector, LoadsMmdetsLayout) {
  for (const bool cascade : {false, true}) {
    MaskRcnn model = narrow_resnet_detector(cascade);
    LoadedModel loaded = load_model(as_mmdet_file(model));
    const Architecture& found = loaded.architecture;
    EXPECT_TRUE(loaded.report.complete());
    EXPECT_EQ(architecture_name(found),
              std::string(cascade ? "cascade_" : "") + "mask_rcnn_resnet_width4_1-2-1-1_fpn");
    EXPECT_EQ(found.num_classes, 3);
    EXPECT_EQ(found.detector->conventions, Conventions::kMmdet);
    EXPECT_EQ(found.detector->roi.bbox().fcs(), 2);
    EXPECT_EQ(found.detector->roi.bbox().class_agnostic(), cascade);
    const auto& resnet = std::get<ResNetOptions>(found.backbone);
    EXPECT_FALSE(resnet.frozen_norm);
    EXPECT_EQ(resnet.norm_eps, 1e-5);
    expect_equal_state(model, std::get<MaskRcnn>(loaded.module));
    EXPECT_EQ(model_complexity(found, {64, 64}).parameters,
              testing::parameter_count(as_module(loaded.module)));
  }
}

TEST(ResNetDetector, LoadsBothSpellingsOfTorchvisionsLayout) {
  MaskRcnn model = narrow_resnet_detector();
  for (const bool older : {false, true}) {
    LoadedModel loaded = load_model(as_torchvision_file(model, older));
    const Architecture& found = loaded.architecture;
    EXPECT_TRUE(loaded.report.complete());
    EXPECT_EQ(architecture_name(found), "mask_rcnn_resnet_width4_1-2-1-1_fpn");
    EXPECT_EQ(found.num_classes, 3);
    EXPECT_EQ(found.detector->conventions, Conventions::kTorchvision);
    const auto& resnet = std::get<ResNetOptions>(found.backbone);
    EXPECT_TRUE(resnet.frozen_norm);
    EXPECT_EQ(resnet.norm_eps, older ? 0 : 1e-5);
    expect_equal_state(model, std::get<MaskRcnn>(loaded.module));
    EXPECT_EQ(model_complexity(found, {64, 64}).parameters,
              testing::parameter_count(as_module(loaded.module)));
  }
}

TEST(ResNetDetector, TrainableNormInTorchvisionsLayoutHasItsEpsilon) {
  weights::File file = as_torchvision_file(narrow_resnet_detector(), /*older=*/true);
  const Tensor counter = torch::zeros({}, torch::kLong);
  file.tensors["backbone.body.bn1.num_batches_tracked"] = weights::from_torch(counter);
  const Architecture found = recognise(file);
  EXPECT_FALSE(std::get<ResNetOptions>(found.backbone).frozen_norm);
  EXPECT_EQ(std::get<ResNetOptions>(found.backbone).norm_eps, 1e-5);
}

TEST(ResNetDetector, BothLayoutsGiveTheSameFeatures) {
  const torch::NoGradGuard no_grad;
  MaskRcnn model = narrow_resnet_detector();
  const Tensor images = torch::randn({2, 3, 64, 96});
  MaskRcnn mmdet = detector_of(as_mmdet_file(model));
  MaskRcnn torchvision = detector_of(as_torchvision_file(model, false));
  const Features a = mmdet->neck->forward(mmdet->backbone->forward(images));
  const Features b = torchvision->neck->forward(torchvision->backbone->forward(images));
  for (size_t i = 0; i < a.size(); ++i) expect_identical(a[i], b[i]);
}

TEST(ResNetDetector, ClassAgnosticBoxesAreThoseOfEveryClass) {
  const torch::NoGradGuard no_grad;
  MaskRcnn agnostic = narrow_resnet_detector(/*cascade=*/true);
  Architecture spread = recognise(as_mmdet_file(agnostic));
  spread.detector->roi.bbox().class_agnostic(false);
  MaskRcnn by_class = std::get<MaskRcnn>(build_model(spread));
  for (const auto& item : by_class->named_parameters()) {
    const Tensor source = agnostic->named_parameters()[item.key()];
    std::vector<int64_t> repeats(source.dim(), 1);
    if (source.size(0) != item.value().size(0)) repeats[0] = 3;
    item.value().copy_(source.repeat(repeats));
  }
  for (const auto& item : by_class->named_buffers()) {
    item.value().copy_(agnostic->named_buffers()[item.key()]);
  }
  by_class->eval();
  const Tensor images = torch::randn({1, 3, 96, 128});
  const Detections one = agnostic->forward(images, {{90, 120}})[0];
  const Detections each = by_class->forward(images, {{90, 120}})[0];
  ASSERT_GT(one.scores.size(0), 0);
  testing::expect_close(one.boxes, each.boxes, 1e-4);
  testing::expect_close(one.scores, each.scores);
  expect_identical(one.labels, each.labels);
}

TEST(ResNetDetector, LoadsABackboneAlone) {
  const torch::NoGradGuard no_grad;
  const weights::TemporaryFolder folder;
  MaskRcnn model = narrow_resnet_detector();
  weights::save(*model->backbone, folder / "resnet.safetensors");
  LoadedModel loaded = load_model(weights::read(folder / "resnet.safetensors"));
  EXPECT_EQ(loaded.architecture.task, Task::kBackbone);
  EXPECT_EQ(architecture_name(loaded.architecture), "resnet_width4_1-2-1-1");
  EXPECT_GT(model_complexity(loaded.architecture, {224, 224}).flops, 0);
  const Tensor images = torch::randn({1, 3, 64, 64});
  testing::expect_close(std::get<ResNet>(loaded.module)->forward(images),
                        model->backbone->forward(images));
}

std::string message_of(const weights::File& file) {
  return error_of([&] { load_model(file); });
}

TEST(ResNetDetector, MessagesSpeakTheFilesLanguage) {
  MaskRcnn model = narrow_resnet_detector();
  for (const bool older : {false, true}) {
    const weights::File file = as_torchvision_file(model, older);
    const std::string rpn = older ? "rpn.head.conv.bias" : "rpn.head.conv.0.0.bias";
    expect_contains(message_of(without(file, rpn)),
                    "missing: in the model, not in the file (1):\n    " + rpn);
    expect_contains(message_of(without(file, "roi_heads.mask_predictor.mask_fcn_logits.weight")),
                    "lacks 'roi_heads.mask_predictor.mask_fcn_logits.weight'");
    expect_contains(message_of(without(file, "backbone.body.layer1.0.conv1.weight")),
                    "lacks 'backbone.body.layer1.0.conv1.weight'");
    weights::File surplus = file;
    surplus.tensors["roi_heads.keypoint_head.0.weight"] = file.tensors.begin()->second;
    expect_contains(message_of(surplus), "(1):\n    roi_heads.keypoint_head.0.weight");
    weights::File narrow = file;
    weights::Tensor& reg = narrow.tensors.at("roi_heads.box_predictor.bbox_pred.weight");
    reg.shape[0] -= 4;
    expect_contains(message_of(narrow), "roi_heads.box_predictor.bbox_pred.weight: file [8,16]");
  }
}

TEST(ResNetDetector, MixedSpellingsAreUnexpected) {
  MaskRcnn model = narrow_resnet_detector();
  weights::File file = as_torchvision_file(model, false);
  const auto node = file.tensors.extract("backbone.fpn.inner_blocks.2.0.weight");
  file.tensors["backbone.fpn.inner_blocks.2.weight"] = node.mapped();
  const std::string message = message_of(file);
  expect_contains(message,
                  "missing: in the model, not in the file (1):\n    "
                  "backbone.fpn.inner_blocks.2.0.weight");
  expect_contains(message, "(1):\n    backbone.fpn.inner_blocks.2.weight");

  // A name of this project's own is as foreign there as any other.
  weights::File own = as_torchvision_file(model, false);
  own.tensors["backbone.bn1.weight"] = own.tensors.at("backbone.body.bn1.bias");
  expect_contains(message_of(own), "(1):\n    backbone.bn1.weight");
}

TEST(ResNetDetector, RefusesWhatItDoesNotRun) {
  const weights::File file = as_mmdet_file(narrow_resnet_detector());
  const weights::Tensor any = file.tensors.at("backbone.bn1.weight");
  expect_contains(message_of(without(file, "backbone.layer1.0.conv3.weight")), "basic blocks");
  expect_contains(message_of(without(file, "backbone.layer3.0.conv1.weight")),
                  "lacks 'backbone.layer3.0.conv1.weight'");
  weights::File headless = file;
  for (auto it = headless.tensors.begin(); it != headless.tensors.end();) {
    it = it->first.rfind("backbone.", 0) == 0 ? std::next(it) : headless.tensors.erase(it);
  }
  EXPECT_EQ(recognise(headless).task, Task::kBackbone);
  weights::File classifier = headless, segmentor = headless;
  classifier.tensors["backbone.fc.weight"] = any;
  segmentor.tensors["decode_head.conv_seg.weight"] = any;
  expect_contains(message_of(classifier), "is a ResNet for classification");
  expect_contains(message_of(segmentor), "is a ResNet for segmentation");
  weights::File wide = file;
  wide.tensors.at("backbone.conv1.weight").shape[0] = 1 << 20;
  expect_contains(message_of(wide), "of size 1048576");
  wide.tensors.at("backbone.conv1.weight").shape[0] = 4096;
  expect_contains(message_of(wide), "calls for a model of");
}

TEST(ResNetDetector, IsCountedAsPublished) {
  Architecture mmdet;
  mmdet.task = Task::kDetection;
  mmdet.backbone = resnet_variant("resnet50");
  mmdet.num_classes = 80;
  mmdet.neck = FpnOptions(feature_info(mmdet.backbone));
  mmdet.detector = MaskRcnnOptions(FpnImpl::feature_info(*mmdet.neck)).num_classes(80);
  EXPECT_EQ(architecture_name(mmdet), "mask_rcnn_resnet50_fpn");
  const Complexity count = model_complexity(mmdet, {800, 1280});
  EXPECT_NEAR(static_cast<double>(count.parameters) / 1e6, 44, 0.5);  // 44 M and 260 G in the
  EXPECT_NEAR(static_cast<double>(count.flops) / 1e9, 260, 2);        // papers' tables

  // torchvision's documentation has 44,401,393 parameters, its batch norm being frozen.
  std::get<ResNetOptions>(mmdet.backbone).frozen_norm = true;
  mmdet.num_classes = 90;
  const int64_t background = (4 * 1024 + 4) + (256 + 1);  // rows that are dropped
  EXPECT_EQ(model_complexity(mmdet, {800, 1280}).parameters, 44401393 - background);
}

}  // namespace
}  // namespace hornet
