#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <hornet/backbone/ops/cuda/launch.h>
#include <hornet/heads/ops/logits_band_sample.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

at::Tensor dense_on(const at::Tensor& values, const at::Tensor& like) {
  return values.to(like.device(), at::kFloat).contiguous();
}

void add_window_cuda(const at::Tensor& band, const at::Tensor& logits,
                     const at::Tensor& row_weights, const at::Tensor& column_weights, int64_t x,
                     int64_t y, int64_t row_begin, int64_t row_end) {
  const c10::cuda::CUDAGuard guard(band.device());
  const at::Tensor low = dense_on(logits, band);
  const at::Tensor rows = dense_on(row_weights, band), columns = dense_on(column_weights, band);
  WindowElements window = {};
  window.band = band.mutable_data_ptr<float>();
  window.logits = low.const_data_ptr<float>();
  window.row_weights = rows.const_data_ptr<float>();
  window.column_weights = columns.const_data_ptr<float>();
  window.band_rows = band.size(0);
  window.classes = band.size(1);
  window.band_width = band.size(2);
  window.low_height = low.size(1);
  window.low_width = low.size(2);
  window.height = rows.size(0);
  window.width = columns.size(0);
  window.x = x;
  window.y = y;
  window.top = std::max(y, row_begin);
  window.bottom = std::min(y + window.height, row_end);
  window.left = std::max<int64_t>(x, 0);
  window.right = std::min(x + window.width, window.band_width);
  launch_elements(window);
}

template <typename Label>
at::Tensor labels_of(const at::Tensor& rows, const at::Tensor& row_totals,
                     const at::Tensor& column_totals, at::ScalarType type) {
  at::Tensor labels = at::empty({rows.size(0), rows.size(2)}, rows.options().dtype(type));
  launch_elements(
      LabelElements<Label>{rows.const_data_ptr<float>(), row_totals.const_data_ptr<float>(),
                           column_totals.const_data_ptr<float>(), labels.mutable_data_ptr<Label>(),
                           rows.size(0), rows.size(1), rows.size(2)});
  return labels;
}

at::Tensor band_labels_cuda(const at::Tensor& rows, const at::Tensor& row_totals,
                            const at::Tensor& column_totals) {
  const c10::cuda::CUDAGuard guard(rows.device());
  const at::Tensor values = rows.contiguous();
  const at::Tensor down = dense_on(row_totals, rows), across = dense_on(column_totals, rows);
  if (rows.size(1) <= 255) return labels_of<uint8_t>(values, down, across, at::kByte);
  return labels_of<int32_t>(values, down, across, at::kInt);
}

TORCH_LIBRARY_IMPL(hornet, CUDA, m) {
  m.impl("add_window", add_window_cuda);
  m.impl("band_labels", band_labels_cuda);
}

}  // namespace
}  // namespace hornet::ops
