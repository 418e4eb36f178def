#include <ATen/core/dispatch/Dispatcher.h>
#include <hornet/heads/ops/paste_masks.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

namespace hornet::ops {
namespace {

// The image pixels from low up to high, clamped to the image: (start, length).
std::pair<int64_t, int64_t> span(float low, float high, int64_t size) {
  if (std::isnan(low) || std::isnan(high)) return {0, 0};
  const auto clamped = [size](float edge) {
    if (edge >= static_cast<float>(size)) return size;
    return edge > 0 ? static_cast<int64_t>(edge) : 0;
  };
  const int64_t begin = clamped(low), end = clamped(high);
  return {begin, std::max<int64_t>(end - begin, 0)};
}

// Grown boxes of whole pixels: the mask with its border of zeros is as much larger than the mask.
torch::Tensor bordered_boxes(const torch::Tensor& boxes, int64_t m) {
  const torch::Tensor low = boxes.slice(1, 0, 2), high = boxes.slice(1, 2, 4);
  const torch::Tensor centre = (high + low) * 0.5;
  const torch::Tensor half = (high - low) * 0.5 * (static_cast<double>(m + 2) / m);
  const torch::Tensor first = (centre - half).trunc();
  return torch::cat({first, torch::max((centre + half).trunc(), first) + 1}, 1);
}

torch::Tensor regions_of(const torch::Tensor& boxes, int64_t image_height, int64_t image_width) {
  torch::Tensor regions = torch::empty({boxes.size(0), 4}, torch::kLong);
  const auto box = boxes.accessor<float, 2>();
  auto region = regions.accessor<int64_t, 2>();
  for (int64_t i = 0; i < boxes.size(0); ++i) {
    std::tie(region[i][0], region[i][2]) = span(box[i][0], box[i][2], image_width);
    std::tie(region[i][1], region[i][3]) = span(box[i][1], box[i][3], image_height);
  }
  return regions;
}

}  // namespace

PastedMasks paste_masks(const torch::Tensor& probs, const torch::Tensor& boxes,
                        int64_t image_height, int64_t image_width, double threshold,
                        PasteRule rule) {
  static auto op = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("hornet::paste_masks", "")
                       .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                         const at::Tensor&, double, bool)>();
  TORCH_CHECK(boxes.dim() == 2 && boxes.size(1) == 4,
              "hornet::paste_masks: boxes must be [n, 4], found ", boxes.sizes());
  PastedMasks masks;
  const bool bordered = rule == PasteRule::kWholePixels;
  const torch::Tensor exact = boxes.to(at::kCPU, at::kFloat);
  // The pixels that a mask can reach.
  const torch::Tensor reach =
      bordered ? bordered_boxes(exact, probs.size(-1))
               : torch::cat({exact.slice(1, 0, 2).floor() - 1, exact.slice(1, 2, 4).ceil() + 1}, 1);
  masks.regions = regions_of(reach, image_height, image_width);
  const torch::Tensor areas = masks.regions.select(1, 2) * masks.regions.select(1, 3);
  masks.offsets = areas.cumsum(0) - areas;
  masks.pixels = op.call(probs, bordered ? reach.to(probs.device()) : boxes, masks.regions,
                         masks.offsets, threshold, bordered);
  return masks;
}

torch::Tensor to_canvases(const PastedMasks& masks, int64_t image_height, int64_t image_width) {
  const int64_t n = masks.regions.size(0);
  torch::Tensor canvases = torch::zeros({n, image_height, image_width}, torch::kUInt8);
  const auto region = masks.regions.accessor<int64_t, 2>();
  const auto offset = masks.offsets.accessor<int64_t, 1>();
  for (int64_t i = 0; i < n; ++i) {
    const int64_t x = region[i][0], y = region[i][1], w = region[i][2], h = region[i][3];
    const torch::Tensor pixels = masks.pixels.narrow(0, offset[i], w * h).view({h, w});
    canvases[i].narrow(0, y, h).narrow(1, x, w).copy_(pixels);
  }
  return canvases;
}

// The kernels return the packed pixels on the CPU; regions and offsets are on the CPU.
TORCH_LIBRARY_FRAGMENT(hornet, m) {
  m.def(
      "paste_masks(Tensor probs, Tensor boxes, Tensor regions, Tensor offsets, float threshold, "
      "bool bordered=False) -> Tensor");
}

}  // namespace hornet::ops
