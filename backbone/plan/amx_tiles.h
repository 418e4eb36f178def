// Part of products_source.h: sums in AMX's tile registers, two by two of 16 x 16, over 32 values of
// each row at a time. Numbers of registers: sums 0 to 3, rows of operands 4 and 5, the panel's
// halves 6 and 7.
#pragma once

#include <immintrin.h>

namespace hornet::plan {
namespace {

constexpr int kSide = 16;  // rows of a register, and pairs or floats in one
constexpr int kTileRows = 2 * kSide;
constexpr int kPanelBytes = kPanel * 4;
static_assert(kPanel == 2 * kSide && kPacked == 2, "a panel is two registers of pairs");

// The registers' shapes while this lives: `upper` and `lower` rows of operands. Nothing is left
// behind that another user of the registers, or the system at a switch of threads, would meet.
class TileShapes {
 public:
  TileShapes(int64_t upper, int64_t lower) {
    struct alignas(64) {
      uint8_t palette = 1, first_row = 0, reserved[14] = {};
      uint16_t bytes[16] = {};
      uint8_t rows[16] = {};
    } shapes;
    static_assert(sizeof(shapes) == 64, "as the processor reads it");
    for (int i = 0; i < 8; ++i) shapes.bytes[i] = 4 * kSide;
    for (int i : {0, 1, 4}) shapes.rows[i] = static_cast<uint8_t>(upper);
    for (int i : {2, 3, 5}) shapes.rows[i] = static_cast<uint8_t>(lower);
    for (int i : {6, 7}) shapes.rows[i] = kSide;
    asm volatile("" : : "r"(&shapes) : "memory");  // the intrinsic says that it reads 8 bytes
    _tile_loadconfig(&shapes);
  }
  ~TileShapes() { _tile_release(); }
  TileShapes(const TileShapes&) = delete;
  TileShapes& operator=(const TileShapes&) = delete;
};

// `rows` rows of a panel; more than kSide of them if kBoth.
template <bool kBoth, Epilogue kEpilogue>
void multiply_tile(const Tile& tile, int64_t rows) {
  const auto stride = static_cast<size_t>(tile.in_stride) * sizeof(float);
  const float *in = tile.in, *panel = tile.panel;
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (kBoth) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t k = 0; k < tile.depth; k += kSide, in += kSide, panel += kSide * kPanel) {
    _tile_loadd(6, panel, kPanelBytes);
    _tile_loadd(7, panel + kSide, kPanelBytes);
    _tile_loadd(4, in, stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kBoth) {
      _tile_loadd(5, in + kSide * tile.in_stride, stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  alignas(64) float sums[kTileRows * kPanel];
  _tile_stored(0, sums, kPanelBytes);
  _tile_stored(1, sums + kSide, kPanelBytes);
  if constexpr (kBoth) {
    _tile_stored(2, sums + kSide * kPanel, kPanelBytes);
    _tile_stored(3, sums + kSide * kPanel + kSide, kPanelBytes);
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int half = 0; half < 2; ++half) {
      finish<kEpilogue>(tile.target, r, half, load(sums + r * kPanel + half * kLanes));
    }
  }
}

// Rows from `first` on, in the shapes that are set.
template <bool kBoth, Epilogue kEpilogue>
void multiply_rows(const Product& product, int64_t first, int64_t end) {
  for (int64_t j = product.output_begin; j < product.output_end; j += kPanel) {
    const Tile tile = tile_of(product, j);
    for (int64_t row = first; row < end; row += kTileRows) {
      multiply_tile<kBoth, kEpilogue>(tile.from(row), std::min<int64_t>(kTileRows, end - row));
    }
  }
}

template <Epilogue kEpilogue>
void multiply_panels(const Product& product) {
  const int64_t whole = product.rows / kTileRows * kTileRows, rest = product.rows - whole;
  if (whole > 0) {
    const TileShapes shapes(kSide, kSide);
    multiply_rows<true, kEpilogue>(product, 0, whole);
  }
  if (rest > kSide) {
    const TileShapes shapes(kSide, rest - kSide);
    multiply_rows<true, kEpilogue>(product, whole, product.rows);
  } else if (rest > 0) {
    const TileShapes shapes(rest, kSide);
    multiply_rows<false, kEpilogue>(product, whole, product.rows);
  }
}

}  // namespace
}  // namespace hornet::plan
