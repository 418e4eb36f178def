#include <hornet/heads/finite.h>
#include <hornet/heads/ops/roi_align.h>
#include <hornet/heads/roi_head.h>

namespace hornet {
namespace {

constexpr double kFinestScale = 56.0;      // RoIs below 2 * 56 pixels use the finest level
constexpr double kCanonicalScale = 224.0;  // which is 4 * 56: two levels up
constexpr double kEpsilon = 1e-6;

// The level of each RoI, before it is limited to those that there are.
torch::Tensor roi_levels(const torch::Tensor& rois, LevelRule rule) {
  const torch::Tensor size = rois.slice(1, 3, 5) - rois.slice(1, 1, 3);
  const torch::Tensor scale = torch::sqrt(size.select(1, 0) * size.select(1, 1));
  if (rule == LevelRule::kMmdet) return torch::floor(torch::log2(scale / kFinestScale + kEpsilon));
  // In float32 it matters what the epsilon is added to: to four, the level of 224 pixels.
  return torch::floor(torch::log2(scale / kCanonicalScale) + 4 + kEpsilon) - 2;
}

// The rows of image `index` in `rois`, as indices.
torch::Tensor rows_of(const torch::Tensor& rois, size_t index) {
  return (rois.select(1, 0) == static_cast<double>(index)).nonzero().squeeze(1);
}

// Every (RoI, class) pair above the threshold is a candidate with that class' box. boxes [R,4*C],
// or [R,4] for all classes.
Detections select_detections(const torch::Tensor& scores, const torch::Tensor& boxes,
                             const RoiHeadOptions& options) {
  const torch::Tensor by_class =
      boxes.view({-1, boxes.size(1) / 4, 4}).expand({-1, scores.size(1), 4});
  // In reduced precision a box can overflow; it is then nowhere.
  torch::Tensor possible = (scores > options.score_threshold()) & by_class.isfinite().all(2);
  if (options.min_size()) {
    const torch::Tensor size = by_class.slice(2, 2, 4) - by_class.slice(2, 0, 2);
    possible = possible & (size >= *options.min_size()).all(2);
  }
  const torch::Tensor candidates = possible.nonzero();
  const torch::Tensor roi = candidates.select(1, 0), label = candidates.select(1, 1);
  const torch::Tensor candidate_boxes = by_class.index({roi, label});
  const torch::Tensor candidate_scores = scores.index({roi, label});
  const torch::Tensor keep = ops::batched_nms(candidate_boxes, candidate_scores, label,
                                              options.nms_iou(), options.nms_split_above())
                                 .slice(0, 0, options.max_detections());
  Detections found;
  found.boxes = candidate_boxes.index_select(0, keep);
  found.scores = candidate_scores.index_select(0, keep);
  found.labels = label.index_select(0, keep);
  return found;
}

std::string stage_name(const char* letter, size_t stage, const char* name) {
  return letter + std::to_string(stage) + "." + name;
}

}  // namespace

torch::Tensor to_rois(const std::vector<torch::Tensor>& boxes) {
  std::vector<torch::Tensor> parts;
  for (size_t i = 0; i < boxes.size(); ++i) {
    const torch::Tensor xyxy = boxes[i].slice(1, 0, 4);
    const torch::Tensor index =
        torch::full({xyxy.size(0), 1}, static_cast<double>(i), xyxy.options());
    parts.push_back(torch::cat({index, xyxy}, 1));
  }
  return torch::cat(parts);
}

const DeltaStds& stage_delta_stds(size_t stage) {
  static constexpr std::array<DeltaStds, 3> kStds = {
      {{0.1, 0.1, 0.2, 0.2}, {0.05, 0.05, 0.1, 0.1}, {0.033, 0.033, 0.067, 0.067}}};
  return kStds.at(stage);
}

torch::Tensor deltas_of(const torch::Tensor& deltas, const torch::Tensor& labels) {
  if (deltas.size(1) == 4) return deltas;
  const torch::Tensor by_class = deltas.view({-1, deltas.size(1) / 4, 4});
  return by_class.gather(1, labels.view({-1, 1, 1}).expand({-1, 1, 4})).squeeze(1);
}

torch::Tensor refine_rois(const torch::Tensor& rois, const torch::Tensor& deltas,
                          const DeltaStds& stds, const std::vector<ImageSize>& sizes) {
  torch::Tensor refined = rois.clone();
  for (size_t i = 0; i < sizes.size(); ++i) {
    const torch::Tensor rows = rows_of(rois, i);
    const torch::Tensor boxes = rois.index_select(0, rows).slice(1, 1, 5);
    const torch::Tensor moved = decode_deltas(boxes, deltas.index_select(0, rows), stds, sizes[i]);
    refined.index_put_({rows, torch::indexing::Slice(1, 5)}, moved);
  }
  return refined;
}

torch::Tensor extract_rois(const Features& levels, const std::vector<FeatureInfo>& info,
                           const torch::Tensor& rois, int64_t pooled,
                           const RoiPoolOptions& options) {
  TORCH_CHECK(levels.size() >= info.size(), "extract_rois: expected at least ", info.size(),
              " levels, got ", levels.size());
  // Each RoI has a level; one that overflowed in reduced precision has the first.
  const torch::Tensor level = roi_levels(rois, options.level)
                                  .nan_to_num(0)
                                  .clamp(0, static_cast<double>(info.size()) - 1)
                                  .to(torch::kInt64);
  torch::Tensor pooled_rois =
      torch::empty({rois.size(0), info.front().channels, pooled, pooled}, levels.front().options());
  for (size_t i = 0; i < info.size(); ++i) {
    const torch::Tensor rows = (level == static_cast<int64_t>(i)).nonzero().squeeze(1);
    if (rows.size(0) == 0) continue;
    pooled_rois.index_copy_(0, rows,
                            ops::roi_align(levels[i], rois.index_select(0, rows),
                                           1.0 / static_cast<double>(info[i].stride), pooled,
                                           options.sampling_ratio, options.aligned));
  }
  return pooled_rois;
}

RoiHeadImpl::RoiHeadImpl(const RoiHeadOptions& options_) : options(options_) {
  TORCH_CHECK(options.stages() >= 1 && options.stages() <= 3, "RoiHead: 1 to 3 stages, got ",
              options.stages());
  TORCH_CHECK(options.cascade() || options.stages() == 1, "RoiHead: more stages need cascade");
  torch::nn::ModuleList bbox_list, mask_list;
  for (int64_t i = 0; i < options.stages(); ++i) {
    bbox_heads.emplace_back(options.bbox());
    mask_heads.emplace_back(options.mask());
    bbox_list->push_back(bbox_heads.back());
    mask_list->push_back(mask_heads.back());
  }
  if (options.cascade()) {
    register_module("bbox_head", bbox_list);
    register_module("mask_head", mask_list);
  } else {
    register_module("bbox_head", bbox_heads.front());
    register_module("mask_head", mask_heads.front());
  }
}

std::vector<Detections> RoiHeadImpl::detect_boxes(const Features& levels, torch::Tensor rois,
                                                  const std::vector<ImageSize>& sizes,
                                                  const Tap& tap) {
  torch::Tensor logits;
  BboxOutputs outputs;
  for (size_t k = 0; k < bbox_heads.size(); ++k) {
    const torch::Tensor feats =
        extract_rois(levels, options.inputs(), rois, options.bbox().roi_size(), options.pool());
    outputs = bbox_heads[k]->forward(feats);
    outputs.cls_score = outputs.cls_score.to(torch::kFloat32);
    outputs.bbox_pred = outputs.bbox_pred.to(torch::kFloat32);
    tap_value(tap, stage_name("s", k, "rois"), rois);
    tap_value(tap, stage_name("s", k, "roi_feats"), feats);
    tap_value(tap, stage_name("s", k, "cls_score"), outputs.cls_score);
    tap_value(tap, stage_name("s", k, "bbox_pred"), outputs.bbox_pred);
    logits = k == 0 ? outputs.cls_score : logits + outputs.cls_score;
    if (k + 1 == bbox_heads.size()) break;
    const torch::Tensor best = outputs.cls_score.slice(1, 0, -1).argmax(1);
    rois = refine_rois(rois, deltas_of(outputs.bbox_pred, best), stage_delta_stds(k), sizes);
  }
  if (!tap && logits.defined()) check_finite(logits);
  const torch::Tensor scores =
      (logits / static_cast<double>(bbox_heads.size())).softmax(1).slice(1, 0, -1);
  std::vector<Detections> images;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const torch::Tensor rows = rows_of(rois, i);
    const torch::Tensor boxes = decode_deltas(
        rois.index_select(0, rows).slice(1, 1, 5), outputs.bbox_pred.index_select(0, rows),
        stage_delta_stds(bbox_heads.size() - 1), sizes[i], options.limit_shrinking());
    images.push_back(select_detections(scores.index_select(0, rows), boxes, options));
  }
  return images;
}

