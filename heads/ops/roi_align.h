// RoIAlign (Mask R-CNN, arXiv 1703.06870, section 3) with average pooling, as mmcv's and
// torchvision's. A bin takes ceil(roi_h / pooled_h) x ceil(roi_w / pooled_w) samples, or
// sampling_ratio^2 if that is > 0. Aligned: coordinates are scaled and shifted by -0.5, and RoIs
// have no minimum size. Not aligned, as the detectors of torchvision were trained: coordinates are
// scaled only, and a RoI that is shorter than one feature pixel counts as one. Dispatcher op
// hornet::roi_align on CPU, CUDA and Autograd; the arithmetic stands once, in roi_align_sample.h.
#pragma once

#include <torch/types.h>

namespace hornet::ops {

// features [N,C,H,W] (any floating type; computed in float32 or float64), rois [K,5] =
// (image index, x1, y1, x2, y2) in input pixels. Returns [K,C,pooled,pooled] in the features'
// type. Differentiable in the features. K = 0 gives an empty result; an empty RoI gives zeros if
// aligned.
torch::Tensor roi_align(const torch::Tensor& features, const torch::Tensor& rois,
                        double spatial_scale, int64_t pooled, int64_t sampling_ratio = 0,
                        bool aligned = true);

}  // namespace hornet::ops
