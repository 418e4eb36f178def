#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <hornet/backbone/ops/cuda/launch.h>
#include <hornet/heads/ops/blend_windows_sample.h>
#include <torch/library.h>

#include <vector>

namespace hornet::ops {
namespace {

at::Tensor dense_on(const at::Tensor& values, const at::Tensor& like) {
  return values.to(like.device(), at::kFloat).contiguous();
}

at::Tensor blended_scores_cuda(at::TensorList logits, at::IntArrayRef xs, at::IntArrayRef ys,
                               const at::Tensor& row_weights, const at::Tensor& column_weights,
                               int64_t x, int64_t y, int64_t width, int64_t height) {
  const at::Tensor& any = logits[0];
  const c10::cuda::CUDAGuard guard(any.device());
  const at::Tensor rows = dense_on(row_weights, any), columns = dense_on(column_weights, any);
  std::vector<PlacedLogits> placed;
  for (size_t i = 0; i < logits.size(); ++i) {
    const bool touches = xs[i] < x + width && xs[i] + columns.size(0) > x && ys[i] < y + height &&
                         ys[i] + rows.size(0) > y;
    if (touches) placed.push_back({logits[i].const_data_ptr<float>(), xs[i], ys[i]});
  }
  at::Tensor scores = at::empty({height, width, any.size(2)}, any.options());
  if (placed.empty()) return scores.zero_();
  const at::Tensor table =
      at::from_blob(placed.data(), {static_cast<int64_t>(placed.size() * sizeof(PlacedLogits))},
                    at::kByte)
          .to(any.device());
  BlendElements blend = {};
  blend.windows = reinterpret_cast<const PlacedLogits*>(table.const_data_ptr<uint8_t>());
  blend.window_count = static_cast<int64_t>(placed.size());
  blend.row_weights = rows.const_data_ptr<float>();
  blend.column_weights = columns.const_data_ptr<float>();
  blend.scores = scores.mutable_data_ptr<float>();
  blend.low_height = any.size(0);
  blend.low_width = any.size(1);
  blend.classes = any.size(2);
  blend.window_height = rows.size(0);
  blend.window_width = columns.size(0);
  blend.x = x;
  blend.y = y;
  blend.width = width;
  blend.height = height;
  launch_elements(blend);
  return scores;
}

TORCH_LIBRARY_IMPL(hornet, CUDA, m) { m.impl("blended_scores", blended_scores_cuda); }

}  // namespace
}  // namespace hornet::ops
