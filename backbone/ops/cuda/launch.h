// Launching what ../block_program.h and the headers of the ops say to compute.
#pragma once

#include <c10/core/ScalarType.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <limits>

namespace hornet::ops {

template <typename Program>
__global__ void __launch_bounds__(Program::kThreads)
    block_program_kernel(const __grid_constant__ Program program) {
  extern __shared__ __align__(16) unsigned char shared[];
  const int phases = program.phases();
  for (int phase = 0; phase < phases; ++phase) {
    program.run(phase, blockIdx.x, static_cast<int>(threadIdx.x), shared);
    __syncthreads();
  }
}

// Bytes of shared memory that a block can ask for on the current device.
inline int shared_limit() {
  int bytes = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                        c10::cuda::current_device()));
  return bytes;
}

// Runs a block program (see block_program.h) on the current stream; nothing if it has no blocks.
template <typename Program>
void launch_blocks(const Program& program) {
  constexpr int64_t kStaticLimit = 48 << 10;  // more has to be asked for
  const int64_t blocks = program.blocks(), bytes = program.shared_bytes();
  if (blocks == 0) return;
  TORCH_CHECK(blocks <= std::numeric_limits<int>::max(), "hornet: an op's input is too large, it ",
              "takes ", blocks, " blocks on a GPU");
  const auto kernel = block_program_kernel<Program>;
  if (bytes > kStaticLimit) {
    // Always the same limit: a lower one would meet the launches of other threads.
    C10_CUDA_CHECK(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_limit()));
  }
  kernel<<<static_cast<unsigned>(blocks), Program::kThreads, static_cast<size_t>(bytes),
           c10::cuda::getCurrentCUDAStream()>>>(program);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename Elements>
__global__ void elements_kernel(const __grid_constant__ Elements elements) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x, count = elements.count();
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
    elements.run(i);
  }
}

// Calls elements.run(i) for each i below elements.count(), in no order, on the current stream.
template <typename Elements>
void launch_elements(const Elements& elements) {
  constexpr int64_t kThreads = 256, kMostBlocks = 1 << 16;  // the kernel's loop does the rest
  const int64_t blocks = std::min((elements.count() + kThreads - 1) / kThreads, kMostBlocks);
  if (blocks == 0) return;
  elements_kernel<Elements>
      <<<static_cast<unsigned>(blocks), kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(elements);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

// Calls visit with a value of the C++ type that `type` means, of those that inference runs in.
template <typename Visit>
void visit_inference_type(c10::ScalarType type, const Visit& visit) {
  switch (type) {
    case c10::ScalarType::Float:
      return visit(float{});
    case c10::ScalarType::Half:
      return visit(c10::Half{});
    case c10::ScalarType::BFloat16:
      return visit(c10::BFloat16{});
    default:
      TORCH_CHECK(false, "hornet: expected float32, fp16 or bf16, found ", type);
  }
}

}  // namespace hornet::ops
