// One value of a window that is added to a band of logits, and one label of the band, for the CUDA
// kernels; tests compare them with the CPU's, which go row by row. In float32.
#pragma once

#include <hornet/backbone/ops/bilinear.h>

#include <cstdint>

namespace hornet::ops {

// A window's part in the band: rows [top, bottom) of the image, columns [left, right) of the band.
// An element is a pixel of a class; elements are ordered by row, class and column.
struct WindowElements {
  float* band;          // [band_rows, classes, band_width]
  const float* logits;  // [classes, low_height, low_width]
  const float *row_weights, *column_weights;
  int64_t band_rows, classes, band_width;
  int64_t low_height, low_width, height, width;  // before and after resizing
  int64_t x, y;                                  // the window's corner
  int64_t top, bottom, left, right;

  HORNET_HOST_DEVICE int64_t count() const {
    return top < bottom && left < right ? (bottom - top) * classes * (right - left) : 0;
  }

  HORNET_HOST_DEVICE void run(int64_t i) const {
    const int64_t column = left + i % (right - left);
    i /= right - left;
    const int64_t c = i % classes, row = top + i / classes;
    const Lerp down = bilinear_lerp(low_height, height, row - y);
    const Lerp across = bilinear_lerp(low_width, width, column - x);
    const float* plane = logits + c * low_height * low_width;
    const float above = between(plane + down.low * low_width, across);
    const float below = between(plane + down.high * low_width, across);
    const float value = (1.0f - down.weight) * above + down.weight * below;
    band[((row % band_rows) * classes + c) * band_width + column] +=
        value * (row_weights[row - y] * column_weights[column - x]);
  }

 private:
  HORNET_HOST_DEVICE static float between(const float* row, const Lerp& lerp) {
    return (1.0f - lerp.weight) * row[lerp.low] + lerp.weight * row[lerp.high];
  }
};

// An element is a pixel of the band; the first of equal classes wins.
template <typename Label>
struct LabelElements {
  const float* rows;  // [height, classes, width]
  const float *row_totals, *column_totals;
  Label* labels;  // [height, width]
  int64_t height, classes, width;

  HORNET_HOST_DEVICE int64_t count() const { return height * width; }

  HORNET_HOST_DEVICE void run(int64_t i) const {
    const int64_t row = i / width, column = i % width;
    const float* values = rows + row * classes * width + column;
    const float total = row_totals[row] * column_totals[column];
    float best = values[0] / total;
    int64_t label = 0;
    for (int64_t c = 1; c < classes; ++c) {
      const float value = values[c * width] / total;
      if (value > best) {
        best = value;
        label = c;
      }
    }
    labels[i] = static_cast<Label>(label);
  }
};

}  // namespace hornet::ops
