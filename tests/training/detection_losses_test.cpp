// The losses of Mask R-CNN and its cascade: by hand, at the edges, and until they are learned.
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <hornet/training/detection_losses.h>
#include <hornet/training/initialise.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adamw.h>

#include <cmath>

#include "tests/gradcheck.h"
#include "tests/modules.h"

namespace hornet {
namespace {

using testing::expect_close;
using testing::expect_gradients;
using testing::expect_identical;
using torch::Tensor;

Tensor one_box(float x1, float y1, float x2, float y2) {
  return torch::tensor({x1, y1, x2, y2}).view({1, 4});
}

TEST(GiouLoss, IsWhatPaperAndPencilSay) {
  const Tensor box = one_box(0, 0, 2, 2);
  const auto loss = [&](const Tensor& other) { return giou_loss(box, other).item<double>(); };
  EXPECT_NEAR(loss(box), 0, 1e-6);
  EXPECT_NEAR(loss(one_box(1, 1, 3, 3)), 1 - (1.0 / 7 - 2.0 / 9), 1e-6);
  EXPECT_NEAR(loss(one_box(4, 0, 6, 2)), 1 + 4.0 / 12, 1e-6);  // apart: as far as the gap is wide
  EXPECT_NEAR(loss(one_box(0.5, 0.5, 1.5, 1.5)), 0.75, 1e-6);  // inside: the IoU alone
  EXPECT_EQ(giou_loss(torch::empty({0, 4}), torch::empty({0, 4})).sizes(), torch::IntArrayRef{0});
}

TEST(GiouLoss, HasTheRightGradient) {
  torch::manual_seed(1);
  const Tensor low = torch::rand({9, 2}, torch::kDouble) * 4;
  const Tensor boxes = torch::cat({low, low + 1 + torch::rand({9, 2}, torch::kDouble) * 3}, 1);
  const Tensor others = boxes.flip(0) + torch::rand({9, 4}, torch::kDouble) * 0.3;
  expect_gradients([](const std::vector<Tensor>& in) { return giou_loss(in[0], in[1]); },
                   {boxes, others});
}

TEST(GiouLoss, HasAFiniteGradientForBoxesWithoutArea) {
  const Tensor boxes = torch::tensor({1.f, 1.f, 1.f, 1.f, 0.f, 0.f, 0.f, 5.f, 3.f, 3.f, 3.f, 3.f,
                                      0.f, 0.f, 2.f, 2.f})
                           .view({4, 4});
  const Tensor objects = torch::tensor({1.f, 1.f, 1.f, 1.f, 0.f, 0.f, 2.f, 5.f, 7.f, 7.f, 9.f, 9.f,
                                        1.f, 1.f, 1.f, 1.f})
                             .view({4, 4});
  Tensor leaf = boxes.clone().requires_grad_();
  const Tensor loss = giou_loss(leaf, objects);
  loss.sum().backward();
  EXPECT_TRUE(loss.isfinite().all().item<bool>());
  EXPECT_TRUE(leaf.grad().isfinite().all().item<bool>());
}

TEST(SmoothL1, IsQuadraticUpToBetaAndLinearFromThere) {
  const Tensor values = torch::tensor({0.f, 0.1f, -0.5f, 2.f});
  expect_close(smooth_l1(values, torch::zeros(4), 0.5), torch::tensor({0.f, 0.01f, 0.25f, 1.75f}),
               1e-6);
  expect_close(smooth_l1(values, torch::zeros(4), 0), values.abs(), 0);
}

TEST(MaskTargets, AreTheMaskInsideTheBox) {
  Tensor masks = torch::zeros({3, 40, 50}, torch::kByte);
  masks[0].slice(1, 0, 20).fill_(1);   // left of x = 20
  masks[2].slice(0, 15, 40).fill_(1);  // below y = 15
  const Tensor boxes = torch::cat({one_box(10, 5, 30, 25), one_box(10, 5, 30, 25),
                                   one_box(0, 0, 10, 10), one_box(0, 0, 20, 20)});
  const Tensor truth = mask_targets(masks, torch::tensor({2, 0, 2, 0}, torch::kLong), boxes, 28);
  ASSERT_EQ(truth.sizes(), (torch::IntArrayRef{4, 28, 28}));
  Tensor expected = torch::zeros({4, 28, 28});
  expected[0].slice(0, 14, 28).fill_(1);
  expected[1].slice(1, 0, 14).fill_(1);
  expected[3].fill_(1);
  expect_identical(truth, expected);
  EXPECT_EQ(mask_targets(masks, torch::empty({0}, torch::kLong), torch::empty({0, 4}), 28).sizes(),
            (torch::IntArrayRef{0, 28, 28}));
}

// Three classes on a backbone of 8 channels.
constexpr int64_t kClasses = 3;

MaskRcnn tiny_model(bool cascade, bool class_agnostic = false) {
  auto backbone = std::make_shared<HorNetImpl>(testing::narrow_hornet());
  const Fpn neck(FpnOptions(backbone->feature_info()).channels(16));
  MaskRcnnOptions options(neck->feature_info());
  options.cascade(cascade).num_classes(kClasses);
  options.roi.bbox().fc_channels(64).class_agnostic(class_agnostic);
  MaskRcnn model(backbone, neck, options);
  initialise(*model, Initialisation::kFanIn);
  model->train();
  return model;
}

void zero(torch::nn::Module& module) {
  const torch::NoGradGuard no_grad;
  for (Tensor& parameter : module.parameters()) parameter.zero_();
}

// Nothing is known: all logits and deltas are 0, proposals are anchors.
MaskRcnn undecided_model(bool cascade, bool class_agnostic = false) {
  MaskRcnn model = tiny_model(cascade, class_agnostic);
  zero(*model->rpn_head);
  for (auto& head : model->roi_head->bbox_heads) {
    zero(*head->fc_cls);
    zero(*head->fc_reg);
  }
  for (auto& head : model->roi_head->mask_heads) zero(*head->conv_logits);
  return model;
}

ObjectTargets no_objects(int64_t size = 64) {
  return {torch::empty({0, 4}), torch::empty({0}, torch::kLong),
          torch::empty({0, size, size}, torch::kByte), torch::empty({0}, torch::kBool),
          torch::empty({0, 4})};
}

// Filled rectangles.
ObjectTargets rectangles(const std::vector<std::vector<int64_t>>& boxes,
                         const std::vector<int64_t>& labels, int64_t size = 64) {
  const auto n = static_cast<int64_t>(boxes.size());
  ObjectTargets targets = no_objects(size);
  targets.boxes = torch::empty({n, 4});
  targets.labels = torch::tensor(labels, torch::kLong);
  targets.masks = torch::zeros({n, size, size}, torch::kByte);
  targets.has_mask = torch::ones({n}, torch::kBool);
  for (int64_t i = 0; i < n; ++i) {
    const auto& box = boxes[static_cast<size_t>(i)];
    targets.boxes[i] = torch::tensor(box).to(torch::kFloat32);
    targets.masks[i].slice(0, box[1], box[3]).slice(1, box[0], box[2]).fill_(1);
  }
  return targets;
}

ObjectTargets two_objects() { return rectangles({{8, 8, 48, 40}, {30, 20, 60, 60}}, {1, 2}); }

double part(const Losses& losses, const std::string& name) {
  for (const auto& [key, value] : losses.parts) {
    if (key == name) return value.item<double>();
  }
  ADD_FAILURE() << "no loss " << name;
  return NAN;
}

Losses losses_of(MaskRcnn& model, const std::vector<ObjectTargets>& targets,
                 const DetectionLossOptions& options) {
  const auto n = static_cast<int64_t>(targets.size());
  return detection_losses(*model, torch::rand({n, 3, 64, 64}), targets, options);
}

// With few RoIs, which is all that these small images need.
DetectionLossOptions few_rois(bool cascade) {
  DetectionLossOptions options(cascade);
  options.pre_nms = 200;
  options.max_proposals = 100;
  options.roi_sample.number = 32;
  return options;
}

TEST(DetectionLosses, AssignAsTheAuthorsConfigurationsDo) {
  const DetectionLossOptions plain(/*cascade=*/false), cascade(/*cascade=*/true);
  EXPECT_EQ(plain.rpn_beta, 0);  // L1
  EXPECT_FALSE(plain.rpn_whole_anchors);
  EXPECT_EQ(cascade.rpn_beta, 1.0 / 9);
  EXPECT_TRUE(cascade.rpn_whole_anchors);
  ASSERT_EQ(plain.roi_assign.size(), 1);
  EXPECT_EQ(plain.roi_assign[0].positive_iou, 0.5);
  EXPECT_TRUE(plain.roi_assign[0].low_quality);
  ASSERT_EQ(cascade.roi_assign.size(), 3);
  for (const size_t stage : {0, 1, 2}) {
    const double iou = std::vector<double>{0.5, 0.6, 0.7}[stage];
    EXPECT_EQ(cascade.roi_assign[stage].positive_iou, iou);
    EXPECT_EQ(cascade.roi_assign[stage].negative_iou, iou);
    EXPECT_FALSE(cascade.roi_assign[stage].low_quality);
    EXPECT_EQ(cascade.stage_weights[stage], (std::vector<double>{1, 0.5, 0.25}[stage]));
  }
}

TEST(DetectionLosses, HaveTheNamesOfTheirStages) {
  const auto names = [](bool cascade) {
    MaskRcnn model = tiny_model(cascade);
    std::vector<std::string> found;
    for (const auto& item : losses_of(model, {two_objects()}, few_rois(cascade)).parts) {
      found.push_back(item.first);
    }
    return found;
  };
  EXPECT_EQ(names(false), (std::vector<std::string>{"rpn_cls", "rpn_box", "cls", "box", "mask"}));
  EXPECT_EQ(names(true),
            (std::vector<std::string>{"rpn_cls", "rpn_box", "s0_cls", "s0_box", "s0_mask", "s1_cls",
                                      "s1_box", "s1_mask", "s2_cls", "s2_box", "s2_mask"}));
}

TEST(DetectionLosses, OfAModelThatKnowsNothing) {
  MaskRcnn model = undecided_model(false);
  DetectionLossOptions options = few_rois(false);
  options.max_proposals = 0;  // the RoIs are the objects
  const Losses losses = losses_of(model, {two_objects(), no_objects()}, options);
  // The image without objects has 256 samples and counts with one positive more.
  EXPECT_NEAR(part(losses, "rpn_cls"), std::log(2.0) * 512 / 513, 1e-5);
  EXPECT_NEAR(part(losses, "cls"), std::log(4.0), 1e-5);
  EXPECT_NEAR(part(losses, "box"), 0, 1e-5);
  EXPECT_NEAR(part(losses, "mask"), std::log(2.0), 1e-5);
}

TEST(DetectionLosses, OfTheRpnsBoxesAreL1OfTheirDeltas) {
  MaskRcnn model = undecided_model(false);
  // One object where an anchor is, of stride 8: 64 x 64 pixels around (32, 32).
  const std::vector<ObjectTargets> targets = {rectangles({{0, 0, 64, 64}}, {0})};
  // IoU >= 0.7 are the anchors at most one step of 8 away: 56 * 64 / (64 * 72) = 0.78, and both
  // ways (56 * 56) / (2 * 4096 - 3136) = 0.62 not. Their own deltas are 0 and +-8/64.
  const auto loss = [](double d) { return std::abs(d); };
  for (const double dx : {0.0, 0.05}) {
    {
      const torch::NoGradGuard no_grad;
      model->rpn_head->rpn_reg->bias[4] = dx;  // of the second anchor, ratio 1
    }
    const double step = 8.0 / 64;
    const double sum = 3 * loss(dx) + 2 * loss(step) + loss(dx + step) + loss(dx - step);
    EXPECT_NEAR(part(losses_of(model, targets, few_rois(false)), "rpn_box"), sum / 256, 1e-6);
  }
}

// A cascade's are smooth, and no anchor that leaves the image counts.
TEST(DetectionLosses, OfACascadesRpnAreSmoothL1OfWholeAnchors) {
  MaskRcnn model = undecided_model(true);
  // In the corner where an anchor of stride 4 is, of 32 x 32 pixels. Of its four neighbours, with
  // an IoU of 28 * 32 / (32 * 36) = 0.78, those to the left and above leave the image.
  const std::vector<ObjectTargets> targets = {rectangles({{0, 0, 32, 32}}, {0})};
  const auto loss = [](double d) {
    return std::abs(d) < 1.0 / 9 ? 4.5 * d * d : std::abs(d) - 1.0 / 18;
  };
  DetectionLossOptions options = few_rois(true);
  options.rpn_sample = {8, 0.5};  // the three and five others
  for (const double dx : {0.0, 0.05}) {
    {
      const torch::NoGradGuard no_grad;
      model->rpn_head->rpn_reg->bias[4] = dx;  // of the second anchor, ratio 1
    }
    const double step = 4.0 / 32;
    const double sum = 2 * loss(dx) + loss(step) + loss(dx + step);
    EXPECT_NEAR(part(losses_of(model, targets, options), "rpn_box"), sum / 8, 1e-6);
  }
}

TEST(DetectionLosses, OfBoxesAreGiouOfTheObjectsClass) {
  for (const bool class_agnostic : {false, true}) {
    MaskRcnn model = undecided_model(false, class_agnostic);
    DetectionLossOptions options = few_rois(false);
    options.max_proposals = 0;
    {
      const torch::NoGradGuard no_grad;
      model->roi_head->bbox_heads[0]->fc_reg->bias[class_agnostic ? 0 : 4] = 1;  // dx of class 1
    }
    // Moved by a tenth of the width: IoU = GIoU = 0.9 / 1.1. The other object stays if it can.
    const double moved = 10 * (1 - 0.9 / 1.1);
    const Losses losses = losses_of(model, {two_objects()}, options);
    EXPECT_NEAR(part(losses, "box"), class_agnostic ? moved : moved / 2, 1e-4);
    options.box_loss = BoxLoss::kSmoothL1;
    options.box_weight = 2;
    options.box_beta = 0.5;
    const double distance = 1 - 0.25;
    EXPECT_NEAR(part(losses_of(model, {two_objects()}, options), "box"),
                class_agnostic ? 2 * distance : distance, 1e-4);
  }
}

TEST(DetectionLosses, OfAStageAreOfTheRoisThatTheOneBeforeHasMoved) {
  MaskRcnn model = undecided_model(true);
  DetectionLossOptions options = few_rois(true);
  // The best proposal is the first anchor, 45 x 23 pixels around the origin. The object is as large
  // as what of it is in the image.
  ObjectTargets target = rectangles({{0, 0, 23, 11}}, {1});
  const double w = 16 * std::sqrt(2.0), h = 16 / std::sqrt(2.0);
  target.boxes = one_box(0, 0, static_cast<float>(w), static_cast<float>(h));
  options.max_proposals = 1;
  {
    const torch::NoGradGuard no_grad;
    Tensor& bias = model->roi_head->bbox_heads[0]->fc_reg->bias;
    bias[4] = 1;   // class 1, the RoIs' own: a tenth to the right
    bias[0] = -5;  // class 0, which the scores (all equal) would choose
  }
  const Losses losses = losses_of(model, {target}, options);
  const double moved = 1 - 0.9 / 1.1;
  EXPECT_NEAR(part(losses, "s0_box"), 10 * moved, 1e-4) << "the object and the proposal";
  EXPECT_NEAR(part(losses, "s1_box"), 0.5 * 10 * moved / 2, 1e-4)
      << "the object where it is, and the proposal moved";
  EXPECT_NEAR(part(losses, "s2_box"), 0.25 * 10 * moved / 2, 1e-4);
  EXPECT_NEAR(part(losses, "s2_cls"), 0.25 * std::log(4.0), 1e-5);
  EXPECT_NEAR(part(losses, "s1_mask"), 0.5 * std::log(2.0), 1e-5);
  options.roi_assign[1].positive_iou = 0.9;  // above the IoU of 0.82
  options.roi_assign[1].negative_iou = 0.9;
  EXPECT_NEAR(part(losses_of(model, {target}, options), "s1_box"), 0, 1e-4);
}

void expect_finite(MaskRcnn& model, const Losses& losses) {
  model->zero_grad();
  losses.total().backward();
  for (const auto& [name, value] : losses.parts) {
    EXPECT_EQ(value.scalar_type(), torch::kFloat32) << name;
    EXPECT_TRUE(std::isfinite(value.item<double>())) << name;
  }
  for (const auto& item : model->named_parameters()) {
    const Tensor& gradient = item.value().grad();
    if (!gradient.defined()) continue;
    EXPECT_TRUE(gradient.isfinite().all().item<bool>()) << item.key();
  }
  for (const auto& item : model->named_buffers()) {
    EXPECT_TRUE(item.value().isfinite().all().item<bool>()) << item.key();
  }
}

TEST(DetectionLosses, ReachEveryParameter) {
  torch::manual_seed(2);
  for (const bool cascade : {false, true}) {
    MaskRcnn model = tiny_model(cascade);
    DetectionLossOptions options = few_rois(cascade);
    options.rpn_whole_anchors = false;  // the coarse levels' are larger than these images
    expect_finite(model, losses_of(model, {two_objects(), no_objects()}, options));
    for (const auto& item : model->named_parameters()) {
      ASSERT_TRUE(item.value().grad().defined()) << item.key();
      EXPECT_GT(item.value().grad().abs().max().item<double>(), 0) << item.key();
    }
  }
}

TEST(DetectionLosses, AreFiniteWithoutObjects) {
  for (const bool cascade : {false, true}) {
    MaskRcnn model = tiny_model(cascade);
    const Losses losses = losses_of(model, {no_objects(), no_objects()}, few_rois(cascade));
    expect_finite(model, losses);
    EXPECT_EQ(part(losses, "rpn_box"), 0);
    EXPECT_EQ(part(losses, cascade ? "s2_box" : "box"), 0);
    EXPECT_EQ(part(losses, cascade ? "s2_mask" : "mask"), 0);
    EXPECT_GT(part(losses, cascade ? "s2_cls" : "cls"), 0);
    for (const auto& item : model->named_parameters()) {
      EXPECT_TRUE(item.value().grad().defined()) << item.key();
    }
  }
}

TEST(DetectionLosses, AreZeroWhereAllIsACrowd) {
  for (const bool cascade : {false, true}) {
    MaskRcnn model = tiny_model(cascade);
    ObjectTargets crowd = no_objects();
    crowd.ignored = one_box(-200, -200, 300, 300);
    const Losses losses = losses_of(model, {crowd}, few_rois(cascade));
    expect_finite(model, losses);
    for (const auto& [name, value] : losses.parts) EXPECT_EQ(value.item<double>(), 0) << name;
  }
}

TEST(DetectionLosses, AreFiniteForObjectsWithoutArea) {
  for (const BoxLoss kind : {BoxLoss::kGiou, BoxLoss::kSmoothL1}) {
    MaskRcnn model = tiny_model(true);
    DetectionLossOptions options = few_rois(true);
    options.box_loss = kind;
    ObjectTargets target = two_objects();
    target.boxes[0] = one_box(8, 8, 8, 40)[0];
    expect_finite(model, losses_of(model, {target}, options));
  }
}

TEST(DetectionLosses, OfMasksAreOfTheObjectsThatHaveOne) {
  MaskRcnn model = undecided_model(false);
  DetectionLossOptions options = few_rois(false);
  options.max_proposals = 0;
  {
    const torch::NoGradGuard no_grad;
    model->roi_head->mask_heads[0]->conv_logits->bias[1] = 3;  // class 1: inside
    model->roi_head->mask_heads[0]->conv_logits->bias[2] = -3;
  }
  const auto loss = [&](bool first, bool second) {
    ObjectTargets target = two_objects();
    target.has_mask = torch::tensor(std::vector<int64_t>{first, second}).to(torch::kBool);
    const Losses losses = losses_of(model, {target}, options);
    expect_finite(model, losses);
    return part(losses, "mask");
  };
  const double right = std::log1p(std::exp(-3.0)), wrong = std::log1p(std::exp(3.0));
  EXPECT_NEAR(loss(true, false), right, 1e-5);
  EXPECT_NEAR(loss(false, true), wrong, 1e-5);
  EXPECT_NEAR(loss(true, true), (right + wrong) / 2, 1e-5);
  EXPECT_EQ(loss(false, false), 0);
}

TEST(DetectionLosses, AreFloatsUnderAutocastToo) {
  MaskRcnn model = tiny_model(true);
  at::autocast::set_autocast_dtype(torch::kCPU, torch::kBFloat16);
  at::autocast::set_autocast_enabled(torch::kCPU, true);
  const Losses losses = losses_of(model, {two_objects()}, few_rois(true));
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(torch::kCPU, false);
  expect_finite(model, losses);
}

TEST(DetectionLosses, LeaveTheHeadsNumbersAlone) {
  MaskRcnn model = tiny_model(false);
  losses_of(model, {two_objects()}, few_rois(false));
  EXPECT_EQ(model->rpn_head->options.pre_nms(), 1000);
  EXPECT_EQ(model->rpn_head->options.max_proposals(), 1000);
}

TEST(DetectionLosses, RefuseTargetsThatDoNotFit) {
  MaskRcnn model = tiny_model(true);
  EXPECT_THROW(losses_of(model, {two_objects()}, few_rois(false)), c10::Error);
  EXPECT_THROW(
      detection_losses(*model, torch::rand({2, 3, 64, 64}), {two_objects()}, few_rois(true)),
      c10::Error);
  ObjectTargets target = two_objects();
  target.masks = target.masks.slice(1, 0, 32);
  EXPECT_THROW(losses_of(model, {target}, few_rois(true)), c10::Error);
}

// --- until it is learned

// Noise with the objects in their classes' colours. On a background of nothing but zeros the layer
// norms would divide by almost nothing.
Tensor picture(const ObjectTargets& targets) {
  Tensor image = 0.2 * torch::randn({1, 3, targets.masks.size(1), targets.masks.size(2)});
  for (int64_t i = 0; i < targets.boxes.size(0); ++i) {
    image[0][targets.labels[i].item<int64_t>()].add_(2 * targets.masks[i]);
  }
  return image;
}

// Heads start undecided, as mmdet's do.
void calm(MaskRcnn& model) {
  const torch::NoGradGuard no_grad;
  for (Tensor& parameter : model->rpn_head->parameters()) {
    if (parameter.dim() > 1) parameter.normal_(0, 0.01);
  }
  for (auto& head : model->roi_head->bbox_heads) {
    head->fc_cls->weight.normal_(0, 0.01);
    head->fc_reg->weight.normal_(0, 0.001);
  }
}

double iou_of(const Tensor& a, const Tensor& b) {
  const Tensor sides =
      (torch::min(a, b).slice(0, 2) - torch::max(a, b).slice(0, 0, 2)).clamp_min(0);
  const auto area = [](const Tensor& box) { return (box[2] - box[0]) * (box[3] - box[1]); };
  const Tensor common = sides[0] * sides[1];
  return (common / (area(a) + area(b) - common)).item<double>();
}

double learn(MaskRcnn& model, const Tensor& image, const ObjectTargets& targets,
             const DetectionLossOptions& options, int steps) {
  torch::optim::AdamW optimizer(model->parameters(),
                                torch::optim::AdamWOptions(3e-3).weight_decay(0));
  double last = 0;
  for (int step = 0; step < steps; ++step) {
    if (step == steps * 2 / 3) {
      static_cast<torch::optim::AdamWOptions&>(optimizer.param_groups()[0].options()).lr(5e-4);
    }
    optimizer.zero_grad();
    const Tensor loss = detection_losses(*model, image, {targets}, options).total();
    loss.backward();
    torch::nn::utils::clip_grad_norm_(model->parameters(), 35.0);
    optimizer.step();
    last = loss.item<double>();
  }
  return last;
}

// The best two detections are the two objects, with their labels and masks.
void expect_found(MaskRcnn& model, const Tensor& image, const ObjectTargets& targets) {
  const torch::NoGradGuard no_grad;
  model->eval();
  const Detections found = model->forward(image, {{image.size(2), image.size(3)}})[0];
  ASSERT_GE(found.boxes.size(0), 2);
  for (int64_t i = 0; i < 2; ++i) {
    int64_t best = 0;
    for (int64_t k = 0; k < 2; ++k) {
      if (found.labels[k].equal(targets.labels[i])) best = k;
    }
    EXPECT_TRUE(found.labels[best].equal(targets.labels[i]));
    EXPECT_GT(found.scores[best].item<double>(), 0.5);
    EXPECT_GT(iou_of(found.boxes[best], targets.boxes[i]), 0.8);
    EXPECT_GT((found.mask_probs[best] > 0.5).to(torch::kFloat32).mean().item<double>(), 0.9);
  }
}

void expect_learned(bool cascade, int steps) {
  torch::manual_seed(6);
  MaskRcnn model = tiny_model(cascade);
  calm(model);
  const ObjectTargets targets = rectangles({{10, 16, 58, 50}, {60, 40, 90, 88}}, {0, 2}, 96);
  const Tensor image = picture(targets);
  DetectionLossOptions options = few_rois(cascade);
  options.roi_sample.number = 64;
  const double first = learn(model, image, targets, options, 1);
  const double last = learn(model, image, targets, options, steps);
  EXPECT_GT(first, 3);
  EXPECT_LT(last, 0.25 * first);
  expect_found(model, image, targets);
}

TEST(DetectionLosses, TeachMaskRcnn) { expect_learned(false, 250); }
TEST(DetectionLosses, TeachTheCascade) { expect_learned(true, 160); }

}  // namespace
}  // namespace hornet
