// The global filter of a small map in one go, for the CUDA kernel and for tests on the CPU: a block
// of threads keeps two channels of a map in shared memory as the real and the imaginary part of one
// complex map z, and takes them through transform, filter and inverse.
//
// Z = F(z) holds both spectra: A = (Z + Z') / 2 and B = (Z - Z') / 2i, where Z' is Z at the negated
// frequencies, conjugated. The filtered spectra go back as A K_a + i B K_b, and the inverse
// transform has both results in its real and imaginary part. Columns 0 and W/2 are their own mirror
// image: there the real inverse transform sees the Hermitian part of the filter only.
//
// A transform is the passes of Stockham's, one for each prime factor (and 4 for pairs of 2), from
// one of two buffers into the other. A pass of radix r on sequences of n = r m points, s of them
// interleaved (n s = N), with w = exp(-2 pi i / N):
//
//   y[q + s (r p + k)] = sum_j x[q + s (p + m j)] w^(s k (p + m j)),   q < s, p < m, k < r
#pragma once

#include <hornet/backbone/ops/block_program.h>

#include <cmath>

namespace hornet::ops {

struct ComplexValue {
  float re, im;
};

HORNET_HOST_DEVICE inline ComplexValue product(const ComplexValue& a, const ComplexValue& b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

// The lengths of the passes along one axis.
struct FourierAxis {
  static constexpr int kMostPasses = 16;
  int length = 1, passes = 0;
  int radix[kMostPasses] = {};

  // Products that a point takes part in: what a transform costs.
  int terms() const {
    int total = 0;
    for (int i = 0; i < passes; ++i) total += radix[i];
    return total;
  }
};

// Lengths up to 2^16.
inline FourierAxis make_fourier_axis(int length) {
  FourierAxis axis;
  axis.length = length;
  const auto split = [&](int factor) {
    for (; length % factor == 0; length /= factor) axis.radix[axis.passes++] = factor;
  };
  split(4);
  split(2);
  for (int factor = 3; factor * factor <= length; factor += 2) split(factor);
  if (length > 1) axis.radix[axis.passes++] = length;
  return axis;
}

// Maps [N,C,H,W] in float32 of any strides, and filters [C,H,W/2+1] that are dense.
struct FilterBlocks {
  static constexpr int kThreads = 512;

  struct Map {
    float* data;
    int64_t image, channel, row, column;  // steps
    HORNET_HOST_DEVICE float* at(int64_t n, int64_t c) const {
      return data + n * image + c * channel;
    }
  };

  Map x, out;  // x is only read
  const ComplexValue* filter;
  int64_t images, channels;
  FourierAxis rows, columns;  // of the map: of H and of W points

  int64_t blocks() const { return images * pairs(); }
  int64_t shared_bytes() const {
    const int64_t values = 2 * int64_t{rows.length} * columns.length;
    return (values + rows.length + columns.length) * static_cast<int64_t>(sizeof(ComplexValue));
  }

  // Reading and the roots of unity; both axes; the filter; both axes; writing.
  HORNET_HOST_DEVICE int phases() const { return 2 * passes() + 3; }

  HORNET_HOST_DEVICE void run(int phase, int64_t block, int thread, void* shared) const {
    const Buffers buffers = buffers_in(shared);
    const int forward = phase - 1, backward = phase - passes() - 2;
    if (phase == 0) {
      read(block, thread, buffers);
    } else if (forward < passes()) {
      transform(forward, forward, false, thread, buffers);
    } else if (backward < 0) {
      apply_filter(block, thread, buffers.values[passes() % 2]);
    } else if (backward < passes()) {
      transform(backward, passes() + backward, true, thread, buffers);
    } else {
      write(block, thread, buffers.values[0]);  // after an even number of passes
    }
  }

 private:
  struct Buffers {
    ComplexValue* values[2];
    ComplexValue *row_roots, *column_roots;
  };

  HORNET_HOST_DEVICE int64_t pairs() const { return (channels + 1) / 2; }
  HORNET_HOST_DEVICE int passes() const { return rows.passes + columns.passes; }
  HORNET_HOST_DEVICE int points() const { return rows.length * columns.length; }

  HORNET_HOST_DEVICE Buffers buffers_in(void* shared) const {
    auto* first = static_cast<ComplexValue*>(shared);
    ComplexValue *second = first + points(), *roots = second + points();
    return {{first, second}, roots, roots + rows.length};
  }

  HORNET_HOST_DEVICE static void make_roots(int length, int thread, ComplexValue* roots) {
    constexpr double kTwoPi = 6.283185307179586477;
    for (int i = thread; i < length; i += kThreads) {
      const double angle = kTwoPi * i / length;
      roots[i] = {static_cast<float>(std::cos(angle)), static_cast<float>(-std::sin(angle))};
    }
  }

  HORNET_HOST_DEVICE void read(int64_t block, int thread, const Buffers& buffers) const {
    make_roots(rows.length, thread, buffers.row_roots);
    make_roots(columns.length, thread, buffers.column_roots);
    const int64_t n = block / pairs(), c = block % pairs() * 2;
    const float *re = x.at(n, c), *im = c + 1 < channels ? x.at(n, c + 1) : nullptr;
    for (int i = thread; i < points(); i += kThreads) {
      const int64_t place = i / columns.length * x.row + i % columns.length * x.column;
      buffers.values[0][i] = {re[place], im != nullptr ? im[place] : 0.0f};
    }
  }

  HORNET_HOST_DEVICE void write(int64_t block, int thread, const ComplexValue* values) const {
    const int64_t n = block / pairs(), c = block % pairs() * 2;
    float *re = out.at(n, c), *im = c + 1 < channels ? out.at(n, c + 1) : nullptr;
    for (int i = thread; i < points(); i += kThreads) {
      const int64_t place = i / columns.length * out.row + i % columns.length * out.column;
      re[place] = values[i].re;
      if (im != nullptr) im[place] = values[i].im;
    }
  }

  // The pass-th pass of both axes together, rows' lines (along W) first. `turn` counts all passes
  // of a block and says which buffer is read.
  HORNET_HOST_DEVICE void transform(int pass, int turn, bool inverse, int thread,
                                    const Buffers& buffers) const {
    const ComplexValue* from = buffers.values[turn % 2];
    ComplexValue* to = buffers.values[(turn + 1) % 2];
    const bool along_row = pass < columns.passes;
    const FourierAxis& axis = along_row ? columns : rows;
    const ComplexValue* roots = along_row ? buffers.column_roots : buffers.row_roots;
    const int width = columns.length, step = along_row ? 1 : width;
    if (!along_row) pass -= columns.passes;
    int s = 1;  // interleaved sequences
    for (int i = 0; i < pass; ++i) s *= axis.radix[i];
    const int radix = axis.radix[pass], m = axis.length / s / radix;
    for (int i = thread; i < points(); i += kThreads) {
      const int line = along_row ? i / width * width : i % width;
      const int target = along_row ? i % width : i / width;
      const int q = target % s, p = target / s / radix, k = target / s % radix;
      const ComplexValue* source = from + line + (q + s * p) * step;
      const int source_step = s * m * step;
      // The exponent s k (p + m j), modulo N.
      int turned = s * k * p % axis.length;
      const int turn_by = s * k * m % axis.length;
      ComplexValue sum = {0, 0};
      for (int j = 0; j < radix; ++j) {
        ComplexValue root = roots[turned];
        if (inverse) root.im = -root.im;
        const ComplexValue term = product(source[j * source_step], root);
        sum = {sum.re + term.re, sum.im + term.im};
        turned += turn_by;
        if (turned >= axis.length) turned -= axis.length;
      }
      to[line + target * step] = sum;
    }
  }

  // The filter of a channel at row u, column v, as the real inverse transform sees it, with the
  // scale of both transforms.
  HORNET_HOST_DEVICE ComplexValue filter_at(int64_t c, int u, int v, bool own_mirror) const {
    const int stored = columns.length / 2 + 1;
    const ComplexValue* plane = filter + c * rows.length * stored;
    ComplexValue value = plane[u * stored + v];
    if (own_mirror) {
      const ComplexValue other = plane[(rows.length - u) % rows.length * stored + v];
      value = {(value.re + other.re) / 2, (value.im - other.im) / 2};
    }
    const float scale = 1.0f / static_cast<float>(points());
    return {value.re * scale, value.im * scale};
  }

  // A frequency and its mirror image are one thread's.
  HORNET_HOST_DEVICE void apply_filter(int64_t block, int thread, ComplexValue* values) const {
    const int64_t c = block % pairs() * 2;
    const int width = columns.length, stored = width / 2 + 1;
    for (int i = thread; i < rows.length * stored; i += kThreads) {
      const int u = i / stored, v = i % stored;
      const int u_mirror = (rows.length - u) % rows.length, v_mirror = (width - v) % width;
      const bool own_mirror = v == v_mirror;
      if (own_mirror && u > u_mirror) continue;
      ComplexValue &here = values[u * width + v], &there = values[u_mirror * width + v_mirror];
      const ComplexValue z = here, mirror = {there.re, -there.im};
      const ComplexValue a = {(z.re + mirror.re) / 2, (z.im + mirror.im) / 2};
      const ComplexValue b = {(z.im - mirror.im) / 2, (mirror.re - z.re) / 2};
      const ComplexValue filtered_a = product(a, filter_at(c, u, v, own_mirror));
      ComplexValue filtered_b = {0, 0};
      if (c + 1 < channels) filtered_b = product(b, filter_at(c + 1, u, v, own_mirror));
      here = {filtered_a.re - filtered_b.im, filtered_a.im + filtered_b.re};
      there = {filtered_a.re + filtered_b.im, filtered_b.re - filtered_a.im};
    }
  }
};

}  // namespace hornet::ops
