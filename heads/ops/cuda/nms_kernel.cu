// NMS without a host in the loop. A grid of blocks notes which sorted boxes overlap which (a bit
// per pair), then one block walks down the boxes and gathers the bits of those that it keeps. The
// bits are made for kChunk rows at a time, so that memory grows with n and not with its square.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <hornet/heads/ops/box_iou.h>
#include <hornet/heads/ops/checks.h>
#include <torch/library.h>

#include <algorithm>

namespace hornet::ops {
namespace {

using Word = unsigned long long;
constexpr int kBits = 64;
constexpr int64_t kChunk = 4096;

__host__ __device__ constexpr int64_t words_of(int64_t n) { return (n + kBits - 1) / kBits; }

// Row r of the mask has the bits of box first + r: the boxes after it that it overlaps. A block
// makes one word of kBits rows; words left of the diagonal are never read.
__global__ void overlap_kernel(const Box* boxes, int64_t n, int64_t first, float threshold,
                               const Word* removed, Word* mask) {
  const int64_t row_word = first / kBits + blockIdx.y;
  const int64_t column_word = blockIdx.x;
  if (column_word < row_word) return;

  __shared__ Box columns[kBits];
  const int64_t column = column_word * kBits + threadIdx.x;
  if (column < n) columns[threadIdx.x] = boxes[column];
  __syncthreads();

  const int64_t row = row_word * kBits + threadIdx.x;
  if (row >= n || (removed[row_word] >> threadIdx.x & 1)) return;
  const Box box = boxes[row];
  const float area = box_area(box);
  const int64_t left = n - column_word * kBits;
  const int end = left < kBits ? static_cast<int>(left) : kBits;
  Word bits = 0;
  for (int j = column_word == row_word ? threadIdx.x + 1 : 0; j < end; ++j) {
    if (overlaps(box, area, columns[j], box_area(columns[j]), threshold)) bits |= Word{1} << j;
  }
  mask[(row - first) * words_of(n) + column_word] = bits;
}

// One block, for the rows [first, last): decides kBits boxes at a time, then removes what those
// that were kept overlap.
__global__ void keep_kernel(const Word* mask, int64_t n, int64_t first, int64_t last, Word* removed,
                            bool* keep) {
  __shared__ Word diagonal[kBits];
  __shared__ Word kept;
  const int64_t words = words_of(n);
  for (int64_t word = first / kBits; word < words_of(last); ++word) {
    const Word* rows = mask + (word * kBits - first) * words;
    const int64_t box = word * kBits + threadIdx.x;
    const bool owner = threadIdx.x < kBits && box < n;
    if (owner) diagonal[threadIdx.x] = rows[threadIdx.x * words + word];
    __syncthreads();
    if (threadIdx.x == 0) {
      Word gone = removed[word];
      kept = 0;
      for (int bit = 0; bit < kBits && word * kBits + bit < n; ++bit) {
        if (gone >> bit & 1) continue;
        kept |= Word{1} << bit;
        gone |= diagonal[bit];
      }
    }
    __syncthreads();
    if (owner) keep[box] = kept >> threadIdx.x & 1;
    for (int64_t column = word + 1 + threadIdx.x; column < words; column += blockDim.x) {
      Word gone = removed[column];
      for (Word left = kept; left != 0; left &= left - 1) {
        gone |= rows[(__ffsll(left) - 1) * words + column];
      }
      removed[column] = gone;
    }
    __syncthreads();
  }
}

at::Tensor nms_cuda(const at::Tensor& boxes, const at::Tensor& scores, double iou_threshold) {
  check_nms(boxes, scores);
  const c10::cuda::CUDAGuard guard(boxes.device());
  const int64_t n = boxes.size(0);
  if (n == 0) return at::empty({0}, boxes.options().dtype(at::kLong));

  const at::Tensor order = scores.argsort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
  const at::Tensor sorted = boxes.to(at::kFloat).index_select(0, order).contiguous();
  const auto words_options = boxes.options().dtype(at::kLong);
  at::Tensor mask = at::empty({std::min(n, kChunk), words_of(n)}, words_options);
  at::Tensor removed = at::zeros({words_of(n)}, words_options);
  at::Tensor keep = at::empty({n}, boxes.options().dtype(at::kBool));

  const auto* box_data = reinterpret_cast<const Box*>(sorted.const_data_ptr<float>());
  auto* mask_data = reinterpret_cast<Word*>(mask.data_ptr<int64_t>());
  auto* removed_data = reinterpret_cast<Word*>(removed.data_ptr<int64_t>());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  for (int64_t first = 0; first < n; first += kChunk) {
    const int64_t last = std::min(first + kChunk, n);
    const dim3 grid(words_of(n), words_of(last - first));
    overlap_kernel<<<grid, kBits, 0, stream>>>(
        box_data, n, first, static_cast<float>(iou_threshold), removed_data, mask_data);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    keep_kernel<<<1, 1024, 0, stream>>>(mask_data, n, first, last, removed_data,
                                        keep.data_ptr<bool>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  return order.masked_select(keep);
}

TORCH_LIBRARY_IMPL(hornet, CUDA, m) { m.impl("nms", nms_cuda); }

}  // namespace
}  // namespace hornet::ops
