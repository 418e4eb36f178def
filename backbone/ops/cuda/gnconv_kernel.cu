#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <hornet/backbone/ops/gnconv_chain.h>
#include <torch/library.h>

#include <limits>

namespace hornet::ops {
namespace {

template <typename scalar_t>
struct Matrix {
  scalar_t* data;
  int64_t step;  // from line to line

  __device__ scalar_t& at(int64_t line, int64_t i) const { return data[line * step + i]; }
};

template <typename scalar_t, typename T>
__global__ void gate_kernel(int64_t count, int64_t length, bool lines_are_pixels,
                            Matrix<const scalar_t> values, const scalar_t* bias,
                            Matrix<const scalar_t> gates, T scale, Matrix<scalar_t> out) {
  const int64_t line_step = int64_t{gridDim.y} * blockDim.y;
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t line = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; line < count;
       line += line_step) {
    for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < length; i += step) {
      const scalar_t added = bias[lines_are_pixels ? i : line];
      out.at(line, i) =
          static_cast<scalar_t>(gated<T>(values.at(line, i), added, gates.at(line, i), scale));
    }
  }
}

template <typename scalar_t>
void gate_matrix(Lines lines, const at::Tensor& values, const at::Tensor& bias,
                 const at::Tensor& gates, double scale, const at::Tensor& out) {
  using T = at::opmath_type<scalar_t>;
  const dim3 threads(32, 8);
  const auto blocks = [](int64_t size, int64_t per_block) {  // the kernel's loops do the rest
    return static_cast<unsigned>(std::min<int64_t>((size + per_block - 1) / per_block, 1 << 15));
  };
  const dim3 grid(blocks(out.size(1), threads.x), blocks(out.size(0), threads.y));
  gate_kernel<scalar_t, T><<<grid, threads, 0, c10::cuda::getCurrentCUDAStream()>>>(
      out.size(0), out.size(1), lines == Lines::kPixels,
      {values.const_data_ptr<scalar_t>(), values.stride(0)}, bias.const_data_ptr<scalar_t>(),
      {gates.const_data_ptr<scalar_t>(), gates.stride(0)}, static_cast<T>(scale),
      {out.mutable_data_ptr<scalar_t>(), out.stride(0)});
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

at::Tensor gnconv_cuda(const at::Tensor& p, const at::Tensor& q, at::TensorList weights,
                       at::TensorList biases, double scale) {
  check_gnconv(p, q, weights, biases);
  const c10::cuda::CUDAGuard guard(p.device());
  const auto gate = [&](Lines lines, const at::Tensor& values, const at::Tensor& bias,
                        const at::Tensor& gates, const at::Tensor& out) {
    AT_DISPATCH_FLOATING_TYPES_AND2(
        at::kHalf, at::kBFloat16, out.scalar_type(), "hornet::gnconv",
        [&] { gate_matrix<scalar_t>(lines, values, bias, gates, scale, out); });
  };
  constexpr int64_t kWhole = std::numeric_limits<int64_t>::max();
  return gnconv_by_blocks(p, q, weights, biases, kWhole, gate);
}

TORCH_LIBRARY_IMPL(hornet, CUDA, m) { m.impl("gnconv", gnconv_cuda); }

}  // namespace
}  // namespace hornet::ops
