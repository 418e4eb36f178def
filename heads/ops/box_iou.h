// The arithmetic of NMS, for the CPU and the CUDA kernel alike, in float32.
#pragma once

#include <hornet/backbone/ops/host_device.h>

namespace hornet::ops {

struct Box {
  float x1, y1, x2, y2;
};

HORNET_HOST_DEVICE inline float box_area(const Box& box) {
  return (box.x2 - box.x1) * (box.y2 - box.y1);
}

// Whether the IoU of two boxes exceeds the threshold. A box with a NaN has the area NaN, so its
// IoU is NaN and false, whatever the comparisons make of its corners; so is the 0/0 of two empty
// boxes.
HORNET_HOST_DEVICE inline bool overlaps(const Box& a, float area_a, const Box& b, float area_b,
                                        float threshold) {
  const float left = a.x1 > b.x1 ? a.x1 : b.x1;
  const float top = a.y1 > b.y1 ? a.y1 : b.y1;
  const float right = a.x2 < b.x2 ? a.x2 : b.x2;
  const float bottom = a.y2 < b.y2 ? a.y2 : b.y2;
  const float width = right - left > 0 ? right - left : 0;
  const float height = bottom - top > 0 ? bottom - top : 0;
  const float intersection = width * height;
  return intersection / (area_a + area_b - intersection) > threshold;
}

}  // namespace hornet::ops
