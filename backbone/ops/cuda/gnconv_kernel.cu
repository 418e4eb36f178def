#include <ATen/Dispatch.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <hornet/backbone/ops/gnconv_chain.h>
#include <torch/library.h>

#include <limits>

namespace hornet::ops {
namespace {

template <typename scalar_t>
__global__ void gate_kernel(Gate<scalar_t> gate) {
  const int64_t line_step = int64_t{gridDim.y} * blockDim.y;
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  const bool pixels = gate.lines == Lines::kPixels;
  for (int64_t line = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; line < gate.count;
       line += line_step) {
    for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < gate.length; i += step) {
      gate.out.line(line)[i] =
          Gate<scalar_t>::product(gate.values.line(line)[i], gate.bias[pixels ? i : line],
                                  gate.gates.line(line)[i], gate.scale);
    }
  }
}

template <typename scalar_t>
void launch(const Gate<scalar_t>& gate) {
  const dim3 threads(32, 8);
  const auto blocks = [](int64_t size, int64_t per_block) {  // the kernel's loops do the rest
    return static_cast<unsigned>(std::min<int64_t>((size + per_block - 1) / per_block, 1 << 15));
  };
  const dim3 grid(blocks(gate.length, threads.x), blocks(gate.count, threads.y));
  gate_kernel<scalar_t><<<grid, threads, 0, c10::cuda::getCurrentCUDAStream()>>>(gate);
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
        [&] { launch(Gate<scalar_t>(lines, values, bias, gates, scale, out)); });
  };
  constexpr int64_t kWhole = std::numeric_limits<int64_t>::max();
  return gnconv_by_blocks(p, q, weights, biases, kWhole, gate);
}

TORCH_LIBRARY_IMPL(hornet, CUDA, m) { m.impl("gnconv", gnconv_cuda); }

}  // namespace
}  // namespace hornet::ops
