// 3x3 convolutions by Winograd's F(2x2, 3x3) (arXiv 1509.09308): 16 products instead of 36 for each
// 2x2 outputs, as 16 matrix products over the tiles. Part of products_source.h.
#pragma once

#include <hornet/backbone/plan/kernels.h>
#include <hornet/backbone/plan/operands.h>

#include <algorithm>

namespace hornet::plan {
namespace {

// B^T d: what the inputs' transform does to a column of four.
inline void transform_inputs(const Vec (&d)[4], Vec (&out)[4]) {
  out[0] = d[0] - d[2];
  out[1] = d[1] + d[2];
  out[2] = d[2] - d[1];
  out[3] = d[1] - d[3];
}

// A^T m: four products of a column become two outputs.
inline void transform_products(const Vec (&m)[4], Vec (&out)[2]) {
  out[0] = m[0] + m[1] + m[2];
  out[1] = m[1] - m[2] - m[3];
}

struct TilePlace {
  int64_t image, y, x;  // of the first output
};

inline TilePlace place_of(const TileRange& range, int64_t tile) {
  const int64_t across = (range.size.width + 1) / 2, down = (range.size.height + 1) / 2;
  const int64_t row = tile / across;
  return {row / down, row % down * 2, tile % across * 2};
}

void winograd_inputs(ConstRows image, const TileRange& range, int64_t channels, float* out) {
  const int64_t height = range.size.height, width = range.size.width;
  const int64_t row_floats = padded(channels) / kPacked, plane = range.count * row_floats;
  for (int64_t t = 0; t < range.count; ++t, out += row_floats) {
    const TilePlace place = place_of(range, range.first + t);
    const float* pixels[4][4];  // null outside the image
    for (int64_t i = 0; i < 4; ++i) {
      for (int64_t j = 0; j < 4; ++j) {
        const int64_t y = place.y + i - 1, x = place.x + j - 1;
        const bool inside = y >= 0 && y < height && x >= 0 && x < width;
        pixels[i][j] = inside ? image.row((place.image * height + y) * width + x) : nullptr;
      }
    }
    for (int64_t c = 0; c < padded(channels); c += kLanes) {
      const int64_t count = channels - c;
      Vec half[4][4];  // [column][row]
      for (int64_t j = 0; j < 4; ++j) {
        Vec column[4];
        for (int64_t i = 0; i < 4; ++i) {
          column[i] = pixels[i][j] != nullptr && count > 0 ? load(pixels[i][j] + c) : Vec{};
        }
        transform_inputs(column, half[j]);
      }
      for (int64_t i = 0; i < 4; ++i) {
        const Vec row[4] = {half[0][i], half[1][i], half[2][i], half[3][i]};
        Vec done[4];
        transform_inputs(row, done);
        for (int64_t j = 0; j < 4; ++j) {
          store_operands(out + (4 * i + j) * plane, c, done[j], count);
        }
      }
    }
  }
}

#ifndef HORNET_BF16  // for which only the inputs differ
void winograd_outputs(const float* products, const TileRange& range, int64_t channels,
                      const float* bias, bool relu, Rows out) {
  const int64_t height = range.size.height, width = range.size.width;
  const int64_t plane = range.count * channels;
  for (int64_t t = 0; t < range.count; ++t, products += channels) {
    const TilePlace place = place_of(range, range.first + t);
    const int64_t rows = std::min<int64_t>(2, height - place.y);
    const int64_t columns = std::min<int64_t>(2, width - place.x);
    const int64_t corner = (place.image * height + place.y) * width + place.x;
    for (int64_t c = 0; c < channels; c += kLanes) {
      Vec half[4][2];  // [column][row]
      for (int64_t j = 0; j < 4; ++j) {
        Vec column[4];
        for (int64_t i = 0; i < 4; ++i) column[i] = load(products + (4 * i + j) * plane + c);
        transform_products(column, half[j]);
      }
      const Vec added = load(bias + c);
      for (int64_t i = 0; i < rows; ++i) {
        const Vec row[4] = {half[0][i], half[1][i], half[2][i], half[3][i]};
        Vec done[2];
        transform_products(row, done);
        for (int64_t j = 0; j < columns; ++j) {
          Vec value = done[j] + added;
          if (relu) value = value > Vec{} ? value : Vec{};
          store_some(out.row(corner + i * width + j) + c, value, channels - c);
        }
      }
    }
  }
}

#endif

}  // namespace
}  // namespace hornet::plan
