#include <hornet/interop/fourier.h>

#include <algorithm>
#include <cmath>

namespace hornet::graph {
namespace {

constexpr double kTurn = 6.283185307179586;  // 2 pi

// Where position `index` of `size` lies among `from` positions whose corners coincide.
struct Tap {
  int64_t low = 0, high = 0;
  double weight = 0;  // of `high`
};

Tap tap(int64_t index, int64_t size, int64_t from) {
  if (size == 1) return {};
  const double at =
      static_cast<double>(index) * static_cast<double>(from - 1) / static_cast<double>(size - 1);
  const auto low = std::min(static_cast<int64_t>(at), from - 1);
  return {low, std::min(low + 1, from - 1), at - static_cast<double>(low)};
}

// cos and sin of 2 pi i k / n; the product is reduced first, which keeps large ones exact.
struct Angle {
  double cosine, sine;
};

Angle angle(int64_t i, int64_t k, int64_t n) {
  const double turns = static_cast<double>(i * k % n) / static_cast<double>(n);
  return {std::cos(kTurn * turns), std::sin(kTurn * turns)};
}

void row_matrices(int64_t width, FourierMatrices& out) {
  const int64_t half = width / 2 + 1;
  const double norm = 1 / std::sqrt(static_cast<double>(width));
  out.real.resize(width * half);
  out.imaginary.resize(width * half);
  out.from_real.resize(half * width);
  out.from_imaginary.resize(half * width);
  for (int64_t x = 0; x < width; ++x) {
    for (int64_t k = 0; k < half; ++k) {
      const Angle a = angle(x, k, width);
      // A column and its mirror image, which columns 0 and width / 2 do not have.
      const bool single = k == 0 || 2 * k == width;
      out.real[x * half + k] = static_cast<float>(norm * a.cosine);
      out.imaginary[x * half + k] = static_cast<float>(-norm * a.sine);
      out.from_real[k * width + x] = static_cast<float>((single ? 1 : 2) * norm * a.cosine);
      out.from_imaginary[k * width + x] = single ? 0.0f : static_cast<float>(-2 * norm * a.sine);
    }
  }
}

// (real | imaginary) rows times this are the complex transform with exponent sign * i.
std::vector<float> complex_matrix(int64_t n, double sign) {
  const double norm = 1 / std::sqrt(static_cast<double>(n));
  std::vector<float> matrix(4 * n * n);
  for (int64_t y = 0; y < n; ++y) {
    for (int64_t k = 0; k < n; ++k) {
      const Angle a = angle(y, k, n);
      const auto c = static_cast<float>(norm * a.cosine);
      const auto s = static_cast<float>(sign * norm * a.sine);
      matrix[y * 2 * n + k] = c;
      matrix[y * 2 * n + n + k] = s;
      matrix[(n + y) * 2 * n + k] = -s;
      matrix[(n + y) * 2 * n + n + k] = c;
    }
  }
  return matrix;
}

}  // namespace

Constant interpolate_filter(const Constant& weight, int64_t height, int64_t width) {
  const int64_t channels = weight.shape[0], from_h = weight.shape[1], from_w = weight.shape[2];
  const int64_t half = width / 2 + 1;
  Constant out{{channels, height, half, 2}, {}};
  out.values.reserve(channels * height * half * 2);
  for (int64_t c = 0; c < channels; ++c) {
    const float* plane = weight.values.data() + c * from_h * from_w * 2;
    for (int64_t y = 0; y < height; ++y) {
      const Tap v = tap(y, height, from_h);
      for (int64_t x = 0; x < half; ++x) {
        const Tap u = tap(x, half, from_w);
        for (int part = 0; part < 2; ++part) {
          const auto at = [&](int64_t row, int64_t column) {
            return static_cast<double>(plane[(row * from_w + column) * 2 + part]);
          };
          const double upper = at(v.low, u.low) * (1 - u.weight) + at(v.low, u.high) * u.weight;
          const double lower = at(v.high, u.low) * (1 - u.weight) + at(v.high, u.high) * u.weight;
          out.values.push_back(static_cast<float>(upper * (1 - v.weight) + lower * v.weight));
        }
      }
    }
  }
  return out;
}

FourierMatrices fourier_matrices(int64_t height, int64_t width) {
  FourierMatrices out;
  row_matrices(width, out);
  out.forward = complex_matrix(height, -1);
  out.inverse = complex_matrix(height, 1);
  return out;
}

}  // namespace hornet::graph
