// Small maps stay in shared memory from the transform to its inverse. Larger ones, float64, and
// sizes with a large prime factor, for which such transforms are slow, go to cuFFT.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <hornet/backbone/ops/checks.h>
#include <hornet/backbone/ops/cuda/launch.h>
#include <hornet/backbone/ops/global_filter.h>
#include <hornet/backbone/ops/global_filter_block.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

constexpr int64_t kLongestAxis = 1 << 12;  // no map of this length fits
constexpr int kMostTerms = 64;             // of both axes

FilterBlocks blocks_of(const at::Tensor& x) {
  FilterBlocks blocks = {};
  blocks.images = x.size(0);
  blocks.channels = x.size(1);
  blocks.rows = make_fourier_axis(static_cast<int>(x.size(2)));
  blocks.columns = make_fourier_axis(static_cast<int>(x.size(3)));
  return blocks;
}

bool fits_block(const at::Tensor& x, const at::Tensor& complex_weight) {
  if (x.scalar_type() == at::kDouble || complex_weight.scalar_type() == at::kDouble) return false;
  if (x.size(2) > kLongestAxis || x.size(3) > kLongestAxis) return false;
  const FilterBlocks blocks = blocks_of(x);
  return blocks.rows.terms() + blocks.columns.terms() <= kMostTerms &&
         blocks.shared_bytes() <= shared_limit();
}

FilterBlocks::Map map_of(const at::Tensor& map, float* data) {
  return {data, map.stride(0), map.stride(1), map.stride(2), map.stride(3)};
}

void run_blocks(const at::Tensor& x, const at::Tensor& complex_weight, const at::Tensor& out) {
  const bool fits =
      complex_weight.size(1) == x.size(2) && complex_weight.size(2) == x.size(3) / 2 + 1;
  const at::Tensor values = x.to(at::kFloat);
  const at::Tensor filter =
      fits ? complex_weight.to(at::kFloat).contiguous()
           : interpolate_filter(complex_weight, x.size(2), x.size(3)).to(at::kFloat);
  FilterBlocks blocks = blocks_of(x);
  blocks.x = map_of(values, const_cast<float*>(values.const_data_ptr<float>()));
  blocks.out = map_of(out, out.mutable_data_ptr<float>());
  blocks.filter = reinterpret_cast<const ComplexValue*>(filter.const_data_ptr<float>());
  launch_blocks(blocks);
}

at::Tensor global_filter_cuda(const at::Tensor& x, const at::Tensor& complex_weight) {
  check_global_filter(x, complex_weight);
  const c10::cuda::CUDAGuard guard(x.device());
  if (x.numel() == 0 || !fits_block(x, complex_weight)) {
    return global_filter_composite(x, complex_weight);
  }
  at::Tensor out = at::empty(x.sizes(), x.options().dtype(at::kFloat));
  run_blocks(x, complex_weight, out);
  return out;
}

void global_filter_into_cuda(const at::Tensor& x, const at::Tensor& complex_weight,
                             const at::Tensor& out) {
  check_global_filter(x, complex_weight);
  const c10::cuda::CUDAGuard guard(x.device());
  if (x.numel() == 0) return;
  if (out.scalar_type() != at::kFloat || !fits_block(x, complex_weight)) {
    out.copy_(global_filter_composite(x, complex_weight));
  } else {
    run_blocks(x, complex_weight, out);
  }
}

TORCH_LIBRARY_IMPL(hornet, CUDA, m) {
  m.impl("global_filter", global_filter_cuda);
  m.impl("global_filter_into", global_filter_into_cuda);
}

}  // namespace
}  // namespace hornet::ops
