// RoIAlign is linear in the features, and the two ops are each other's transpose: each one's
// gradient is the other, to any order. RoIs get no gradient.
#include <ATen/core/dispatch/Dispatcher.h>
#include <hornet/heads/ops/roi_align.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

at::Tensor roi_align_backward(const at::Tensor& grad, const at::Tensor& rois, double spatial_scale,
                              int64_t pooled, int64_t sampling_ratio, bool aligned,
                              at::IntArrayRef feature_size) {
  static auto op = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("hornet::_roi_align_backward", "")
                       .typed<at::Tensor(const at::Tensor&, const at::Tensor&, double, int64_t,
                                         int64_t, bool, at::IntArrayRef)>();
  return op.call(grad, rois, spatial_scale, pooled, sampling_ratio, aligned, feature_size);
}

class RoiAlign : public torch::autograd::Function<RoiAlign> {
 public:
  static Variable forward(AutogradContext* ctx, const Variable& features, const Variable& rois,
                          double spatial_scale, int64_t pooled, int64_t sampling_ratio,
                          bool aligned) {
    ctx->save_for_backward({rois});
    ctx->saved_data["spatial_scale"] = spatial_scale;
    ctx->saved_data["pooled"] = pooled;
    ctx->saved_data["sampling_ratio"] = sampling_ratio;
    ctx->saved_data["aligned"] = aligned;
    ctx->saved_data["feature_size"] = features.sizes();
    const at::AutoDispatchBelowADInplaceOrView guard;
    return roi_align(features, rois, spatial_scale, pooled, sampling_ratio, aligned);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto& saved = ctx->saved_data;
    const Variable grad = roi_align_backward(
        grads[0], ctx->get_saved_variables()[0], saved.at("spatial_scale").toDouble(),
        saved.at("pooled").toInt(), saved.at("sampling_ratio").toInt(),
        saved.at("aligned").toBool(), saved.at("feature_size").toIntVector());
    return {grad, Variable(), Variable(), Variable(), Variable(), Variable()};
  }
};

class RoiAlignBackward : public torch::autograd::Function<RoiAlignBackward> {
 public:
  static Variable forward(AutogradContext* ctx, const Variable& grad, const Variable& rois,
                          double spatial_scale, int64_t pooled, int64_t sampling_ratio,
                          bool aligned, at::IntArrayRef feature_size) {
    ctx->save_for_backward({rois});
    ctx->saved_data["spatial_scale"] = spatial_scale;
    ctx->saved_data["pooled"] = pooled;
    ctx->saved_data["sampling_ratio"] = sampling_ratio;
    ctx->saved_data["aligned"] = aligned;
    const at::AutoDispatchBelowADInplaceOrView guard;
    return roi_align_backward(grad, rois, spatial_scale, pooled, sampling_ratio, aligned,
                              feature_size);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto& saved = ctx->saved_data;
    const Variable grad =
        roi_align(grads[0], ctx->get_saved_variables()[0], saved.at("spatial_scale").toDouble(),
                  saved.at("pooled").toInt(), saved.at("sampling_ratio").toInt(),
                  saved.at("aligned").toBool());
    return {grad, Variable(), Variable(), Variable(), Variable(), Variable(), Variable()};
  }
};

at::Tensor roi_align_autograd(const at::Tensor& features, const at::Tensor& rois,
                              double spatial_scale, int64_t pooled, int64_t sampling_ratio,
                              bool aligned) {
  return RoiAlign::apply(features, rois, spatial_scale, pooled, sampling_ratio, aligned);
}

at::Tensor roi_align_backward_autograd(const at::Tensor& grad, const at::Tensor& rois,
                                       double spatial_scale, int64_t pooled, int64_t sampling_ratio,
                                       bool aligned, at::IntArrayRef feature_size) {
  return RoiAlignBackward::apply(grad, rois, spatial_scale, pooled, sampling_ratio, aligned,
                                 feature_size);
}

TORCH_LIBRARY_IMPL(hornet, Autograd, m) {
  m.impl("roi_align", roi_align_autograd);
  m.impl("_roi_align_backward", roi_align_backward_autograd);
}

}  // namespace
}  // namespace hornet::ops
