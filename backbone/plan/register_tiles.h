// Part of products_source.h: a tile of kTileRows x kPanel sums in vector registers, two a row; two
// more hold the matrix, one the input.
#pragma once

#include <utility>

namespace hornet::plan {
namespace {

constexpr int kTileRows = (HORNET_REGISTERS - 4) / 2;

template <int kRows, Epilogue kEpilogue>
void multiply_tile(const Tile& tile) {
  Vec sums[kRows][2] = {};
  const float* panel = tile.panel;
  for (int64_t k = 0; k < tile.depth; ++k, panel += kPanel) {
    const Vec left = load(panel), right = load(panel + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec value = load_all(tile.in + r * tile.in_stride + k);
      sums[r][0] = dot(sums[r][0], value, left);
      sums[r][1] = dot(sums[r][1], value, right);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    for (int half = 0; half < 2; ++half) finish<kEpilogue>(tile.target, r, half, sums[r][half]);
  }
}

// multiply_tile of 1 to kTileRows rows.
template <Epilogue kEpilogue, int... kRows>
void multiply_rows(const Tile& panel, int64_t rows, std::integer_sequence<int, kRows...>) {
  constexpr void (*kTiles[])(const Tile&) = {multiply_tile<kRows + 1, kEpilogue>...};
  // As many tiles as there have to be, none much smaller than the others: a small one costs more a
  // row.
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  for (int64_t i = 0, row = 0; i < tiles; ++i) {
    const int64_t count = (rows - row) / (tiles - i);
    kTiles[count - 1](panel.from(row));
    row += count;
  }
}

template <Epilogue kEpilogue>
void multiply_panels(const Product& product) {
  for (int64_t j = product.output_begin; j < product.output_end; j += kPanel) {
    multiply_rows<kEpilogue>(tile_of(product, j), product.rows,
                             std::make_integer_sequence<int, kTileRows>());
  }
}

}  // namespace
}  // namespace hornet::plan
