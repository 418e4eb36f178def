// What the kernels of the ops check at entry, the same on each device. A failure names the op and
// the argument, and says what was found.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <limits>

namespace hornet::ops {

inline void check_nms(const at::Tensor& boxes, const at::Tensor& scores) {
  TORCH_CHECK(boxes.dim() == 2 && boxes.size(1) == 4, "hornet::nms: boxes must be [n, 4], found ",
              boxes.sizes());
  TORCH_CHECK(scores.dim() == 1 && scores.size(0) == boxes.size(0), "hornet::nms: scores must be [",
              boxes.size(0), "], one per box, found ", scores.sizes());
  TORCH_CHECK(boxes.device() == scores.device(), "hornet::nms: boxes are on ", boxes.device(),
              ", scores on ", scores.device());
}

// data: the features, or the gradient of the output.
inline void check_roi_align(const at::Tensor& data, const at::Tensor& rois,
                            at::IntArrayRef feature_size, int64_t pooled, int64_t sampling_ratio) {
  TORCH_CHECK(feature_size.size() == 4, "hornet::roi_align: features must be [n, c, h, w], found ",
              feature_size);
  TORCH_CHECK(rois.dim() == 2 && rois.size(1) == 5,
              "hornet::roi_align: rois must be [k, 5], found ", rois.sizes());
  const int64_t pixels = feature_size[2] * feature_size[3];
  TORCH_CHECK(pixels <= std::numeric_limits<int>::max() && (pixels > 0 || rois.size(0) == 0),
              "hornet::roi_align: a feature map must have 1 to 2^31 - 1 pixels, found ",
              feature_size);
  TORCH_CHECK(pooled > 0 && pooled <= 1024, "hornet::roi_align: pooled must be 1 to 1024, found ",
              pooled);
  TORCH_CHECK(sampling_ratio >= 0 && sampling_ratio <= 1024,
              "hornet::roi_align: sampling_ratio must be 0 to 1024, found ", sampling_ratio);
  TORCH_CHECK(data.device() == rois.device(), "hornet::roi_align: features are on ", data.device(),
              ", rois on ", rois.device());
}

inline void check_roi_align_backward(const at::Tensor& grad, const at::Tensor& rois,
                                     at::IntArrayRef feature_size, int64_t pooled,
                                     int64_t sampling_ratio) {
  check_roi_align(grad, rois, feature_size, pooled, sampling_ratio);
  const int64_t expected[] = {rois.size(0), feature_size[1], pooled, pooled};
  TORCH_CHECK(grad.sizes() == at::IntArrayRef(expected),
              "hornet::_roi_align_backward: grad must be ", at::IntArrayRef(expected), ", found ",
              grad.sizes());
}

// Returns the number of packed pixels.
inline int64_t check_paste_masks(const at::Tensor& probs, const at::Tensor& boxes,
                                 const at::Tensor& regions, const at::Tensor& offsets) {
  TORCH_CHECK(probs.dim() == 3 && probs.size(1) == probs.size(2),
              "hornet::paste_masks: probs must be [n, m, m], found ", probs.sizes());
  const int64_t n = probs.size(0);
  TORCH_CHECK(boxes.dim() == 2 && boxes.size(0) == n && boxes.size(1) == 4,
              "hornet::paste_masks: boxes must be [", n, ", 4], found ", boxes.sizes());
  TORCH_CHECK(boxes.device() == probs.device(), "hornet::paste_masks: probs are on ",
              probs.device(), ", boxes on ", boxes.device());
  TORCH_CHECK(regions.is_cpu() && regions.scalar_type() == at::kLong && regions.dim() == 2 &&
                  regions.size(0) == n && regions.size(1) == 4,
              "hornet::paste_masks: regions must be int64 [", n, ", 4] on the CPU, found ",
              regions.scalar_type(), " ", regions.sizes(), " on ", regions.device());
  const at::Tensor areas = regions.select(1, 2) * regions.select(1, 3);
  TORCH_CHECK(offsets.equal(areas.cumsum(0) - areas),
              "hornet::paste_masks: offsets must be the running sum of the regions' areas, found ",
              offsets);
  return areas.sum().item<int64_t>();
}

}  // namespace hornet::ops
