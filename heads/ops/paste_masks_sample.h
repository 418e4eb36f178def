// One pixel of a pasted mask, for the CPU and the CUDA kernel alike, in float32.
#pragma once

#include <hornet/backbone/ops/host_device.h>

#include <cmath>
#include <cstdint>

namespace hornet::ops {

// The two neighbours of an image pixel's centre among the m mask values along one axis.
struct MaskTap {
  int low;  // low or low + 1 may lie outside the mask, where it counts as 0
  float low_weight, high_weight;
};

HORNET_HOST_DEVICE inline MaskTap mask_tap(int64_t pixel, float box_low, float box_high, int m) {
  float across = (pixel + 0.5f - box_low) / (box_high - box_low) * 2 - 1;  // -1 to 1 in the box
  if (std::isinf(across)) across = 0;
  const float position = ((across + 1) * m - 1) / 2;
  if (!(position > -1 && position < m)) return {-2, 0, 0};  // outside, or NaN
  const float low = std::floor(position);
  return {static_cast<int>(low), 1 - (position - low), position - low};
}

// The same for a box of whole pixels, low to high, that covers the mask and a border of zeros one
// value wide, and for a mask that is resized to those pixels.
HORNET_HOST_DEVICE inline MaskTap bordered_mask_tap(int64_t pixel, float box_low, float box_high,
                                                    int m) {
  const float scale = (m + 2) / (box_high - box_low);
  const float unclamped = scale * (pixel - box_low + 0.5f) - 0.5f;  // 0 is the border's value
  const float position = unclamped > 0 ? unclamped : 0;
  const int low = static_cast<int>(position);
  return {low - 1, 1 - (position - low), position - low};
}

HORNET_HOST_DEVICE inline MaskTap mask_tap(int64_t pixel, float box_low, float box_high, int m,
                                           bool bordered) {
  return bordered ? bordered_mask_tap(pixel, box_low, box_high, m)
                  : mask_tap(pixel, box_low, box_high, m);
}

HORNET_HOST_DEVICE inline float mask_value(const float* probs, int m, int row, int column) {
  return row >= 0 && row < m && column >= 0 && column < m ? probs[row * m + column] : 0;
}

HORNET_HOST_DEVICE inline float mask_sample(const float* probs, int m, const MaskTap& y,
                                            const MaskTap& x) {
  return mask_value(probs, m, y.low, x.low) * (x.low_weight * y.low_weight) +
         mask_value(probs, m, y.low, x.low + 1) * (x.high_weight * y.low_weight) +
         mask_value(probs, m, y.low + 1, x.low) * (x.low_weight * y.high_weight) +
         mask_value(probs, m, y.low + 1, x.low + 1) * (x.high_weight * y.high_weight);
}

}  // namespace hornet::ops
