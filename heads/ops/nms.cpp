#include <ATen/core/dispatch/Dispatcher.h>
#include <hornet/heads/ops/nms.h>
#include <torch/library.h>

namespace hornet::ops {

torch::Tensor nms(const torch::Tensor& boxes, const torch::Tensor& scores, double iou_threshold) {
  static auto op = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("hornet::nms", "")
                       .typed<at::Tensor(const at::Tensor&, const at::Tensor&, double)>();
  return op.call(boxes, scores, iou_threshold);
}

torch::Tensor batched_nms(const torch::Tensor& boxes, const torch::Tensor& scores,
                          const torch::Tensor& class_ids, double iou_threshold) {
  TORCH_CHECK(class_ids.sizes() == scores.sizes(), "hornet::batched_nms: class_ids must be ",
              scores.sizes(), " as the scores, found ", class_ids.sizes());
  if (boxes.numel() == 0) return nms(boxes, scores, iou_threshold);
  const torch::Tensor corners = boxes.to(at::kFloat);
  // One box that is not finite must not put all the others at NaN.
  const torch::Tensor largest = corners.nan_to_num(0, 0, 0).max();
  const torch::Tensor shifts = class_ids.to(at::kFloat) * (largest + 1);
  return nms(corners + shifts.unsqueeze(1), scores, iou_threshold);
}

TORCH_LIBRARY_FRAGMENT(hornet, m) {
  m.def("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor");
}

}  // namespace hornet::ops
