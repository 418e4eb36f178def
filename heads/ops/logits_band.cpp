#include <ATen/core/dispatch/Dispatcher.h>
#include <hornet/heads/ops/logits_band.h>
#include <hornet/heads/uper_head.h>
#include <torch/library.h>

#include <algorithm>

namespace hornet::ops {

void add_window_composite(const torch::Tensor& band, const torch::Tensor& logits,
                          const torch::Tensor& row_weights, const torch::Tensor& column_weights,
                          int64_t x, int64_t y, int64_t row_begin, int64_t row_end) {
  const int64_t height = row_weights.size(0), width = column_weights.size(0);
  const int64_t top = std::max(y, row_begin), bottom = std::min(y + height, row_end);
  const int64_t left = std::max<int64_t>(x, 0), right = std::min(x + width, band.size(2));
  if (top >= bottom || left >= right) return;
  const torch::Tensor resized =
      resize_bilinear(logits.to(torch::kFloat32).unsqueeze(0), height, width)[0];
  const torch::Tensor weighted =
      resized * (row_weights.unsqueeze(1) * column_weights.unsqueeze(0)).unsqueeze(0);
  const torch::Tensor part = weighted.slice(2, left - x, right - x).permute({1, 0, 2});
  for (int64_t row = top; row < bottom;) {  // as far as the ring goes before it starts over
    const int64_t slot = row % band.size(0);
    const int64_t count = std::min(bottom - row, band.size(0) - slot);
    band.narrow(0, slot, count).slice(2, left, right).add_(part.slice(0, row - y, row - y + count));
    row += count;
  }
}

torch::Tensor band_labels_composite(const torch::Tensor& rows, const torch::Tensor& row_totals,
                                    const torch::Tensor& column_totals) {
  const torch::Tensor totals = row_totals.unsqueeze(1) * column_totals.unsqueeze(0);
  return (rows / totals.unsqueeze(1))
      .argmax(1)
      .to(rows.size(1) <= 255 ? torch::kUInt8 : torch::kInt32);
}

void add_window(const torch::Tensor& band, const torch::Tensor& logits,
                const torch::Tensor& row_weights, const torch::Tensor& column_weights,
                const WindowPlace& place) {
  static auto op = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("hornet::add_window", "")
                       .typed<void(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                   const at::Tensor&, int64_t, int64_t, int64_t, int64_t)>();
  TORCH_CHECK(band.dim() == 3 && band.is_contiguous() && band.scalar_type() == torch::kFloat32,
              "hornet::add_window: the band must be float32 [R,C,W], contiguous, found ",
              band.scalar_type(), " ", band.sizes());
  TORCH_CHECK(logits.dim() == 3 && logits.size(0) == band.size(1),
              "hornet::add_window: logits must be [C,h,w] of ", band.size(1), " classes, found ",
              logits.sizes());
  TORCH_CHECK(place.y >= 0 && place.row_begin >= 0 && row_weights.size(0) <= band.size(0),
              "hornet::add_window: a window of ", row_weights.size(0), " rows at row ", place.y,
              " does not fit a band of ", band.size(0), " rows");
  op.call(band, logits, row_weights, column_weights, place.x, place.y, place.row_begin,
          place.row_end);
}

torch::Tensor band_labels(const torch::Tensor& rows, const torch::Tensor& row_totals,
                          const torch::Tensor& column_totals) {
  static auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("hornet::band_labels", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&)>();
  TORCH_CHECK(rows.dim() == 3 && row_totals.size(0) == rows.size(0) &&
                  column_totals.size(0) == rows.size(2),
              "hornet::band_labels: rows [R,C,W] need R and W totals, found ", rows.sizes(), ", ",
              row_totals.sizes(), " and ", column_totals.sizes());
  return op.call(rows, row_totals, column_totals);
}

TORCH_LIBRARY_FRAGMENT(hornet, m) {
  m.def(
      "add_window(Tensor(a!) band, Tensor logits, Tensor row_weights, Tensor column_weights, "
      "int x, int y, int row_begin, int row_end) -> ()");
  m.def("band_labels(Tensor rows, Tensor row_totals, Tensor column_totals) -> Tensor");
}

TORCH_LIBRARY_IMPL(hornet, CompositeExplicitAutograd, m) {
  m.impl("add_window", add_window_composite);
  m.impl("band_labels", band_labels_composite);
}

}  // namespace hornet::ops
