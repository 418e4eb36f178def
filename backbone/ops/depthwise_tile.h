// A depthwise convolution of a channels-last map by tiles, for the CUDA kernel and for tests on the
// CPU. A block reads a tile of pixels and their neighbours once, for 32 channels, and keeps them in
// float32 in shared memory; a thread then makes a row of outputs of one channel.
#pragma once

#include <hornet/backbone/ops/block_program.h>

namespace hornet::ops {

// [N,H,W,C] with channels side by side.
template <typename T>
struct PixelMap {
  T* data;
  int64_t image, row, column;  // steps
  HORNET_HOST_DEVICE T* at(int64_t n, int64_t y, int64_t x) const {
    return data + n * image + y * row + x * column;
  }
};

template <typename T, int kKernel>
struct DepthwiseTiles {
  static constexpr int kThreads = 256;
  static constexpr int kRows = 8, kColumns = 8, kChannels = 32;
  static constexpr int kHalo = kKernel / 2;
  static constexpr int kReadRows = kRows + 2 * kHalo, kReadColumns = kColumns + 2 * kHalo;
  static constexpr int kInputs = kReadRows * kReadColumns * kChannels;
  static constexpr int kWeights = kKernel * kKernel * kChannels;
  static_assert(kThreads == kRows * kChannels, "a thread makes a row of a channel");

  PixelMap<const T> x, gate;  // the gate has `gated` channels: the first ones of the result
  PixelMap<T> out;
  const float* weight;  // [kernel * kernel, channels]
  const float* bias;    // [channels], or null
  int64_t images, height, width, channels, gated;

  int64_t blocks() const { return images * tiles(height, kRows) * bands() * groups(); }
  int64_t shared_bytes() const { return (kInputs + kWeights) * sizeof(float); }
  HORNET_HOST_DEVICE int phases() const { return 2; }

  HORNET_HOST_DEVICE void run(int phase, int64_t block, int thread, void* shared) const {
    auto* inputs = static_cast<float*>(shared);
    float* weights = inputs + kInputs;
    const Tile tile = tile_of(block);
    if (phase == 0) {
      read(tile, thread, inputs, weights);
    } else {
      convolve(tile, thread, inputs, weights);
    }
  }

 private:
  struct Tile {
    int64_t n, y, x, c;  // the image and the first row, column and channel
  };

  HORNET_HOST_DEVICE static int64_t tiles(int64_t size, int64_t tile) {
    return (size + tile - 1) / tile;
  }
  HORNET_HOST_DEVICE int64_t bands() const { return tiles(width, kColumns); }
  HORNET_HOST_DEVICE int64_t groups() const { return tiles(channels, kChannels); }

  HORNET_HOST_DEVICE Tile tile_of(int64_t block) const {
    const int64_t group = block % groups();
    block /= groups();
    const int64_t column = block % bands();
    block /= bands();
    const int64_t row = block % tiles(height, kRows), n = block / tiles(height, kRows);
    return {n, row * kRows, column * kColumns, group * kChannels};
  }

  HORNET_HOST_DEVICE void read(const Tile& tile, int thread, float* inputs, float* weights) const {
    for (int i = thread; i < kInputs; i += kThreads) {
      const int64_t c = tile.c + i % kChannels;
      const int pixel = i / kChannels;
      const int64_t y = tile.y + pixel / kReadColumns - kHalo;
      const int64_t x_at = tile.x + pixel % kReadColumns - kHalo;
      const bool inside = c < channels && y >= 0 && y < height && x_at >= 0 && x_at < width;
      inputs[i] = inside ? static_cast<float>(x.at(tile.n, y, x_at)[c]) : 0.0f;
    }
    for (int i = thread; i < kWeights; i += kThreads) {
      const int64_t c = tile.c + i % kChannels;
      weights[i] = c < channels ? weight[i / kChannels * channels + c] : 0.0f;
    }
  }

  HORNET_HOST_DEVICE void convolve(const Tile& tile, int thread, const float* inputs,
                                   const float* weights) const {
    const int lane = thread % kChannels, row = thread / kChannels;
    const int64_t c = tile.c + lane, y = tile.y + row;
    if (c >= channels || y >= height) return;
    float sums[kColumns];
    for (int j = 0; j < kColumns; ++j) sums[j] = bias != nullptr ? bias[c] : 0.0f;
    for (int ky = 0; ky < kKernel; ++ky) {
      float line[kReadColumns];
      for (int j = 0; j < kReadColumns; ++j) {
        line[j] = inputs[((row + ky) * kReadColumns + j) * kChannels + lane];
      }
      for (int kx = 0; kx < kKernel; ++kx) {
        const float w = weights[(ky * kKernel + kx) * kChannels + lane];
        for (int j = 0; j < kColumns; ++j) sums[j] += w * line[j + kx];
      }
    }
    for (int j = 0; j < kColumns && tile.x + j < width; ++j) {
      const int64_t x_at = tile.x + j;
      float value = sums[j];
      if (c < gated) value *= static_cast<float>(gate.at(tile.n, y, x_at)[c]);
      out.at(tile.n, y, x_at)[c] = static_cast<T>(value);
    }
  }
};

}  // namespace hornet::ops
