// Matrix products, and everything that writes what they multiply: compiled once for floats and
// again for bf16 (operands.h), with the number of lanes (HORNET_LANES) and of vector registers
// (HORNET_REGISTERS) of a level.
#pragma once

#include <hornet/backbone/plan/kernels.h>
#include <hornet/backbone/plan/operands.h>
#include <hornet/backbone/plan/winograd_source.h>

#include <algorithm>
#include <cmath>

namespace hornet::plan {
namespace {

// ---- matrix products -------------------------------------------------------------------------

// Where the sums of a panel's columns go, and what is done to them.
struct Target {
  const float* bias;  // of the panel, or null
  float* out;         // the first row's start
  int64_t out_stride;
  const float* gate;  // the same, or null
  int64_t gate_stride;
  int64_t first;    // the panel's first column in `out` and `gate`
  int64_t columns;  // of the panel that exist

  Target from(int64_t row) const {
    Target target = *this;
    target.out += row * out_stride;
    if (gate != nullptr) target.gate += row * gate_stride;
    return target;
  }
};

// Half a panel's sums for row `r`.
template <Epilogue kEpilogue>
inline void finish(const Target& to, int64_t r, int64_t half, Vec sums) {
  constexpr bool kOperands = kEpilogue == Epilogue::kGelu || kEpilogue == Epilogue::kGate;
  const int64_t at = half * kLanes, left = to.columns - at, column = to.first + at;
  float* out = to.out + r * to.out_stride;
  if (left <= 0) {
    if (kOperands && kPacked > 1) store_operands(out, column, Vec{}, 0);
    return;
  }
  Vec value = sums;
  if (to.bias != nullptr) value += load(to.bias + at);
  if constexpr (kEpilogue == Epilogue::kGelu) value = gelu(value);
  if constexpr (kEpilogue == Epilogue::kGate) {
    value *= load(to.gate + r * to.gate_stride + column);
  }
  if constexpr (kEpilogue == Epilogue::kAccumulate) value = load(out + column) + value;
  if constexpr (kEpilogue == Epilogue::kRelu) value = value > Vec{} ? value : Vec{};
  if constexpr (kOperands) {
    store_operands(out, column, value, left);
  } else {
    store_some(out + column, value, left);
  }
}

// Rows of operands times a panel.
struct Tile {
  const float* in;
  int64_t in_stride;
  const float* panel;
  int64_t depth;  // operands of a row, or pairs of them
  Target target;

  Tile from(int64_t row) const {
    return {in + row * in_stride, in_stride, panel, depth, target.from(row)};
  }
};

// The panel of `product` that starts with column j of the matrix.
inline Tile tile_of(const Product& product, int64_t j) {
  const PackedMatrix& matrix = *product.matrix;
  const int64_t from = product.input_begin / kPacked;
  const bool to_the_end = product.input_end == matrix.inputs;
  const bool gated = product.epilogue == Epilogue::kGate;
  Tile tile;
  tile.in = product.in.data;
  tile.in_stride = product.in.stride;
  tile.panel = matrix.panels.data() + j * matrix.depth + from * kPanel;
  tile.depth = (to_the_end ? matrix.depth : product.input_end / kPacked) - from;
  tile.target.bias = product.add_bias ? matrix.bias.data() + j : nullptr;
  tile.target.out = product.out.data;
  tile.target.out_stride = product.out.stride;
  tile.target.gate = gated ? product.gate.data : nullptr;
  tile.target.gate_stride = product.gate.stride;
  tile.target.first = j - product.output_begin;
  tile.target.columns = std::min(kPanel, product.output_end - j);
  return tile;
}

}  // namespace
}  // namespace hornet::plan

#ifdef HORNET_TILES
#include <hornet/backbone/plan/amx_tiles.h>
#else
#include <hornet/backbone/plan/register_tiles.h>
#endif

namespace hornet::plan {
namespace {

void multiply(const Product& product) {
  switch (product.epilogue) {
    case Epilogue::kStore:
      return multiply_panels<Epilogue::kStore>(product);
    case Epilogue::kGelu:
      return multiply_panels<Epilogue::kGelu>(product);
    case Epilogue::kGate:
      return multiply_panels<Epilogue::kGate>(product);
    case Epilogue::kAccumulate:
      return multiply_panels<Epilogue::kAccumulate>(product);
    case Epilogue::kRelu:
      return multiply_panels<Epilogue::kRelu>(product);
  }
}

// ---- what writes operands --------------------------------------------------------------------

constexpr float kEps = 1e-6f;

struct Moments {
  float mean, inverse_deviation;
};

// Two passes over the row: the variance of values far from zero is right too.
Moments moments_of(const float* x, int64_t channels) {
  const int64_t whole = channels / kLanes * kLanes, rest = channels - whole;
  Vec total = {};
  for (int64_t c = 0; c < whole; c += kLanes) total += load(x + c);
  if (rest > 0) total += keep(load(x + whole), rest);
  const float mean = sum(total) / static_cast<float>(channels);
  Vec squares = {};
  for (int64_t c = 0; c < whole; c += kLanes) {
    const Vec difference = load(x + c) - mean;
    squares += difference * difference;
  }
  if (rest > 0) {
    const Vec difference = keep(load(x + whole) - mean, rest);
    squares += difference * difference;
  }
  const float variance = sum(squares) / static_cast<float>(channels);
  return {mean, 1.f / std::sqrt(variance + kEps)};
}

void normalise(ConstRows in, int64_t rows, int64_t channels, Rows out) {
  for (int64_t i = 0; i < rows; ++i) {
    const float* x = in.row(i);
    const Moments moments = moments_of(x, channels);
    for (int64_t c = 0; c < padded(channels); c += kLanes) {
      const Vec values = c < channels ? load(x + c) : Vec{};
      store_operands(out.row(i), c, (values - moments.mean) * moments.inverse_deviation,
                     channels - c);
    }
  }
}

void gate(ConstRows values, ConstRows gates, int64_t rows, int64_t channels, Rows out) {
  for (int64_t i = 0; i < rows; ++i) {
    const float *value = values.row(i), *factor = gates.row(i);
    for (int64_t c = 0; c < padded(channels); c += kLanes) {
      const Vec product = c < channels ? load(value + c) * load(factor + c) : Vec{};
      store_operands(out.row(i), c, product, channels - c);
    }
  }
}

void to_operands(ConstRows in, int64_t rows, int64_t channels, Rows out) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t c = 0; c < padded(channels); c += kLanes) {
      store_operands(out.row(i), c, load_some(in.row(i) + c, channels - c), channels - c);
    }
  }
}

constexpr ProductKernels kProducts = {kPanel, kPacked,     multiply,       normalise,
                                      gate,   to_operands, winograd_inputs};

}  // namespace
}  // namespace hornet::plan
