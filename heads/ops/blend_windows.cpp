#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <hornet/heads/ops/blend_windows.h>
#include <hornet/heads/ops/resize_bilinear.h>
#include <torch/library.h>

#include <algorithm>

namespace hornet::ops {
namespace {

using Blend = at::Tensor(at::TensorList, at::IntArrayRef, at::IntArrayRef, const at::Tensor&,
                         const at::Tensor&, int64_t, int64_t, int64_t, int64_t);

// Where there is no kernel of its own: some rows of scores at a time.
at::Tensor blended_labels_composite(at::TensorList logits, at::IntArrayRef xs, at::IntArrayRef ys,
                                    const at::Tensor& row_weights, const at::Tensor& column_weights,
                                    int64_t x, int64_t y, int64_t width, int64_t height) {
  static auto scores =
      c10::Dispatcher::singleton().findSchemaOrThrow("hornet::blended_scores", "").typed<Blend>();
  constexpr int64_t kBytes = int64_t{64} << 20;  // of scores
  const at::Tensor& any = logits[0];
  const int64_t row_bytes = width * any.size(2) * any.element_size();
  const int64_t rows = std::clamp(kBytes / row_bytes, int64_t{1}, height);
  const at::Tensor labels =
      at::empty({height, width}, any.options().dtype(any.size(2) <= 255 ? at::kByte : at::kInt));
  for (int64_t row = 0; row < height; row += rows) {
    const int64_t count = std::min(rows, height - row);
    const at::Tensor part =
        scores.call(logits, xs, ys, row_weights, column_weights, x, y + row, width, count);
    labels.narrow(0, row, count).copy_(part.argmax(2));
  }
  return labels;
}

at::Tensor call(const c10::TypedOperatorHandle<Blend>& op, const PlacedWindows& windows,
                const PixelRectangle& rectangle) {
  const size_t count = windows.logits.size();
  TORCH_CHECK(count > 0 && windows.x.size() == count && windows.y.size() == count,
              "hornet: blending needs windows, and a place for each");
  for (const at::Tensor& logits : windows.logits) {
    TORCH_CHECK(logits.dim() == 3 && logits.is_contiguous() && logits.scalar_type() == at::kFloat &&
                    logits.sizes() == windows.logits[0].sizes() && logits.numel() > 0,
                "hornet: logits of windows must be dense float32 [h,w,C] of one size, found ",
                logits.scalar_type(), " ", logits.sizes());
  }
  TORCH_CHECK(rectangle.width > 0 && rectangle.height > 0, "hornet: nothing to blend");
  return op.call(windows.logits, windows.x, windows.y, windows.row_weights, windows.column_weights,
                 rectangle.x, rectangle.y, rectangle.width, rectangle.height);
}

}  // namespace

torch::Tensor blended_scores_composite(at::TensorList logits, at::IntArrayRef xs,
                                       at::IntArrayRef ys, const torch::Tensor& row_weights,
                                       const torch::Tensor& column_weights, int64_t x, int64_t y,
                                       int64_t width, int64_t height) {
  const int64_t rows = row_weights.size(0), columns = column_weights.size(0);
  const at::Tensor weight =
      (row_weights.unsqueeze(1) * column_weights.unsqueeze(0)).to(logits[0].device());
  const at::Tensor sum = at::zeros({height, width, logits[0].size(2)}, logits[0].options());
  const at::Tensor total = at::zeros({height, width, 1}, logits[0].options());
  for (size_t i = 0; i < logits.size(); ++i) {
    const int64_t top = std::max(ys[i], y), bottom = std::min(ys[i] + rows, y + height);
    const int64_t left = std::max(xs[i], x), right = std::min(xs[i] + columns, x + width);
    if (top >= bottom || left >= right) continue;
    const at::Tensor resized =
        resize_bilinear(logits[i].permute({2, 0, 1}).unsqueeze(0), rows, columns)[0];
    const auto part = [&](const at::Tensor& map, int64_t from_y, int64_t from_x) {
      return map.slice(0, top - from_y, bottom - from_y).slice(1, left - from_x, right - from_x);
    };
    const at::Tensor counts = part(weight, ys[i], xs[i]).unsqueeze(2);
    part(sum, y, x).add_(part(resized.permute({1, 2, 0}), ys[i], xs[i]) * counts);
    part(total, y, x).add_(counts);
  }
  return at::where(total > 0, sum / total, at::zeros_like(total));
}

torch::Tensor blended_scores(const PlacedWindows& windows, const PixelRectangle& rectangle) {
  static auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("hornet::blended_scores", "").typed<Blend>();
  return call(op, windows, rectangle);
}

torch::Tensor blended_labels(const PlacedWindows& windows, const PixelRectangle& rectangle) {
  static auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("hornet::blended_labels", "").typed<Blend>();
  return call(op, windows, rectangle);
}

TORCH_LIBRARY_FRAGMENT(hornet, m) {
  m.def(
      "blended_scores(Tensor[] logits, int[] xs, int[] ys, Tensor row_weights, "
      "Tensor column_weights, int x, int y, int width, int height) -> Tensor");
  m.def(
      "blended_labels(Tensor[] logits, int[] xs, int[] ys, Tensor row_weights, "
      "Tensor column_weights, int x, int y, int width, int height) -> Tensor");
}

TORCH_LIBRARY_IMPL(hornet, CompositeExplicitAutograd, m) {
  m.impl("blended_scores", blended_scores_composite);
  m.impl("blended_labels", blended_labels_composite);
}

}  // namespace hornet::ops
