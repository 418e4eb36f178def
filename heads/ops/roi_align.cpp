#include <ATen/core/dispatch/Dispatcher.h>
#include <hornet/heads/ops/roi_align.h>
#include <torch/library.h>

namespace hornet::ops {

torch::Tensor roi_align(const torch::Tensor& features, const torch::Tensor& rois,
                        double spatial_scale, int64_t pooled, int64_t sampling_ratio,
                        bool aligned) {
  static auto op = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("hornet::roi_align", "")
                       .typed<at::Tensor(const at::Tensor&, const at::Tensor&, double, int64_t,
                                         int64_t, bool)>();
  return op.call(features, rois, spatial_scale, pooled, sampling_ratio, aligned);
}

TORCH_LIBRARY_FRAGMENT(hornet, m) {
  m.def(
      "roi_align(Tensor features, Tensor rois, float spatial_scale, int pooled, "
      "int sampling_ratio=0, bool aligned=True) -> Tensor");
  m.def(
      "_roi_align_backward(Tensor grad, Tensor rois, float spatial_scale, int pooled, "
      "int sampling_ratio, bool aligned, int[] feature_size) -> Tensor");
}

}  // namespace hornet::ops
