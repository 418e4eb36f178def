// Which boxes are to find which objects: the first half of the losses of the R-CNN family.
//
//   const torch::Tensor assigned = assign_boxes(anchors, objects, crowds, {});
//   const BoxSamples samples = sample_boxes(assigned, {256, 0.5});
//   objects.index_select(0, assigned.index_select(0, samples.positive));  // the object of each
//
// As mmdet's MaxIoUAssigner and RandomSampler. Boxes are (x1, y1, x2, y2), float32.
#pragma once

#include <torch/types.h>

namespace hornet {

constexpr int64_t kBackground = -1, kNeither = -2;

struct AssignRules {
  double positive_iou = 0.7, negative_iou = 0.3;
  bool low_quality = true;  // an object's best boxes are positive too,
  double least_iou = 0.3;   // from this IoU on
  double ignored_share = 0.5;
};

// For each of boxes [K,4] the index of its object in `objects` [n,4], kBackground or kNeither:
// int64 [K]. A box is positive for the object with which its IoU is largest, if that is at least
// positive_iou, and background below negative_iou. With low_quality all boxes of an object's
// largest IoU are its own; where objects share one, the last object has it. What lies inside an
// ignored region [m,4] with ignored_share of its own area, and is not positive, is neither. Takes
// no boxes, no objects, and an undefined `ignored`.
torch::Tensor assign_boxes(const torch::Tensor& boxes, const torch::Tensor& objects,
                           const torch::Tensor& ignored, const AssignRules& rules);

struct SampleRules {
  int64_t number = 256;
  double positive_share = 0.5;  // at most
};

struct BoxSamples {
  torch::Tensor positive, negative;  // indices of boxes, ascending
};

// `number` boxes at random (LibTorch's generator), or as many as there are: positive ones up to
// their share, the rest background.
BoxSamples sample_boxes(const torch::Tensor& assigned, const SampleRules& rules);

}  // namespace hornet
