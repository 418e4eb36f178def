// The global filter in plain loops: its definition, for tests to compare with.
#pragma once

#include <torch/types.h>

#include <cmath>
#include <complex>
#include <vector>

namespace hornet::testing {

using Complex = std::complex<double>;
using Grid = std::vector<std::vector<Complex>>;  // [H][W/2+1]

inline const double kPi = std::acos(-1.0);

inline Complex turn(int64_t step, int64_t of) {
  return std::polar(1.0, 2 * kPi * static_cast<double>(step % of) / static_cast<double>(of));
}

// Columns 0 ... W/2 of the transform of a map, scaled by 1 / sqrt(HW).
inline Grid transform(const torch::TensorAccessor<double, 2>& x) {
  const int64_t height = x.size(0), width = x.size(1);
  Grid out(height, std::vector<Complex>(width / 2 + 1));
  for (int64_t u = 0; u < height; ++u)
    for (int64_t v = 0; v <= width / 2; ++v)
      for (int64_t i = 0; i < height; ++i)
        for (int64_t j = 0; j < width; ++j)
          out[u][v] += x[i][j] * std::conj(turn(u * i, height) * turn(v * j, width)) /
                       std::sqrt(static_cast<double>(height * width));
  return out;
}

// A full inverse transform over H, then a real one over W: columns 0 and W/2 (of an even width)
// count once and lose their imaginary part, the others stand for their mirror images too.
inline double inverse_at(const Grid& y, int64_t i, int64_t j, int64_t width) {
  const auto height = static_cast<int64_t>(y.size());
  double sum = 0;
  for (int64_t v = 0; v <= width / 2; ++v) {
    Complex column = 0;
    for (int64_t u = 0; u < height; ++u) column += y[u][v] * turn(u * i, height);
    const bool alone = v == 0 || 2 * v == width;
    sum += alone ? column.real() * turn(v * j, width).real()
                 : 2 * (column * turn(v * j, width)).real();
  }
  return sum / std::sqrt(static_cast<double>(height * width));
}

inline torch::Tensor reference_filter(const torch::Tensor& x, const torch::Tensor& complex_weight) {
  torch::Tensor y = torch::zeros_like(x);
  const auto weight = complex_weight.accessor<double, 4>();
  const auto in = x.accessor<double, 4>();
  auto out = y.accessor<double, 4>();
  for (int64_t n = 0; n < x.size(0); ++n) {
    for (int64_t c = 0; c < x.size(1); ++c) {
      Grid spectrum = transform(in[n][c]);
      for (size_t u = 0; u < spectrum.size(); ++u)
        for (size_t v = 0; v < spectrum[u].size(); ++v)
          spectrum[u][v] *= Complex(weight[c][u][v][0], weight[c][u][v][1]);
      for (int64_t i = 0; i < x.size(2); ++i)
        for (int64_t j = 0; j < x.size(3); ++j)
          out[n][c][i][j] = inverse_at(spectrum, i, j, x.size(3));
    }
  }
  return y;
}

// Where output step `i` of `out` falls among `in` samples when the corners are aligned.
struct Tap {
  int64_t low, high;
  double part;  // of high
};

inline Tap aligned_tap(int64_t i, int64_t out, int64_t in) {
  const double at = out > 1 ? static_cast<double>(i * (in - 1)) / static_cast<double>(out - 1) : 0;
  const auto low = std::min(static_cast<int64_t>(at), in - 1);
  return {low, std::min(low + 1, in - 1), at - static_cast<double>(low)};
}

inline torch::Tensor reference_resize(const torch::Tensor& weight, int64_t height,
                                      int64_t columns) {
  torch::Tensor resized = torch::empty({weight.size(0), height, columns, 2}, weight.options());
  for (int64_t i = 0; i < height; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      const Tap y = aligned_tap(i, height, weight.size(1));
      const Tap x = aligned_tap(j, columns, weight.size(2));
      const auto at = [&](int64_t r, int64_t c) { return weight.select(1, r).select(1, c); };
      const torch::Tensor top = at(y.low, x.low) * (1 - x.part) + at(y.low, x.high) * x.part;
      const torch::Tensor bottom = at(y.high, x.low) * (1 - x.part) + at(y.high, x.high) * x.part;
      resized.select(1, i).select(1, j).copy_(top * (1 - y.part) + bottom * y.part);
    }
  }
  return resized;
}

}  // namespace hornet::testing
