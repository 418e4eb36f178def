#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <hornet/heads/ops/checks.h>
#include <hornet/heads/ops/roi_align_sample.h>
#include <torch/library.h>

#include <algorithm>

namespace hornet::ops {
namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t total) {
  constexpr int64_t kMostBlocks = 1 << 16;  // the kernels' loops do the rest
  return static_cast<unsigned>(std::min((total + kThreads - 1) / kThreads, kMostBlocks));
}

// Which bin of which channel of which RoI a flat index means: in the order of the output, or with
// channels next to each other, as channels-last features have them.
template <typename T>
struct OutputIndex {
  int bin_y, bin_x;
  int64_t channel, roi;

  __device__ OutputIndex(int64_t index, const RoiAlignShape<T>& shape, bool channels_last = false) {
    if (channels_last) channel = split(index, shape.channels);
    bin_x = static_cast<int>(split(index, shape.pooled));
    bin_y = static_cast<int>(split(index, shape.pooled));
    if (!channels_last) channel = split(index, shape.channels);
    roi = index;
  }

  // Where it lies in the output.
  __device__ int64_t place(const RoiAlignShape<T>& shape) const {
    return ((roi * shape.channels + channel) * shape.pooled + bin_y) * shape.pooled + bin_x;
  }

 private:
  __device__ static int64_t split(int64_t& index, int64_t size) {
    const int64_t rest = index % size;
    index /= size;
    return rest;
  }
};

template <typename T>
__device__ int64_t image_of(const T* roi, int64_t images) {
  CUDA_KERNEL_ASSERT(roi[0] >= 0 && roi[0] < images && "hornet::roi_align: no such image");
  return static_cast<int64_t>(roi[0]);
}

template <typename scalar_t, typename T>
__global__ void pool_kernel(int64_t total, const scalar_t* features, int64_t images, const T* rois,
                            RoiAlignShape<T> shape, bool channels_last, scalar_t* output) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  const int64_t plane_size = int64_t{shape.height} * shape.width;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < total; i += step) {
    const OutputIndex<T> at(i, shape, channels_last);
    const T* roi = rois + at.roi * 5;
    const scalar_t* plane = features + image_of(roi, images) * shape.channels * plane_size +
                            at.channel * (channels_last ? 1 : plane_size);
    const int64_t pixel = channels_last ? shape.channels : 1;
    const RoiGrid<T> grid = roi_grid(roi, shape);
    T sum = 0;
    for_each_sample(grid, at.bin_y, at.bin_x, shape,
                    [&](const RoiSample<T>& sample) { sum += sample.read(plane, pixel); });
    output[at.place(shape)] = static_cast<scalar_t>(sum / grid.count());
  }
}

template <typename T>
__global__ void spread_kernel(int64_t total, const T* grad, int64_t images, const T* rois,
                              RoiAlignShape<T> shape, T* features_grad) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < total; i += step) {
    const OutputIndex<T> at(i, shape);
    const T* roi = rois + at.roi * 5;
    const int64_t plane_index = image_of(roi, images) * shape.channels + at.channel;
    T* plane = features_grad + plane_index * shape.height * shape.width;
    const RoiGrid<T> grid = roi_grid(roi, shape);
    const T share = grad[i] / grid.count();
    for_each_sample(grid, at.bin_y, at.bin_x, shape, [&](const RoiSample<T>& sample) {
      for (int tap = 0; tap < 4; ++tap) {
        atomicAdd(plane + sample.offsets[tap], sample.weights[tap] * share);
      }
    });
  }
}

at::Tensor roi_align_cuda(const at::Tensor& features, const at::Tensor& rois, double spatial_scale,
                          int64_t pooled, int64_t sampling_ratio, bool aligned) {
  check_roi_align(features, rois, features.sizes(), pooled, sampling_ratio);
  const c10::cuda::CUDAGuard guard(features.device());
  at::Tensor output = at::empty({rois.size(0), features.size(1), pooled, pooled},
                                features.options().memory_format(at::MemoryFormat::Contiguous));
  if (output.numel() == 0) return output;

  const auto format = features.suggest_memory_format();
  const bool channels_last = format == at::MemoryFormat::ChannelsLast;
  const at::Tensor planes = features.contiguous(format);
  const auto stream = c10::cuda::getCurrentCUDAStream();
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, features.scalar_type(), "hornet::roi_align", [&] {
        using T = at::opmath_type<scalar_t>;
        const at::Tensor corners = rois.to(c10::CppTypeToScalarType<T>::value).contiguous();
        const auto shape =
            roi_align_shape<T>(features.sizes(), spatial_scale, pooled, sampling_ratio, aligned);
        pool_kernel<scalar_t, T><<<blocks_for(output.numel()), kThreads, 0, stream>>>(
            output.numel(), planes.const_data_ptr<scalar_t>(), features.size(0),
            corners.const_data_ptr<T>(), shape, channels_last, output.mutable_data_ptr<scalar_t>());
      });
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return output;
}

at::Tensor roi_align_backward_cuda(const at::Tensor& grad, const at::Tensor& rois,
                                   double spatial_scale, int64_t pooled, int64_t sampling_ratio,
                                   bool aligned, at::IntArrayRef feature_size) {
  check_roi_align_backward(grad, rois, feature_size, pooled, sampling_ratio);
  at::globalContext().alertNotDeterministic("hornet::_roi_align_backward on CUDA");
  const c10::cuda::CUDAGuard guard(grad.device());
  const auto type = at::toOpMathType(grad.scalar_type());
  at::Tensor features_grad = at::zeros(feature_size, grad.options().dtype(type));
  if (grad.numel() == 0) return features_grad.to(grad.scalar_type());

  const at::Tensor bins = grad.to(type).contiguous();
  const at::Tensor corners = rois.to(type).contiguous();
  const auto stream = c10::cuda::getCurrentCUDAStream();
  AT_DISPATCH_FLOATING_TYPES(type, "hornet::_roi_align_backward", [&] {
    const auto shape =
        roi_align_shape<scalar_t>(feature_size, spatial_scale, pooled, sampling_ratio, aligned);
    spread_kernel<scalar_t><<<blocks_for(bins.numel()), kThreads, 0, stream>>>(
        bins.numel(), bins.const_data_ptr<scalar_t>(), feature_size[0],
        corners.const_data_ptr<scalar_t>(), shape, features_grad.mutable_data_ptr<scalar_t>());
  });
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return features_grad.to(grad.scalar_type());
}

TORCH_LIBRARY_IMPL(hornet, CUDA, m) {
  m.impl("roi_align", roi_align_cuda);
  m.impl("_roi_align_backward", roi_align_backward_cuda);
}

}  // namespace
}  // namespace hornet::ops
