// One score of a pixel that windows lie over, for the CUDA kernel; tests compare it with the CPU's,
// which goes row by row. In float32.
#pragma once

#include <hornet/backbone/ops/bilinear.h>

#include <cstdint>

namespace hornet::ops {

struct PlacedLogits {
  const float* logits;  // [low_height, low_width, classes]
  int64_t x, y;         // the window's corner
};

// An element is a class of a pixel of the rectangle.
struct BlendElements {
  const PlacedLogits* windows;
  int64_t window_count;
  const float *row_weights, *column_weights;
  float* scores;  // [height, width, classes]
  int64_t low_height, low_width, classes;
  int64_t window_height, window_width;  // after resizing
  int64_t x, y, width, height;          // of the rectangle

  HORNET_HOST_DEVICE int64_t count() const { return height * width * classes; }

  HORNET_HOST_DEVICE void run(int64_t i) const {
    const int64_t c = i % classes, pixel = i / classes;
    const int64_t row = y + pixel / width, column = x + pixel % width;
    float sum = 0, total = 0;
    for (int64_t k = 0; k < window_count; ++k) {
      const int64_t down = row - windows[k].y, across = column - windows[k].x;
      if (down < 0 || down >= window_height || across < 0 || across >= window_width) continue;
      const float weight = row_weights[down] * column_weights[across];
      sum += weight * resized(windows[k].logits + c, down, across);
      total += weight;
    }
    scores[i] = total > 0 ? sum / total : 0;
  }

 private:
  HORNET_HOST_DEVICE float resized(const float* values, int64_t down, int64_t across) const {
    const Lerp rows = bilinear_lerp(low_height, window_height, down);
    const Lerp columns = bilinear_lerp(low_width, window_width, across);
    const auto between = [&](int64_t row) {
      const float* line = values + row * low_width * classes;
      return (1.0f - columns.weight) * line[columns.low * classes] +
             columns.weight * line[columns.high * classes];
    };
    return (1.0f - rows.weight) * between(rows.low) + rows.weight * between(rows.high);
  }
};

}  // namespace hornet::ops
