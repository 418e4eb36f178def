// The losses of Mask R-CNN and Cascade Mask R-CNN, as mmdet 2.x computes them with the authors'
// configurations (random samples, GIoU of decoded boxes):
//
//   const DetectionLossOptions options(/*cascade=*/true);
//   Losses losses = detection_losses(*model, images, targets, options);
//
//   rpn_cls, rpn_box   binary cross-entropy and smooth L1 of 256 anchors an image, at most half of
//                      them positive; sums divided by the number of the batch's samples
//   cls, box           cross-entropy and GIoU of 512 RoIs an image, at most a quarter of them
//                      positive; sums divided by the number of the batch's RoIs
//   mask               binary cross-entropy of the 28x28 masks, mean over the positive RoIs
//
// A cascade has the last three for each stage ("s0_cls" ...), whose RoIs are those of the stage
// before, moved by its deltas. The objects themselves are RoIs too.
//
// Losses are float32, under autocast too, and finite if images or the whole batch have no objects.
#pragma once

#include <hornet/heads/mask_rcnn.h>
#include <hornet/training/box_assignment.h>
#include <hornet/training/task.h>

namespace hornet {

// What is to be found in one image, in pixels of the network's input, on its device.
struct ObjectTargets {
  torch::Tensor boxes;     // [n,4] float32
  torch::Tensor labels;    // [n] int64
  torch::Tensor masks;     // [n,H,W] uint8, 0 or 1, of the input's size
  torch::Tensor has_mask;  // [n] bool: an object with a box alone trains no mask
  torch::Tensor ignored;   // [m,4]: crowds, in which nothing counts as background
};

enum class BoxLoss {
  kGiou,     // of the decoded boxes
  kSmoothL1  // of the deltas
};

// The authors' numbers, which differ between the two models, but for two: their plain Mask R-CNN
// has L1 of the RoIs' deltas (kSmoothL1 with beta 0, weight 1), and they have no ignored regions.
struct DetectionLossOptions {
  explicit DetectionLossOptions(bool cascade);

  AssignRules rpn_assign;
  SampleRules rpn_sample = {256, 0.5};
  double rpn_beta;         // where smooth L1 of the RPN's deltas becomes linear: 1/9, plain 0
  bool rpn_whole_anchors;  // none that leave the image are sampled: only of a cascade
  int64_t pre_nms = 2000;  // candidates per level
  int64_t max_proposals;   // per image: 2000, plain 1000

  std::vector<AssignRules> roi_assign;  // of each stage
  SampleRules roi_sample = {512, 0.25};
  std::vector<double> stage_weights;
  BoxLoss box_loss = BoxLoss::kGiou;
  double box_weight = 10;
  double box_beta = 1;  // for kSmoothL1
};

// images [N,3,H,W], normalised, without padding; targets of each. The model in training mode.
Losses detection_losses(MaskRcnnImpl& model, const torch::Tensor& images,
                        const std::vector<ObjectTargets>& targets,
                        const DetectionLossOptions& options);

// 1 - GIoU (arXiv 1902.09630) of each pair of boxes [K,4]: [K], from 0 to 2. The gradient is finite
// for boxes without area.
torch::Tensor giou_loss(const torch::Tensor& boxes, const torch::Tensor& objects);

// Smooth L1 with a linear part from `beta` on; beta 0 is L1. Elementwise.
torch::Tensor smooth_l1(const torch::Tensor& values, const torch::Tensor& truth, double beta);

// What the mask head is to say about boxes [K,4]: `size` x `size` of the masks [n,H,W] of their
// objects (int64 [K]), 0 or 1, float32 [K,size,size].
torch::Tensor mask_targets(const torch::Tensor& masks, const torch::Tensor& objects,
                           const torch::Tensor& boxes, int64_t size);

}  // namespace hornet
