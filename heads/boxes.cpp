#include <hornet/heads/boxes.h>

#include <cmath>

namespace hornet {
namespace {

// [A,4] around the origin.
torch::Tensor base_anchors(const AnchorOptions& options, int64_t stride, torch::Device device) {
  const auto floats = torch::TensorOptions().dtype(torch::kFloat32);
  const torch::Tensor h_ratios = torch::tensor(options.ratios, floats).sqrt();
  const torch::Tensor scales = torch::tensor(options.scales, floats);
  const double base = static_cast<double>(stride);
  const torch::Tensor w = (base * h_ratios.reciprocal().unsqueeze(1) * scales).flatten();
  const torch::Tensor h = (base * h_ratios.unsqueeze(1) * scales).flatten();
  const torch::Tensor anchors = torch::stack({w * -0.5, h * -0.5, w * 0.5, h * 0.5}, 1);
  return (options.rounded ? anchors.round() : anchors).to(device);
}

torch::Tensor as_tensor(const DeltaStds& stds, const torch::TensorOptions& options) {
  return torch::tensor(c10::ArrayRef<double>(stds.data(), 4), options);
}

}  // namespace

torch::Tensor level_anchors(const AnchorOptions& options, int64_t height, int64_t width,
                            int64_t stride, torch::Device device, const ImageSize& input) {
  const auto floats = torch::TensorOptions().dtype(torch::kFloat32).device(device);
  const bool fit = options.fit_input && height > 0 && width > 0;
  const torch::Tensor xs = torch::arange(width, floats) * (fit ? input.width / width : stride);
  const torch::Tensor ys = torch::arange(height, floats) * (fit ? input.height / height : stride);
  const torch::Tensor x = xs.expand({height, width}).flatten();
  const torch::Tensor y = ys.unsqueeze(1).expand({height, width}).flatten();
  const torch::Tensor shifts = torch::stack({x, y, x, y}, 1);
  return (shifts.unsqueeze(1) + base_anchors(options, stride, device)).view({-1, 4});
}

torch::Tensor apply_deltas(const torch::Tensor& boxes, const torch::Tensor& deltas,
                           const DeltaStds& stds, bool limit_shrinking) {
  static const double kMaxLogRatio = std::abs(std::log(16.0 / 1000.0));
  TORCH_CHECK(boxes.dim() == 2 && boxes.size(1) == 4 && deltas.size(0) == boxes.size(0) &&
                  deltas.size(1) % 4 == 0,
              "apply_deltas: boxes [K,4] and deltas [K,4*C], got ", boxes.sizes(), " and ",
              deltas.sizes());
  const int64_t groups = deltas.size(1) / 4;
  const torch::Tensor scaled = deltas.reshape({-1, groups, 4}) * as_tensor(stds, boxes.options());
  const torch::Tensor centre = ((boxes.slice(1, 0, 2) + boxes.slice(1, 2, 4)) * 0.5).unsqueeze(1);
  const torch::Tensor size = (boxes.slice(1, 2, 4) - boxes.slice(1, 0, 2)).unsqueeze(1);
  const torch::Tensor new_centre = centre + size * scaled.slice(2, 0, 2);
  torch::Tensor log_ratio = scaled.slice(2, 2, 4).clamp_max(kMaxLogRatio);
  if (limit_shrinking) log_ratio = log_ratio.clamp_min(-kMaxLogRatio);
  const torch::Tensor half = size * log_ratio.exp() * 0.5;
  return torch::cat({new_centre - half, new_centre + half}, 2).reshape({-1, groups * 4});
}

torch::Tensor decode_deltas(const torch::Tensor& boxes, const torch::Tensor& deltas,
                            const DeltaStds& stds, const ImageSize& clip, bool limit_shrinking) {
  const torch::Tensor moved = apply_deltas(boxes, deltas, stds, limit_shrinking);
  const auto width = static_cast<double>(clip.width), height = static_cast<double>(clip.height);
  const torch::Tensor limit = torch::tensor({width, height, width, height}, boxes.options());
  return moved.view({-1, moved.size(1) / 4, 4})
      .clamp(torch::zeros_like(limit), limit)
      .view(moved.sizes());
}

torch::Tensor encode_deltas(const torch::Tensor& boxes, const torch::Tensor& objects,
                            const DeltaStds& stds) {
  TORCH_CHECK(boxes.dim() == 2 && boxes.size(1) == 4 && objects.sizes() == boxes.sizes(),
              "encode_deltas: boxes [K,4] and an object each, got ", boxes.sizes(), " and ",
              objects.sizes());
  const torch::Tensor centre = (boxes.slice(1, 0, 2) + boxes.slice(1, 2, 4)) * 0.5;
  const torch::Tensor size = boxes.slice(1, 2, 4) - boxes.slice(1, 0, 2);
  const torch::Tensor to_centre = (objects.slice(1, 0, 2) + objects.slice(1, 2, 4)) * 0.5;
  const torch::Tensor to_size = objects.slice(1, 2, 4) - objects.slice(1, 0, 2);
  return torch::cat({(to_centre - centre) / size, (to_size / size).log()}, 1) /
         as_tensor(stds, boxes.options());
}

torch::Tensor large_enough(const torch::Tensor& boxes, double min_size) {
  const torch::Tensor size = boxes.slice(1, 2, 4) - boxes.slice(1, 0, 2);
  return ((size >= min_size) & (size > 0)).all(1).nonzero().squeeze(1);
}

}  // namespace hornet
