#include <ATen/ATen.h>
#include <hornet/heads/ops/box_iou.h>
#include <hornet/heads/ops/checks.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

namespace hornet::ops {
namespace {

// The boxes kept so far, an array per coordinate, so that comparing one more with all of them
// vectorises.
class KeptBoxes {
 public:
  explicit KeptBoxes(int64_t capacity)
      : x1_(capacity), y1_(capacity), x2_(capacity), y2_(capacity), area_(capacity) {}

  void push(const Box& box) {
    x1_[size_] = box.x1;
    y1_[size_] = box.y1;
    x2_[size_] = box.x2;
    y2_[size_] = box.y2;
    area_[size_] = box_area(box);
    ++size_;
  }

  bool any_overlaps(const Box& box, float threshold) const {
    for (int64_t begin = 0; begin < size_; begin += kBlock) {
      if (any_overlaps(box, threshold, begin, std::min(begin + kBlock, size_))) return true;
    }
    return false;
  }

 private:
  // Blocks have no exit inside (for the vectors' sake); between them the search may end early.
  static constexpr int64_t kBlock = 64;

  bool any_overlaps(const Box& box, float threshold, int64_t begin, int64_t end) const {
    const float area = box_area(box);
    const float *x1 = x1_.data(), *y1 = y1_.data(), *x2 = x2_.data(), *y2 = y2_.data();
    const float* areas = area_.data();
    int any = 0;
    for (int64_t i = begin; i < end; ++i) {
      any |= overlaps({x1[i], y1[i], x2[i], y2[i]}, areas[i], box, area, threshold);
    }
    return any != 0;
  }

  std::vector<float> x1_, y1_, x2_, y2_, area_;
  int64_t size_ = 0;
};

at::Tensor nms_cpu(const at::Tensor& boxes, const at::Tensor& scores, double iou_threshold) {
  check_nms(boxes, scores);
  const at::Tensor order = scores.argsort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
  const at::Tensor sorted = boxes.to(at::kFloat).index_select(0, order);
  const auto corners = sorted.accessor<float, 2>();
  const auto indices = order.accessor<int64_t, 1>();
  const float threshold = static_cast<float>(iou_threshold);

  KeptBoxes kept(boxes.size(0));
  std::vector<int64_t> kept_indices;
  for (int64_t i = 0; i < boxes.size(0); ++i) {
    const Box box{corners[i][0], corners[i][1], corners[i][2], corners[i][3]};
    if (kept.any_overlaps(box, threshold)) continue;
    kept.push(box);
    kept_indices.push_back(indices[i]);
  }
  return at::tensor(kept_indices, order.options());
}

TORCH_LIBRARY_IMPL(hornet, CPU, m) { m.impl("nms", nms_cpu); }

}  // namespace
}  // namespace hornet::ops
