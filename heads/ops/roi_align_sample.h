// Where RoIAlign reads and with which weights, for the CPU and the CUDA kernels alike. T is the
// type of the arithmetic, float or double. A RoI is (image index, x1, y1, x2, y2).
#pragma once

#include <c10/util/ArrayRef.h>
#include <hornet/backbone/ops/host_device.h>

#include <cmath>
#include <cstdint>

namespace hornet::ops {

template <typename T>
struct RoiAlignShape {
  int64_t channels;
  int height, width;   // of the feature map
  int pooled;          // bins along each axis
  int sampling_ratio;  // samples along each axis of a bin, 0: as many as its feature pixels
  T scale;             // from input pixels to feature pixels
  T offset;            // of feature pixels' centres: half a pixel, or 0 if not aligned
  T least_extent;      // RoIs are at least that many feature pixels long: 0, or 1 if not aligned
};

template <typename T>
RoiAlignShape<T> roi_align_shape(c10::IntArrayRef feature_size, double spatial_scale,
                                 int64_t pooled, int64_t sampling_ratio, bool aligned) {
  return {feature_size[1],
          static_cast<int>(feature_size[2]),
          static_cast<int>(feature_size[3]),
          static_cast<int>(pooled),
          static_cast<int>(sampling_ratio),
          static_cast<T>(spatial_scale),
          aligned ? T(0.5) : T(0),
          aligned ? T(0) : T(1)};
}

// The bins and samples of a RoI along one axis of the feature map.
template <typename T>
struct RoiAxis {
  T start, bin_size;
  int samples;  // in each bin; none if the RoI is empty

  HORNET_HOST_DEVICE T position(int bin, int sample) const {
    return start + bin * bin_size + (sample + T(0.5)) * bin_size / samples;
  }
};

template <typename T>
HORNET_HOST_DEVICE inline RoiAxis<T> roi_axis(T low, T high, const RoiAlignShape<T>& shape) {
  constexpr T kMostSamples = 1024;  // bounds the time that an absurd RoI takes
  const T start = low * shape.scale - shape.offset;
  T extent = high * shape.scale - shape.offset - start;
  if (extent < shape.least_extent) extent = shape.least_extent;  // not if it is NaN
  RoiAxis<T> axis{start, extent / shape.pooled, 0};
  if (extent > 0) {
    const T adaptive = std::ceil(axis.bin_size);
    axis.samples = shape.sampling_ratio > 0
                       ? shape.sampling_ratio
                       : int(adaptive < kMostSamples ? adaptive : kMostSamples);
  }
  return axis;
}

template <typename T>
struct RoiGrid {
  RoiAxis<T> x, y;

  HORNET_HOST_DEVICE T count() const {
    return x.samples > 0 && y.samples > 0 ? T(x.samples) * T(y.samples) : T(1);
  }
};

template <typename T>
HORNET_HOST_DEVICE inline RoiGrid<T> roi_grid(const T* roi, const RoiAlignShape<T>& shape) {
  return {roi_axis(roi[1], roi[3], shape), roi_axis(roi[2], roi[4], shape)};
}

// The two pixels that a position lies between, along one axis. Positions up to one pixel outside
// count as the border's; the caller leaves out those further away.
template <typename T>
struct RoiTap {
  int low, high;
  T low_weight, high_weight;
};

template <typename T>
HORNET_HOST_DEVICE inline bool near_map(T position, int size) {
  return position >= -1 && position <= size;  // false for NaN
}

template <typename T>
HORNET_HOST_DEVICE inline RoiTap<T> roi_tap(T position, int size) {
  if (position <= 0) position = 0;
  const int low = static_cast<int>(position);
  if (low >= size - 1) return {size - 1, size - 1, T(1), T(0)};
  const T fraction = position - low;
  return {low, low + 1, T(1) - fraction, fraction};
}

// The four pixels around a sample, as offsets into a channel's plane.
template <typename T>
struct RoiSample {
  int offsets[4];
  T weights[4];

  // The pixels of the plane are `stride` values apart.
  template <typename scalar_t>
  HORNET_HOST_DEVICE T read(const scalar_t* plane, int64_t stride = 1) const {
    return weights[0] * static_cast<T>(plane[offsets[0] * stride]) +
           weights[1] * static_cast<T>(plane[offsets[1] * stride]) +
           weights[2] * static_cast<T>(plane[offsets[2] * stride]) +
           weights[3] * static_cast<T>(plane[offsets[3] * stride]);
  }
};

// Calls visit(RoiSample) for each sample of one bin that is near the map, row by row.
template <typename T, typename Visit>
HORNET_HOST_DEVICE inline void for_each_sample(const RoiGrid<T>& grid, int bin_y, int bin_x,
                                               const RoiAlignShape<T>& shape, Visit&& visit) {
  for (int i = 0; i < grid.y.samples; ++i) {
    const T y = grid.y.position(bin_y, i);
    if (!near_map(y, shape.height)) continue;
    const RoiTap<T> row = roi_tap(y, shape.height);
    const int upper = row.low * shape.width, lower = row.high * shape.width;
    for (int j = 0; j < grid.x.samples; ++j) {
      const T x = grid.x.position(bin_x, j);
      if (!near_map(x, shape.width)) continue;
      const RoiTap<T> column = roi_tap(x, shape.width);
      visit(RoiSample<T>{
          {upper + column.low, upper + column.high, lower + column.low, lower + column.high},
          {row.low_weight * column.low_weight, row.low_weight * column.high_weight,
           row.high_weight * column.low_weight, row.high_weight * column.high_weight}});
    }
  }
}

}  // namespace hornet::ops
