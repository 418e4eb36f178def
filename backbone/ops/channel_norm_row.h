// Layer norm of a row by 32 lanes, for the CUDA kernel and for tests on the CPU: three walks along
// the row, between which the lanes add up what they found. Later walks find the row in cache.
#pragma once

#include <hornet/backbone/ops/block_program.h>

#include <cmath>
#include <type_traits>

namespace hornet::ops {

// kWidth values at a time, at kWidth * lane and so on. kAdd: x is updated by a branch first.
template <typename In, typename Out, int kWidth, bool kAdd>
struct ChannelNormRows {
  static constexpr int kLanes = 32;
  using X = std::conditional_t<kAdd, In, const In>;

  X* x;
  int64_t x_step;     // from row to row
  const Out* branch;  // with kAdd, and its bias for each channel
  int64_t branch_step;
  const float* branch_bias;
  const float *weight, *bias;  // for each channel of the result, or null
  Out* out;                    // dense
  int64_t rows, channels;
  float epsilon;
  bool interleave;  // the second half of the channels goes between the first; kWidth 1

  // Adds the branch, and returns the lane's part of the row's sum.
  HORNET_HOST_DEVICE float sum(int64_t row, int lane) const {
    float total = 0;
    for (int64_t c = lane * kWidth; c < channels; c += kLanes * kWidth) {
      auto* place = pack_at(x + row * x_step + c);
      Pack<In, kWidth> pack = *place;
      if constexpr (kAdd) {
        const Pack<Out, kWidth> added = *pack_at(branch + row * branch_step + c);
        for (int i = 0; i < kWidth; ++i) {
          const float term = static_cast<float>(added.values[i]) + branch_bias[c + i];
          pack.values[i] = static_cast<In>(static_cast<float>(pack.values[i]) + term);
        }
        *place = pack;
      }
      for (int i = 0; i < kWidth; ++i) total += static_cast<float>(pack.values[i]);
    }
    return total;
  }

  // The lane's part of the sum of squared distances from the mean.
  HORNET_HOST_DEVICE float squares(int64_t row, int lane, float mean) const {
    float total = 0;
    for (int64_t c = lane * kWidth; c < channels; c += kLanes * kWidth) {
      const Pack<In, kWidth> pack = *pack_at(x + row * x_step + c);
      for (int i = 0; i < kWidth; ++i) {
        const float distance = static_cast<float>(pack.values[i]) - mean;
        total += distance * distance;
      }
    }
    return total;
  }

  HORNET_HOST_DEVICE float inverse_deviation(float all_squares) const {
    return 1.0f / std::sqrt(all_squares / static_cast<float>(channels) + epsilon);
  }

  HORNET_HOST_DEVICE void write(int64_t row, int lane, float mean, float inverse) const {
    for (int64_t c = lane * kWidth; c < channels; c += kLanes * kWidth) {
      const Pack<In, kWidth> pack = *pack_at(x + row * x_step + c);
      const int64_t at = place_of(c);
      Pack<Out, kWidth> result;
      for (int i = 0; i < kWidth; ++i) {
        float value = (static_cast<float>(pack.values[i]) - mean) * inverse;
        if (weight != nullptr) value *= weight[at + i];
        if (bias != nullptr) value += bias[at + i];
        result.values[i] = static_cast<Out>(value);
      }
      *pack_at(out + row * channels + at) = result;
    }
  }

 private:
  HORNET_HOST_DEVICE int64_t place_of(int64_t c) const {
    const int64_t half = channels / 2;
    if (!interleave) return c;
    return c < half ? 2 * c : 2 * (c - half) + 1;
  }

  template <typename T>
  HORNET_HOST_DEVICE static auto* pack_at(T* values) {
    using Values = Pack<std::remove_const_t<T>, kWidth>;
    return reinterpret_cast<std::conditional_t<std::is_const_v<T>, const Values, Values>*>(values);
  }
};

}  // namespace hornet::ops
