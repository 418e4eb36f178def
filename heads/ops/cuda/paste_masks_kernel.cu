#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <hornet/heads/ops/checks.h>
#include <hornet/heads/ops/paste_masks_sample.h>
#include <torch/library.h>

#include <algorithm>

namespace hornet::ops {
namespace {

// The object that a packed pixel belongs to: the last one that starts at or before it.
__device__ int64_t object_of(int64_t pixel, const int64_t* offsets, int64_t n) {
  int64_t low = 0, high = n;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (offsets[middle] <= pixel ? low : high) = middle;
  }
  return low;
}

__global__ void paste_kernel(int64_t total, const float* probs, int64_t n, int m,
                             const float* boxes, const int64_t* regions, const int64_t* offsets,
                             float threshold, bool bordered, uint8_t* pixels) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < total; i += step) {
    const int64_t object = object_of(i, offsets, n);
    const float* box = boxes + object * 4;
    const int64_t* region = regions + object * 4;
    const int64_t inside = i - offsets[object];
    const MaskTap x = mask_tap(region[0] + inside % region[2], box[0], box[2], m, bordered);
    const MaskTap y = mask_tap(region[1] + inside / region[2], box[1], box[3], m, bordered);
    pixels[i] = mask_sample(probs + object * m * m, m, y, x) >= threshold;
  }
}

at::Tensor paste_masks_cuda(const at::Tensor& probs, const at::Tensor& boxes,
                            const at::Tensor& regions, const at::Tensor& offsets, double threshold,
                            bool bordered) {
  const int64_t total = check_paste_masks(probs, boxes, regions, offsets);
  if (total == 0) return at::empty({0}, at::kByte);

  const c10::cuda::CUDAGuard guard(probs.device());
  const at::Tensor values = probs.to(at::kFloat).contiguous();
  const at::Tensor corners = boxes.to(at::kFloat).contiguous();
  const at::Tensor rectangles = regions.contiguous().to(probs.device());
  const at::Tensor starts = offsets.contiguous().to(probs.device());
  at::Tensor pixels = at::empty({total}, probs.options().dtype(at::kByte));

  constexpr int64_t kThreads = 256, kMostBlocks = 1 << 16;
  const auto blocks = std::min((total + kThreads - 1) / kThreads, kMostBlocks);
  const auto stream = c10::cuda::getCurrentCUDAStream();
  paste_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(
      total, values.const_data_ptr<float>(), probs.size(0), static_cast<int>(probs.size(1)),
      corners.const_data_ptr<float>(), rectangles.const_data_ptr<int64_t>(),
      starts.const_data_ptr<int64_t>(), static_cast<float>(threshold), bordered,
      pixels.mutable_data_ptr<uint8_t>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return pixels.to(at::kCPU);
}

TORCH_LIBRARY_IMPL(hornet, CUDA, m) { m.impl("paste_masks", paste_masks_cuda); }

}  // namespace
}  // namespace hornet::ops
