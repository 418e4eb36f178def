// RoIAlign (Mask R-CNN, arXiv 1703.06870, section 3) with average pooling, aligned=True and
// adaptive sampling, as mmcv's and torchvision's: coordinates are scaled and shifted by -0.5,
// RoIs have no minimum size, a bin takes ceil(roi_h / pooled_h) x ceil(roi_w / pooled_w) samples
// (or sampling_ratio^2 if that is > 0). Dispatcher op hornet::roi_align on CPU, CUDA and
// Autograd; the arithmetic stands once, in roi_align_sample.h.
#pragma once

#include <torch/types.h>

namespace hornet::ops {

// features [N,C,H,W] (any floating type; computed in float32 or float64), rois [K,5] =
// (image index, x1, y1, x2, y2) in input pixels. Returns [K,C,pooled,pooled] in the features'
// type. Differentiable in the features. K = 0 gives an empty result; an empty RoI gives zeros.
torch::Tensor roi_align(const torch::Tensor& features, const torch::Tensor& rois,
                        double spatial_scale, int64_t pooled, int64_t sampling_ratio = 0);

}  // namespace hornet::ops
