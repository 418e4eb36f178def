#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <hornet/backbone/ops/channel_norm_row.h>
#include <hornet/backbone/ops/cuda/launch.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

constexpr int kWarp = 32, kThreads = 128;

__device__ float warp_sum(float value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  return value;
}

// A warp a row.
template <typename Rows>
__global__ void norm_kernel(const __grid_constant__ Rows rows) {
  static_assert(Rows::kLanes == kWarp, "a lane is a thread of a warp");
  constexpr int kWarps = kThreads / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t step = int64_t{gridDim.x} * kWarps;
  for (int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; row < rows.rows;
       row += step) {
    const float mean = warp_sum(rows.sum(row, lane)) / static_cast<float>(rows.channels);
    const float inverse = rows.inverse_deviation(warp_sum(rows.squares(row, lane, mean)));
    rows.write(row, lane, mean, inverse);
  }
}

template <typename Rows>
void launch(const Rows& rows) {
  constexpr int64_t kRowsPerBlock = kThreads / kWarp, kMostBlocks = 1 << 16;
  const int64_t blocks = std::min((rows.rows + kRowsPerBlock - 1) / kRowsPerBlock, kMostBlocks);
  norm_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(
      rows);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

// Whether rows can be read `width` values at a time.
bool fits_width(const at::Tensor& rows, int64_t width) {
  const auto bytes = static_cast<uintptr_t>(width * rows.element_size());
  return rows.size(1) % width == 0 && rows.stride(0) % width == 0 &&
         reinterpret_cast<uintptr_t>(rows.const_data_ptr()) % bytes == 0;
}

const float* data_of(const std::optional<at::Tensor>& vector) {
  return vector ? vector->const_data_ptr<float>() : nullptr;
}

template <typename In, typename Out, int kWidth>
void run_norm(const at::Tensor& rows, const std::optional<at::Tensor>& weight,
              const std::optional<at::Tensor>& bias, double epsilon, bool interleave,
              const at::Tensor& out) {
  launch(ChannelNormRows<In, Out, kWidth, false>{
      rows.const_data_ptr<In>(), rows.stride(0), nullptr, 0, nullptr, data_of(weight),
      data_of(bias), out.mutable_data_ptr<Out>(), rows.size(0), rows.size(1),
      static_cast<float>(epsilon), interleave});
}

template <typename Branch, int kWidth>
void run_add_norm(const at::Tensor& stream, const at::Tensor& branch, const at::Tensor& branch_bias,
                  double epsilon, const at::Tensor& out) {
  launch(ChannelNormRows<float, Branch, kWidth, true>{
      stream.mutable_data_ptr<float>(), stream.stride(0), branch.const_data_ptr<Branch>(),
      branch.stride(0), branch_bias.const_data_ptr<float>(), nullptr, nullptr,
      out.mutable_data_ptr<Branch>(), stream.size(0), stream.size(1), static_cast<float>(epsilon),
      false});
}

at::Tensor side_by_side(const at::Tensor& rows) {
  return rows.stride(1) == 1 ? rows : rows.contiguous();
}

std::optional<at::Tensor> dense(const std::optional<at::Tensor>& vector) {
  return vector ? std::optional<at::Tensor>(vector->contiguous()) : std::nullopt;
}

at::Tensor channel_norm_cuda(const at::Tensor& given, const std::optional<at::Tensor>& given_weight,
                             const std::optional<at::Tensor>& given_bias, double epsilon,
                             at::ScalarType type, bool interleave) {
  const c10::cuda::CUDAGuard guard(given.device());
  const at::Tensor rows = side_by_side(given);
  const auto weight = dense(given_weight), bias = dense(given_bias);
  at::Tensor out = at::empty(rows.sizes(), rows.options().dtype(type));
  if (out.numel() == 0) return out;
  const bool wide = !interleave && fits_width(rows, 4) && fits_width(out, 4);
  visit_inference_type(rows.scalar_type(), [&](auto in) {
    visit_inference_type(type, [&](auto result) {
      using In = decltype(in);
      using Out = decltype(result);
      const auto run = wide ? run_norm<In, Out, 4> : run_norm<In, Out, 1>;
      run(rows, weight, bias, epsilon, interleave, out);
    });
  });
  return out;
}

at::Tensor add_channel_norm_cuda(const at::Tensor& stream, const at::Tensor& given_branch,
                                 const at::Tensor& given_bias, double epsilon) {
  const c10::cuda::CUDAGuard guard(stream.device());
  const at::Tensor branch = side_by_side(given_branch), bias = given_bias.contiguous();
  at::Tensor out = at::empty(branch.sizes(), branch.options());
  if (out.numel() == 0) return out;
  const bool wide = fits_width(stream, 4) && fits_width(branch, 4) && fits_width(out, 4);
  visit_inference_type(branch.scalar_type(), [&](auto type) {
    using Branch = decltype(type);
    const auto run = wide ? run_add_norm<Branch, 4> : run_add_norm<Branch, 1>;
    run(stream, branch, bias, epsilon, out);
  });
  return out;
}

TORCH_LIBRARY_IMPL(hornet, CUDA, m) {
  m.impl("channel_norm", channel_norm_cuda);
  m.impl("add_channel_norm", add_channel_norm_cuda);
}

}  // namespace
}  // namespace hornet::ops
