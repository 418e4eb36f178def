#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <hornet/heads/ops/checks.h>
#include <hornet/heads/ops/paste_masks_sample.h>
#include <torch/library.h>

#include <vector>

namespace hornet::ops {
namespace {

void paste_one(const float* probs, int m, const float* box, const int64_t* region, float threshold,
               bool bordered, uint8_t* pixels) {
  const int64_t left = region[0], top = region[1], width = region[2], height = region[3];
  std::vector<MaskTap> columns(width);
  for (int64_t x = 0; x < width; ++x) columns[x] = mask_tap(left + x, box[0], box[2], m, bordered);
  for (int64_t y = 0; y < height; ++y) {
    const MaskTap row = mask_tap(top + y, box[1], box[3], m, bordered);
    for (const MaskTap& column : columns) {
      *pixels++ = mask_sample(probs, m, row, column) >= threshold;
    }
  }
}

at::Tensor paste_masks_cpu(const at::Tensor& probs, const at::Tensor& boxes,
                           const at::Tensor& regions, const at::Tensor& offsets, double threshold,
                           bool bordered) {
  const int64_t total = check_paste_masks(probs, boxes, regions, offsets);
  const at::Tensor values = probs.to(at::kFloat).contiguous();
  const at::Tensor corners = boxes.to(at::kFloat).contiguous();
  const at::Tensor rectangles = regions.contiguous();
  at::Tensor pixels = at::empty({total}, at::kByte);

  const auto starts = offsets.accessor<int64_t, 1>();
  const int m = static_cast<int>(probs.size(1));
  at::parallel_for(0, probs.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      paste_one(values.const_data_ptr<float>() + i * m * m, m,
                corners.const_data_ptr<float>() + i * 4,
                rectangles.const_data_ptr<int64_t>() + i * 4, static_cast<float>(threshold),
                bordered, pixels.mutable_data_ptr<uint8_t>() + starts[i]);
    }
  });
  return pixels;
}

TORCH_LIBRARY_IMPL(hornet, CPU, m) { m.impl("paste_masks", paste_masks_cpu); }

}  // namespace
}  // namespace hornet::ops
