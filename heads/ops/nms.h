// Non-maximum suppression, exactly as mmcv's and torchvision's: boxes [N,4] (x1,y1,x2,y2) in
// float32, no +1 in areas, a box is suppressed if IoU > threshold with a better one that is kept.
// Dispatcher op hornet::nms on CPU and CUDA; the arithmetic stands once, in box_iou.h.
#pragma once

#include <torch/types.h>

#include <limits>

namespace hornet::ops {

// Indices (int64) of the boxes that are kept, best score first. Ties keep the lower index first.
// Boxes of no overlap (0/0) never suppress each other. Empty input gives an empty result.
torch::Tensor nms(const torch::Tensor& boxes, const torch::Tensor& scores, double iou_threshold);

constexpr int64_t kNeverSplit = std::numeric_limits<int64_t>::max();

// NMS within each class: boxes are moved apart by class_id * (largest coordinate + 1) in float32
// first, as mmcv does (so IoUs are of slightly rounded boxes, and borderline cases agree). More
// than `split_above` boxes stay where they are and go class by class, as torchvision's from 1000.
torch::Tensor batched_nms(const torch::Tensor& boxes, const torch::Tensor& scores,
                          const torch::Tensor& class_ids, double iou_threshold,
                          int64_t split_above = kNeverSplit);

}  // namespace hornet::ops
