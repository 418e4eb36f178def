#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <hornet/backbone/ops/cpu/vector_levels.h>
#include <hornet/backbone/ops/gnconv_chain.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

// One line of a gate. `bias(i)` moves along with a pixel's channels, or stands for a channel's
// pixels. `out` is `in` or does not overlap it, so that the loop has no dependencies.
template <typename scalar_t, typename Bias, typename T = at::opmath_type<scalar_t>>
inline void gate_line(const scalar_t* in, const Bias& bias, const scalar_t* gates, T scale,
                      scalar_t* out, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<scalar_t>(gated<T>(in[i], bias(i), gates[i], scale));
  }
}

template <typename scalar_t, typename T>
void gate_pixel(const scalar_t* in, const scalar_t* bias, const scalar_t* gates, T scale,
                scalar_t* out, int64_t count) {
  gate_line(
      in, [bias](int64_t i) { return static_cast<T>(bias[i]); }, gates, scale, out, count);
}

template <typename scalar_t, typename T>
void gate_channel(const scalar_t* in, T bias, const scalar_t* gates, T scale, scalar_t* out,
                  int64_t count) {
  gate_line(
      in, [bias](int64_t) { return bias; }, gates, scale, out, count);
}

HORNET_VECTOR_LEVELS
void gate_pixel(const float* in, const float* bias, const float* gates, float scale, float* out,
                int64_t count) {
  gate_line(
      in, [bias](int64_t i) { return bias[i]; }, gates, scale, out, count);
}

HORNET_VECTOR_LEVELS
void gate_channel(const float* in, float bias, const float* gates, float scale, float* out,
                  int64_t count) {
  gate_line(
      in, [bias](int64_t) { return bias; }, gates, scale, out, count);
}

template <typename scalar_t>
void gate_matrix(Lines lines, const at::Tensor& values, const at::Tensor& biases,
                 const at::Tensor& gates, double factor, const at::Tensor& out) {
  using T = at::opmath_type<scalar_t>;
  const auto* value = values.const_data_ptr<scalar_t>();
  const auto* bias = biases.const_data_ptr<scalar_t>();
  const auto* gate = gates.const_data_ptr<scalar_t>();
  auto* to = out.mutable_data_ptr<scalar_t>();
  const int64_t step = values.stride(0), gate_step = gates.stride(0), to_step = out.stride(0);
  const int64_t count = out.size(1);
  const T scale = static_cast<T>(factor);
  const int64_t grain = std::max<int64_t>(1, at::internal::GRAIN_SIZE / count);
  at::parallel_for(0, out.size(0), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (lines == Lines::kPixels) {
        gate_pixel(value + i * step, bias, gate + i * gate_step, scale, to + i * to_step, count);
      } else {
        gate_channel(value + i * step, static_cast<T>(bias[i]), gate + i * gate_step, scale,
                     to + i * to_step, count);
      }
    }
  });
}

// As many pixels as a core's second-level cache holds values and gates for, for each thread.
int64_t block_of(const at::Tensor& q) {
  constexpr int64_t kBytesPerThread = 512 << 10, kLeast = 64;
  const int64_t bytes_per_pixel = 2 * q.size(1) * static_cast<int64_t>(q.element_size());
  return std::max(kLeast, at::get_num_threads() * kBytesPerThread / bytes_per_pixel);
}

at::Tensor gnconv_cpu(const at::Tensor& p, const at::Tensor& q, at::TensorList weights,
                      at::TensorList biases, double scale) {
  check_gnconv(p, q, weights, biases);
  const auto gate = [&](Lines lines, const at::Tensor& values, const at::Tensor& bias,
                        const at::Tensor& gates, const at::Tensor& out) {
    AT_DISPATCH_FLOATING_TYPES_AND2(
        at::kHalf, at::kBFloat16, out.scalar_type(), "hornet::gnconv",
        [&] { gate_matrix<scalar_t>(lines, values, bias, gates, scale, out); });
  };
  return gnconv_by_blocks(p, q, weights, biases, block_of(q), gate);
}

TORCH_LIBRARY_IMPL(hornet, CPU, m) { m.impl("gnconv", gnconv_cpu); }

}  // namespace
}  // namespace hornet::ops
