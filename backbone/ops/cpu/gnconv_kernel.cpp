#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <hornet/backbone/ops/cpu/vector_levels.h>
#include <hornet/backbone/ops/gnconv_chain.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

// `out` is `values` or does not overlap them, so that the inner loops have no dependencies.
template <typename scalar_t>
inline void gate_lines(const Gate<scalar_t>& gate, int64_t begin, int64_t end) {
  using T = typename Gate<scalar_t>::T;
  const scalar_t* bias = gate.bias;
  const T scale = gate.scale;
  const int64_t length = gate.length;
  for (int64_t line = begin; line < end; ++line) {
    const scalar_t *value = gate.values.line(line), *factor = gate.gates.line(line);
    scalar_t* out = gate.out.line(line);
    if (gate.lines == Lines::kPixels) {
#pragma omp simd
      for (int64_t i = 0; i < length; ++i) {
        out[i] = Gate<scalar_t>::product(value[i], bias[i], factor[i], scale);
      }
    } else {
      const T added = bias[line];
#pragma omp simd
      for (int64_t i = 0; i < length; ++i) {
        out[i] = Gate<scalar_t>::product(value[i], added, factor[i], scale);
      }
    }
  }
}

template <typename scalar_t>
void run_gate(const Gate<scalar_t>& gate, int64_t begin, int64_t end) {
  gate_lines(gate, begin, end);
}

HORNET_VECTOR_LEVELS
void run_gate(const Gate<float>& gate, int64_t begin, int64_t end) { gate_lines(gate, begin, end); }

template <typename scalar_t>
void run_in_parallel(const Gate<scalar_t>& gate) {
  const int64_t grain = std::max<int64_t>(1, at::internal::GRAIN_SIZE / gate.length);
  at::parallel_for(0, gate.count, grain,
                   [&](int64_t begin, int64_t end) { run_gate(gate, begin, end); });
}

// As many pixels as the caches of a core hold gates and products for, for each thread. With fewer
// than 256 the matrix products are slow.
int64_t block_of(const at::Tensor& q) {
  constexpr int64_t kBytesPerThread = 2 << 20, kLeast = 256;
  const int64_t bytes_per_pixel = 2 * q.size(1) * static_cast<int64_t>(q.element_size());
  return at::get_num_threads() * std::max(kLeast, kBytesPerThread / bytes_per_pixel);
}

at::Tensor gnconv_cpu(const at::Tensor& p, const at::Tensor& q, at::TensorList weights,
                      at::TensorList biases, double scale) {
  check_gnconv(p, q, weights, biases);
  const auto gate = [&](Lines lines, const at::Tensor& values, const at::Tensor& bias,
                        const at::Tensor& gates, const at::Tensor& out) {
    AT_DISPATCH_FLOATING_TYPES_AND2(
        at::kHalf, at::kBFloat16, out.scalar_type(), "hornet::gnconv",
        [&] { run_in_parallel(Gate<scalar_t>(lines, values, bias, gates, scale, out)); });
  };
  return gnconv_by_blocks(p, q, weights, biases, block_of(q), gate);
}

TORCH_LIBRARY_IMPL(hornet, CPU, m) { m.impl("gnconv", gnconv_cpu); }

}  // namespace
}  // namespace hornet::ops
