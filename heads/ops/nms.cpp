#include <ATen/core/dispatch/Dispatcher.h>
#include <hornet/heads/ops/nms.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

torch::Tensor class_by_class(const torch::Tensor& boxes, const torch::Tensor& scores,
                             const torch::Tensor& class_ids, double iou_threshold) {
  torch::Tensor kept = torch::zeros_like(scores, at::kBool);
  const torch::Tensor present = std::get<0>(at::_unique(class_ids)).cpu();
  for (int64_t i = 0; i < present.size(0); ++i) {
    const torch::Tensor rows = (class_ids == present[i].item()).nonzero().squeeze(1);
    const torch::Tensor best =
        nms(boxes.index_select(0, rows), scores.index_select(0, rows), iou_threshold);
    kept.index_fill_(0, rows.index_select(0, best), true);
  }
  const torch::Tensor rows = kept.nonzero().squeeze(1);
  return rows.index_select(
      0, scores.index_select(0, rows).argsort(/*stable=*/true, /*dim=*/0, /*descending=*/true));
}

}  // namespace

torch::Tensor nms(const torch::Tensor& boxes, const torch::Tensor& scores, double iou_threshold) {
  static auto op = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("hornet::nms", "")
                       .typed<at::Tensor(const at::Tensor&, const at::Tensor&, double)>();
  return op.call(boxes, scores, iou_threshold);
}

torch::Tensor batched_nms(const torch::Tensor& boxes, const torch::Tensor& scores,
                          const torch::Tensor& class_ids, double iou_threshold,
                          int64_t split_above) {
  TORCH_CHECK(class_ids.sizes() == scores.sizes(), "hornet::batched_nms: class_ids must be ",
              scores.sizes(), " as the scores, found ", class_ids.sizes());
  if (boxes.numel() == 0) return nms(boxes, scores, iou_threshold);
  if (boxes.size(0) > split_above) return class_by_class(boxes, scores, class_ids, iou_threshold);
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
