// Bilinear resizing with align_corners=False, as LibTorch does it: where a pixel of the resized
// line takes its values from.
#pragma once

#include <hornet/backbone/ops/host_device.h>

#include <algorithm>
#include <cstdint>

namespace hornet::ops {

struct Lerp {
  int64_t low, high;
  float weight;  // of `high`
};

// Of pixel `i` of a line that is resized from `in` to `out` pixels.
HORNET_HOST_DEVICE inline Lerp bilinear_lerp(int64_t in, int64_t out, int64_t i) {
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  const float source = in == out ? static_cast<float>(i)
                                 : std::max(scale * (static_cast<float>(i) + 0.5f) - 0.5f, 0.0f);
  const int64_t low = std::min(static_cast<int64_t>(source), in - 1);
  return {low, std::min(low + 1, in - 1), std::min(source - static_cast<float>(low), 1.0f)};
}

}  // namespace hornet::ops