void RoiHeadImpl::add_masks(const Features& levels, std::vector<Detections>& images,
                            const Tap& tap) {
  std::vector<torch::Tensor> boxes, labels;
  std::vector<int64_t> counts;
  for (const Detections& image : images) {
    boxes.push_back(image.boxes);
    labels.push_back(image.labels);
    counts.push_back(image.boxes.size(0));
  }
  const torch::Tensor rois = to_rois(boxes), all_labels = torch::cat(labels);
  const int64_t pooled = 2 * options.bbox().roi_size();
  tap_value(tap, "mask_rois", rois);
  torch::Tensor sum = torch::zeros({rois.size(0), 2 * pooled, 2 * pooled}, rois.options());
  if (rois.size(0) > 0) {
    const torch::Tensor feats =
        extract_rois(levels, options.inputs(), rois, pooled, options.pool());
    for (size_t k = 0; k < mask_heads.size(); ++k) {
      const torch::Tensor logits = mask_heads[k]->forward(feats, all_labels).to(torch::kFloat32);
      tap_value(tap, stage_name("m", k, "mask_logits"), logits);
      sum = sum + logits.sigmoid();
    }
  }
  const torch::Tensor probs = sum / static_cast<double>(mask_heads.size());
  tap_value(tap, "mask_prob", probs);
  if (!tap) check_finite(probs);
  const std::vector<torch::Tensor> split = probs.split_with_sizes(counts);
  for (size_t i = 0; i < images.size(); ++i) images[i].mask_probs = split[i];
}

std::vector<Detections> RoiHeadImpl::forward(const Features& levels,
                                             const std::vector<torch::Tensor>& proposals,
                                             const std::vector<ImageSize>& sizes, const Tap& tap) {
  std::vector<Detections> images = detect_boxes(levels, to_rois(proposals), sizes, tap);
  add_masks(levels, images, tap);
  return images;
}

}  // namespace hornet
