// The source of all levels, with products_source.h: kernels_portable.cpp, kernels_avx2.cpp and
// kernels_avx512.cpp include it with their number of lanes (HORNET_LANES) and of vector registers
// (HORNET_REGISTERS).
#pragma once

#include <hornet/backbone/plan/products_source.h>

namespace hornet::plan {
namespace {

// ---- layer norms -----------------------------------------------------------------------------

void layer_norm(ConstRows in, int64_t rows, int64_t channels, Norm norm, Rows out) {
  for (int64_t i = 0; i < rows; ++i) {
    const float* x = in.row(i);
    float* y = out.row(i);
    const Moments moments = moments_of(x, channels);
    for (int64_t c = 0; c < channels; c += kLanes) {
      const Vec value = (load(x + c) - moments.mean) * moments.inverse_deviation;
      store_some(y + c, value * load(norm.weight + c) + load(norm.bias + c), channels - c);
    }
  }
}

void interleaved_layer_norm(ConstRows in, int64_t rows, int64_t channels, Norm norm, Rows out) {
  const int64_t half = channels / 2;
  for (int64_t i = 0; i < rows; ++i) {
    const float* x = in.row(i);
    float* y = out.row(i);
    const Moments moments = moments_of(x, channels);
    for (int64_t c = 0; c < half; c += kLanes) {
      const Vec first = (load(x + c) - moments.mean) * moments.inverse_deviation;
      const Vec second = (load(x + half + c) - moments.mean) * moments.inverse_deviation;
      float pairs[2 * kLanes];
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        pairs[2 * lane] = first[lane];
        pairs[2 * lane + 1] = second[lane];
      }
      for (int64_t d = 0; d < 2 * kLanes && 2 * c + d < channels; d += kLanes) {
        const int64_t at = 2 * c + d;
        store_some(y + at, load(pairs + d) * load(norm.weight + at) + load(norm.bias + at),
                   channels - at);
      }
    }
  }
}

// ---- weighted sums ---------------------------------------------------------------------------

template <int kVectors>
void add_weighted_vectors(const Weighted* sources, int64_t count, int64_t from, bool relu,
                          float* out) {
  Vec sums[kVectors];
  for (int v = 0; v < kVectors; ++v) sums[v] = load(out + from + v * kLanes);
  for (int64_t i = 0; i < count; ++i) {
    const float* values = sources[i].values + from;
    for (int v = 0; v < kVectors; ++v) sums[v] += load(values + v * kLanes) * sources[i].weight;
  }
  for (int v = 0; v < kVectors; ++v) {
    if (relu) sums[v] = sums[v] > Vec{} ? sums[v] : Vec{};
    store(out + from + v * kLanes, sums[v]);
  }
}

void add_weighted(const Weighted* sources, int64_t count, int64_t channels, bool relu, float* out) {
  constexpr int kVectors = 4;
  int64_t c = 0;
  for (; c + kVectors * kLanes <= channels; c += kVectors * kLanes) {
    add_weighted_vectors<kVectors>(sources, count, c, relu, out);
  }
  for (; c + kLanes <= channels; c += kLanes) {
    add_weighted_vectors<1>(sources, count, c, relu, out);
  }
  for (; c < channels; ++c) {  // `out` may be at the end of its memory
    float sum = out[c];
    for (int64_t i = 0; i < count; ++i) sum += sources[i].values[c] * sources[i].weight;
    out[c] = relu ? std::max(sum, 0.f) : sum;
  }
}

// ---- depthwise convolutions ------------------------------------------------------------------
// A tile is kTileWidth outputs of a row, for a vector of channels.

constexpr int kTileWidth = HORNET_REGISTERS / 2;

struct DepthwiseTile {
  const float* image;  // the tile's channels of the image's first pixel
  int64_t image_stride;
  MapSize size;
  int64_t y, x;
  const float* weights;
  int64_t weights_stride;
};

// kBorder: columns outside the image are left out.
template <int kKernel, bool kBorder>
inline void convolve(const DepthwiseTile& tile, Vec (&sums)[kTileWidth]) {
  constexpr int kReach = kKernel / 2;
  const int64_t from = std::max<int64_t>(0, kReach - tile.y);
  const int64_t to = std::min<int64_t>(kKernel, tile.size.height + kReach - tile.y);
  for (int64_t ky = from; ky < to; ++ky) {
    const float* row = tile.image + (tile.y + ky - kReach) * tile.size.width * tile.image_stride;
    Vec weights[kKernel];
    for (int k = 0; k < kKernel; ++k) {
      weights[k] = load(tile.weights + (ky * kKernel + k) * tile.weights_stride);
    }
#pragma GCC unroll 32
    for (int i = 0; i < kTileWidth + kKernel - 1; ++i) {
      const int64_t x = tile.x + i - kReach;
      if (kBorder && (x < 0 || x >= tile.size.width)) continue;
      const Vec value = load(row + x * tile.image_stride);
#pragma GCC unroll 8
      for (int k = 0; k < kKernel; ++k) {
        const int t = i - k;
        if (t >= 0 && t < kTileWidth) sums[t] += value * weights[k];
      }
    }
  }
}

template <int kKernel>
void depthwise_row(DepthwiseTile tile, Vec bias, int64_t channels, Rows out) {
  const int64_t width = tile.size.width;
  for (tile.x = 0; tile.x < width; tile.x += kTileWidth) {
    Vec sums[kTileWidth];
    for (Vec& value : sums) value = bias;
    const bool border = tile.x < kKernel / 2 || tile.x + kTileWidth + kKernel / 2 > width;
    if (border) {
      convolve<kKernel, true>(tile, sums);
    } else {
      convolve<kKernel, false>(tile, sums);
    }
    const int64_t count = std::min<int64_t>(kTileWidth, width - tile.x);
    for (int64_t t = 0; t < count; ++t) {
      store_some(out.row(tile.y * width + tile.x + t), sums[t], channels);
    }
  }
}

void depthwise(const Depthwise& conv, ConstRows image, MapSize size, const DepthwiseRange& range,
               Rows out) {
  for (int64_t y = range.y_begin; y < range.y_end; ++y) {
    for (int64_t c = range.c_begin; c < range.c_end; c += kLanes) {
      const DepthwiseTile tile = {image.data + c,          image.stride, size, y, 0,
                                  conv.weights.data() + c, conv.stride};
      const Vec bias = load(conv.bias.data() + c);
      const int64_t channels = std::min(kLanes, range.c_end - c);
      const Rows channels_out = {out.data + c, out.stride};
      if (conv.kernel == 7) {
        depthwise_row<7>(tile, bias, channels, channels_out);
      } else {
        depthwise_row<3>(tile, bias, channels, channels_out);
      }
    }
  }
}

// ---- Fourier transforms ----------------------------------------------------------------------
// Every value is a vector of channels, so a transform is a scalar one with Vec for float.

struct Complex {
  Vec re, im;
};

inline Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
inline Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
// -i a
inline Complex turn(Complex a) { return {a.im, -a.re}; }

inline Complex twiddle(Complex a, float re, float im) {
  return {a.re * re - a.im * im, a.re * im + a.im * re};
}

inline void transform_2(const Complex* in, int64_t step, Complex* out) {
  const Complex a = in[0], b = in[step];
  out[0] = a + b;
  out[1] = a - b;
}

inline void transform_4(const Complex* in, int64_t step, Complex* out) {
  const Complex a = in[0], b = in[step], c = in[2 * step], d = in[3 * step];
  const Complex even = a + c, odd = b + d, even_difference = a - c, odd_difference = turn(b - d);
  out[0] = even + odd;
  out[1] = even_difference + odd_difference;
  out[2] = even - odd;
  out[3] = even_difference - odd_difference;
}

// An odd number of points: x[j] and x[radix - j] meet the same cosines, and sines of opposite sign.
// `fold` has room for `radix` values. With kRadix > 0 the radix is known and loops unroll.
template <int kRadix>
inline void transform_odd(const FourierPass& pass, const Complex* in, int64_t step, Complex* fold,
                          Complex* out) {
  const int64_t radix = kRadix > 0 ? kRadix : pass.radix, half = radix / 2;
  Complex *sums = fold, *differences = fold + half;
  Complex total = in[0];
  for (int64_t j = 1; j <= half; ++j) {
    sums[j - 1] = in[j * step] + in[(radix - j) * step];
    differences[j - 1] = turn(in[j * step] - in[(radix - j) * step]);
    total = total + sums[j - 1];
  }
  out[0] = total;
  for (int64_t k = 1; k <= half; ++k) {
    const float* cosines = pass.cosines.data() + (k - 1) * half;
    const float* sines = pass.sines.data() + (k - 1) * half;
    Complex even = in[0], odd = {};
    for (int64_t j = 0; j < half; ++j) {
      even = {even.re + sums[j].re * cosines[j], even.im + sums[j].im * cosines[j]};
      odd = {odd.re + differences[j].re * sines[j], odd.im + differences[j].im * sines[j]};
    }
    out[k] = even + odd;
    out[radix - k] = even - odd;
  }
}

inline void transform_point(const FourierPass& pass, const Complex* in, int64_t step, Complex* fold,
                            Complex* out) {
  switch (pass.radix) {
    case 2:
      return transform_2(in, step, out);
    case 3:
      return transform_odd<3>(pass, in, step, fold, out);
    case 4:
      return transform_4(in, step, out);
    case 5:
      return transform_odd<5>(pass, in, step, fold, out);
    case 7:
      return transform_odd<7>(pass, in, step, fold, out);
    default:
      return transform_odd<0>(pass, in, step, fold, out);
  }
}

// One pass: groups * done transforms of `radix` points. After it `done` grows by the radix.
void run_pass(const FourierPass& pass, int64_t done, const Complex* in, Complex* out,
              Complex* fold) {
  const int64_t radix = pass.radix, step = done * pass.groups;
  Complex* points = fold + radix;
  for (int64_t p = 0; p < pass.groups; ++p) {
    const float* re = pass.twiddle_re.data() + p * (radix - 1);
    const float* im = pass.twiddle_im.data() + p * (radix - 1);
    for (int64_t q = 0; q < done; ++q) {
      transform_point(pass, in + done * p + q, step, fold, points);
      Complex* to = out + done * radix * p + q;
      to[0] = points[0];
      for (int64_t k = 1; k < radix; ++k) {
        to[done * k] = p == 0 ? points[k] : twiddle(points[k], re[k - 1], im[k - 1]);
      }
    }
  }
}

// Forward, unscaled, in place: `line` has plan.length values, `spare` as many, and `fold` twice the
// largest radix.
Complex* transform(const FourierPlan& plan, Complex* line, Complex* spare, Complex* fold) {
  int64_t done = 1;
  for (const FourierPass& pass : plan.passes) {
    run_pass(pass, done, line, spare, fold);
    std::swap(line, spare);
    done *= pass.radix;
  }
  return line;
}

// An inverse transform is a forward one with real and imaginary parts exchanged.
inline Complex swapped(Complex a) { return {a.im, a.re}; }

struct FilterWork {
  int64_t columns;    // W/2 + 1
  Complex* spectrum;  // [H][columns]
  Complex *line, *spare, *fold;
};

// Rows y and y + 1 as the real and the imaginary part of one transform of length W. Their spectra
// come out doubled.
void transform_rows(const Filter& filter, ConstRows image, const FilterWork& work) {
  const int64_t height = filter.size.height, width = filter.size.width;
  for (int64_t y = 0; y < height; y += 2) {
    const bool pair = y + 1 < height;
    for (int64_t x = 0; x < width; ++x) {
      work.line[x].re = load(image.row(y * width + x));
      work.line[x].im = pair ? load(image.row((y + 1) * width + x)) : Vec{};
    }
    const Complex* z = transform(filter.rows, work.line, work.spare, work.fold);
    Complex* first = work.spectrum + y * work.columns;
    for (int64_t k = 0; k < work.columns; ++k) {
      const Complex a = z[k], b = z[k == 0 ? 0 : width - k];
      first[k] = {a.re + b.re, a.im - b.im};
      if (pair) first[work.columns + k] = {a.im + b.im, b.re - a.re};
    }
  }
}

void filter_columns(const Filter& filter, const float* factors, const FilterWork& work) {
  const int64_t height = filter.size.height;
  for (int64_t k = 0; k < work.columns; ++k) {
    Complex* column = work.spectrum + k;
    for (int64_t y = 0; y < height; ++y) work.line[y] = column[y * work.columns];
    const Complex* z = transform(filter.columns, work.line, work.spare, work.fold);
    Complex* products = z == work.line ? work.spare : work.line;
    Complex* rest = z == work.line ? work.line : work.spare;
    for (int64_t y = 0; y < height; ++y, factors += 2 * kLanes) {
      const Complex product = {z[y].re * load(factors) - z[y].im * load(factors + kLanes),
                               z[y].re * load(factors + kLanes) + z[y].im * load(factors)};
      products[y] = swapped(product);
    }
    const Complex* back = transform(filter.columns, products, rest, work.fold);
    for (int64_t y = 0; y < height; ++y) column[y * work.columns] = swapped(back[y]);
  }
}

// The inverse of transform_rows. Column 0, and W/2 of an even width, have no imaginary part for a
// real result: what is there is left out, as torch.fft.irfft2 does.
void restore_rows(const Filter& filter, int64_t channels, const FilterWork& work, Rows out) {
  const int64_t height = filter.size.height, width = filter.size.width;
  for (int64_t y = 0; y < height; y += 2) {
    const bool pair = y + 1 < height;
    const Complex* first = work.spectrum + y * work.columns;
    for (int64_t k = 0; k < work.columns; ++k) {
      const bool real = k == 0 || 2 * k == width;
      const Complex a = real ? Complex{first[k].re, Vec{}} : first[k];
      const Complex other = pair ? first[work.columns + k] : Complex{};
      const Complex b = real ? Complex{other.re, Vec{}} : other;
      work.line[k] = swapped({a.re - b.im, a.im + b.re});
      if (!real) work.line[width - k] = swapped({a.re + b.im, b.re - a.im});
    }
    const Complex* z = transform(filter.rows, work.line, work.spare, work.fold);
    for (int64_t x = 0; x < width; ++x) {
      store_some(out.row(y * width + x), z[x].im, channels);
      if (pair) store_some(out.row((y + 1) * width + x), z[x].re, channels);
    }
  }
}

void global_filter(const Filter& filter, int64_t block, ConstRows image, Rows out, float* scratch) {
  const int64_t height = filter.size.height, columns = filter.size.width / 2 + 1;
  const int64_t longest = std::max(height, filter.size.width);
  FilterWork work;
  work.columns = columns;
  work.spectrum = reinterpret_cast<Complex*>(scratch);
  work.line = work.spectrum + height * columns;
  work.spare = work.line + longest;
  work.fold = work.spare + longest;
  const int64_t first = block * kLanes, channels = std::min(kLanes, filter.channels - first);
  const float* factors = filter.spectrum.data() + block * columns * height * 2 * kLanes;
  transform_rows(filter, {image.data + first, image.stride}, work);
  filter_columns(filter, factors, work);
  restore_rows(filter, channels, work, {out.data + first, out.stride});
}

constexpr Kernels kKernels = {kProducts, kLanes,        layer_norm,       interleaved_layer_norm,
                              depthwise, global_filter, winograd_outputs, add_weighted};

}  // namespace
}  // namespace hornet::plan
