#include <hornet/training/box_assignment.h>

#include <algorithm>

namespace hornet {
namespace {

constexpr double kSmallestArea = 1e-6;
constexpr int64_t kPairsAtOnce = int64_t{1} << 22;  // some arrays of 16 MiB

torch::Tensor areas_of(const torch::Tensor& boxes) {
  return (boxes.select(1, 2) - boxes.select(1, 0)) * (boxes.select(1, 3) - boxes.select(1, 1));
}

torch::Tensor intersections(const torch::Tensor& boxes, const torch::Tensor& others) {
  const auto overlap = [&](int64_t low, int64_t high) {
    const torch::Tensor begin =
        torch::max(boxes.select(1, low).unsqueeze(1), others.select(1, low).unsqueeze(0));
    const torch::Tensor end =
        torch::min(boxes.select(1, high).unsqueeze(1), others.select(1, high).unsqueeze(0));
    return (end - begin).clamp_min_(0);
  };
  return overlap(0, 2).mul_(overlap(1, 3));
}

// [K,n], some boxes after the other, as the steps on the way need several arrays of that size.
torch::Tensor pairwise_iou(const torch::Tensor& boxes, const torch::Tensor& objects) {
  const torch::Tensor object_areas = areas_of(objects).unsqueeze(0);
  std::vector<torch::Tensor> parts;
  for (const torch::Tensor& part :
       boxes.split(std::max<int64_t>(kPairsAtOnce / objects.size(0), 1))) {
    const torch::Tensor common = intersections(part, objects);
    const torch::Tensor united = (areas_of(part).unsqueeze(1) + object_areas).sub_(common);
    parts.push_back(common / united.clamp_min_(kSmallestArea));
  }
  return torch::cat(parts);
}

// Every object's best boxes become its own.
torch::Tensor with_low_quality(const torch::Tensor& assigned, const torch::Tensor& iou,
                               double least_iou) {
  const torch::Tensor best = iou.amax(0);
  const torch::Tensor pairs = ((iou == best) & (best >= least_iou)).nonzero();
  const torch::Tensor last = torch::full_like(assigned, kNeither)
                                 .scatter_reduce(0, pairs.select(1, 0), pairs.select(1, 1), "amax");
  return torch::where(last >= 0, last, assigned);
}

// The share of each box that lies in the ignored region that has most of it.
torch::Tensor ignored_shares(const torch::Tensor& boxes, const torch::Tensor& ignored) {
  const torch::Tensor area = areas_of(boxes).clamp_min(kSmallestArea);
  torch::Tensor most = torch::zeros_like(area);
  for (const torch::Tensor& region : ignored.split(1)) {  // crowds are few
    most = torch::max(most, intersections(boxes, region).squeeze(1) / area);
  }
  return most;
}

torch::Tensor choose(const torch::Tensor& candidates, int64_t number) {
  if (candidates.size(0) <= number) return candidates;
  const torch::Tensor order = torch::randperm(candidates.size(0), candidates.options());
  return std::get<0>(candidates.index_select(0, order.slice(0, 0, number)).sort());
}

}  // namespace

torch::Tensor assign_boxes(const torch::Tensor& boxes, const torch::Tensor& objects,
                           const torch::Tensor& ignored, const AssignRules& rules) {
  TORCH_CHECK(boxes.dim() == 2 && boxes.size(1) == 4 && objects.dim() == 2 && objects.size(1) == 4,
              "assign_boxes: boxes [K,4] and objects [n,4], got ", boxes.sizes(), " and ",
              objects.sizes());
  const torch::NoGradGuard no_grad;
  torch::Tensor assigned =
      torch::full({boxes.size(0)}, kBackground, boxes.options().dtype(torch::kInt64));
  if (boxes.size(0) == 0) return assigned;
  if (objects.size(0) > 0) {
    const torch::Tensor iou = pairwise_iou(boxes, objects);
    const auto [best, object] = iou.max(1);
    assigned.masked_fill_((best < rules.negative_iou).logical_not(), kNeither);
    assigned = torch::where(best >= rules.positive_iou, object, assigned);
    if (rules.low_quality) assigned = with_low_quality(assigned, iou, rules.least_iou);
  }
  if (ignored.defined() && ignored.size(0) > 0) {
    const torch::Tensor inside = ignored_shares(boxes, ignored) >= rules.ignored_share;
    assigned.masked_fill_(inside & (assigned < 0), kNeither);
  }
  return assigned;
}

BoxSamples sample_boxes(const torch::Tensor& assigned, const SampleRules& rules) {
  const auto most = static_cast<int64_t>(static_cast<double>(rules.number) * rules.positive_share);
  BoxSamples samples;
  samples.positive = choose((assigned >= 0).nonzero().squeeze(1), most);
  samples.negative = choose((assigned == kBackground).nonzero().squeeze(1),
                            rules.number - samples.positive.size(0));
  return samples;
}

}  // namespace hornet
