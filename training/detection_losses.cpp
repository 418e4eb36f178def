#include <hornet/heads/ops/roi_align.h>
#include <hornet/training/detection_losses.h>
#include <torch/nn/functional/loss.h>

#include <algorithm>

namespace hornet {
namespace {

namespace F = torch::nn::functional;

// mmdet's GIoULoss; of areas, which it keeps from being zero.
constexpr double kGiouEpsilon = 1e-6;
constexpr DeltaStds kRpnStds = {1.0, 1.0, 1.0, 1.0};

torch::Tensor area_of(const torch::Tensor& sides) {
  return sides.select(1, 0) * sides.select(1, 1);
}

void check_targets(const torch::Tensor& images, const std::vector<ObjectTargets>& targets) {
  TORCH_CHECK(images.dim() == 4 && images.size(0) == static_cast<int64_t>(targets.size()),
              "detection_losses: images must be [N,3,H,W] with targets each, got ", images.sizes(),
              " and ", targets.size(), " targets");
  for (const ObjectTargets& target : targets) {
    const int64_t n = target.boxes.size(0);
    TORCH_CHECK(target.labels.size(0) == n && target.has_mask.size(0) == n &&
                    target.masks.sizes() == torch::IntArrayRef({n, images.size(2), images.size(3)}),
                "detection_losses: ", n, " boxes need as many labels and masks of ", images.size(2),
                "x", images.size(3), ", got ", target.labels.sizes(), " and ",
                target.masks.sizes());
  }
}

// --- the region proposal network

// All levels in the order of the anchors.
struct RpnPredictions {
  torch::Tensor logits, deltas;  // [N,K], [N,K,4]
};

RpnPredictions flatten(const RpnOutputs& outputs) {
  std::vector<torch::Tensor> logits, deltas;
  for (size_t level = 0; level < outputs.cls.size(); ++level) {
    const int64_t n = outputs.cls[level].size(0);
    logits.push_back(outputs.cls[level].permute({0, 2, 3, 1}).reshape({n, -1}));
    deltas.push_back(outputs.reg[level].permute({0, 2, 3, 1}).reshape({n, -1, 4}));
  }
  return {torch::cat(logits, 1).to(torch::kFloat32), torch::cat(deltas, 1).to(torch::kFloat32)};
}

torch::Tensor all_anchors(const RpnOutputs& outputs, const RpnHeadOptions& options,
                          const ImageSize& input) {
  std::vector<torch::Tensor> anchors;
  for (size_t level = 0; level < outputs.cls.size(); ++level) {
    const torch::Tensor& cls = outputs.cls[level];
    anchors.push_back(level_anchors(options.anchors(), cls.size(2), cls.size(3),
                                    options.inputs()[level].stride, cls.device(), input));
  }
  return torch::cat(anchors);
}

// Indices of the anchors that may be sampled.
torch::Tensor sampled_anchors(const torch::Tensor& anchors, const ImageSize& image,
                              const DetectionLossOptions& options) {
  if (!options.rpn_whole_anchors) return torch::arange(anchors.size(0), anchors.device());
  const auto edge = [&](int64_t i) { return anchors.select(1, i); };
  return ((edge(0) >= 0) & (edge(1) >= 0) & (edge(2) < image.width) & (edge(3) < image.height))
      .nonzero()
      .squeeze(1);
}

void add_rpn_losses(Losses& losses, const RpnOutputs& outputs, const torch::Tensor& all,
                    const ImageSize& input, const std::vector<ObjectTargets>& targets,
                    const DetectionLossOptions& options) {
  const RpnPredictions predicted = flatten(outputs);
  const torch::Tensor sampled = sampled_anchors(all, input, options);
  const torch::Tensor anchors = all.index_select(0, sampled);
  std::vector<torch::Tensor> logits, truth, deltas, true_deltas;
  int64_t samples = 0;
  for (size_t i = 0; i < targets.size(); ++i) {
    const auto image = static_cast<int64_t>(i);
    const torch::Tensor assigned =
        assign_boxes(anchors, targets[i].boxes, targets[i].ignored, options.rpn_assign);
    const auto [positive, negative] = sample_boxes(assigned, options.rpn_sample);
    logits.push_back(predicted.logits[image].index_select(
        0, sampled.index_select(0, torch::cat({positive, negative}))));
    truth.push_back(torch::zeros_like(logits.back()));
    truth.back().slice(0, 0, positive.size(0)).fill_(1);
    deltas.push_back(predicted.deltas[image].index_select(0, sampled.index_select(0, positive)));
    true_deltas.push_back(encode_deltas(
        anchors.index_select(0, positive),
        targets[i].boxes.index_select(0, assigned.index_select(0, positive)), kRpnStds));
    // An image counts with one sample of either kind at least, as in mmdet.
    samples += std::max<int64_t>(positive.size(0), 1) + std::max<int64_t>(negative.size(0), 1);
  }
  const auto count = static_cast<double>(samples);
  const torch::Tensor cls = F::binary_cross_entropy_with_logits(
      torch::cat(logits), torch::cat(truth),
      F::BinaryCrossEntropyWithLogitsFuncOptions().reduction(torch::kSum));
  const torch::Tensor box =
      smooth_l1(torch::cat(deltas), torch::cat(true_deltas), options.rpn_beta).sum();
  losses.parts.emplace_back("rpn_cls", cls / count);
  losses.parts.emplace_back("rpn_box", box / count);
}

std::vector<torch::Tensor> training_proposals(const RpnHeadImpl& head, const RpnOutputs& outputs,
                                              const ImageSize& input, size_t images,
                                              const DetectionLossOptions& options) {
  const torch::NoGradGuard no_grad;
  RpnHeadOptions numbers = head.options;
  numbers.pre_nms(options.pre_nms).max_proposals(options.max_proposals);
  std::vector<torch::Tensor> proposals;
  for (size_t i = 0; i < images; ++i) {
    proposals.push_back(
        head.proposals(outputs, static_cast<int64_t>(i), input, numbers).slice(1, 0, 4));
  }
  return proposals;
}

// --- the stages of the RoI head

// What is learned from one image in one stage. Positive RoIs come first; `objects` are theirs.
struct RoiSamples {
  torch::Tensor boxes, labels;  // [K,4], [K]
  torch::Tensor objects;        // [P]
  torch::Tensor added;          // bool [K]: is an object itself, not a proposal
};

RoiSamples sample_rois(const torch::Tensor& proposals, const ObjectTargets& target,
                       int64_t background, const AssignRules& assign, const SampleRules& sample) {
  const torch::Tensor own = large_enough(target.boxes, 0);  // of a box without area no RoI is made
  const torch::Tensor boxes = torch::cat({target.boxes.index_select(0, own), proposals});
  const torch::Tensor assigned =
      torch::cat({own, assign_boxes(proposals, target.boxes, target.ignored, assign)});
  const auto [positive, negative] = sample_boxes(assigned, sample);
  const torch::Tensor rows = torch::cat({positive, negative});
  RoiSamples samples;
  samples.boxes = boxes.index_select(0, rows);
  samples.objects = assigned.index_select(0, positive);
  samples.labels = torch::full_like(rows, background);
  samples.labels.slice(0, 0, positive.size(0))
      .copy_(target.labels.index_select(0, samples.objects));
  samples.added = rows < own.size(0);
  return samples;
}

// The samples of all images, one after the other.
struct RoiBatch {
  torch::Tensor rois, labels, added;  // [K,5], [K], [K]
  torch::Tensor positive;             // [P], rows of rois
  torch::Tensor boxes;                // [P,4], of their objects
  std::vector<RoiSamples> images;
};

RoiBatch sample_stage(const std::vector<torch::Tensor>& proposals,
                      const std::vector<ObjectTargets>& targets, int64_t background, size_t stage,
                      const DetectionLossOptions& options) {
  RoiBatch batch;
  std::vector<torch::Tensor> rois, labels, added, boxes;
  for (size_t i = 0; i < targets.size(); ++i) {
    const RoiSamples samples = sample_rois(proposals[i], targets[i], background,
                                           options.roi_assign[stage], options.roi_sample);
    rois.push_back(samples.boxes);
    labels.push_back(samples.labels);
    added.push_back(samples.added);
    boxes.push_back(targets[i].boxes.index_select(0, samples.objects));
    batch.images.push_back(samples);
  }
  batch.rois = to_rois(rois);
  batch.labels = torch::cat(labels);
  batch.added = torch::cat(added);
  batch.boxes = torch::cat(boxes);
  batch.positive = (batch.labels != background).nonzero().squeeze(1);
  return batch;
}

torch::Tensor box_loss(const RoiBatch& batch, const torch::Tensor& bbox_pred, const DeltaStds& stds,
                       bool limit_shrinking, const DetectionLossOptions& options) {
  const torch::Tensor rois = batch.rois.index_select(0, batch.positive).slice(1, 1, 5);
  const torch::Tensor deltas = deltas_of(bbox_pred.index_select(0, batch.positive),
                                         batch.labels.index_select(0, batch.positive));
  if (options.box_loss == BoxLoss::kGiou) {
    return giou_loss(apply_deltas(rois, deltas, stds, limit_shrinking), batch.boxes).sum();
  }
  return smooth_l1(deltas, encode_deltas(rois, batch.boxes, stds), options.box_beta).sum();
}

// The positive RoIs whose objects have a mask.
struct MaskSamples {
  torch::Tensor rois, labels, truth;  // [P,5], [P], [P,size,size]
};

MaskSamples sample_masks(const RoiBatch& batch, const std::vector<ObjectTargets>& targets,
                         int64_t size) {
  std::vector<torch::Tensor> boxes, labels, truth;
  for (size_t i = 0; i < targets.size(); ++i) {
    const RoiSamples& samples = batch.images[i];
    const torch::Tensor rows =
        targets[i].has_mask.index_select(0, samples.objects).nonzero().squeeze(1);
    const torch::Tensor objects = samples.objects.index_select(0, rows);
    boxes.push_back(samples.boxes.index_select(0, rows));
    labels.push_back(samples.labels.index_select(0, rows));
    truth.push_back(mask_targets(targets[i].masks, objects, boxes.back(), size));
  }
  return {to_rois(boxes), torch::cat(labels), torch::cat(truth)};
}

torch::Tensor mask_loss(RoiHeadImpl& head, size_t stage, const Features& levels,
                        const RoiBatch& batch, const std::vector<ObjectTargets>& targets) {
  const int64_t pooled = 2 * head.options.bbox().roi_size();
  const MaskSamples samples = sample_masks(batch, targets, 2 * pooled);
  const torch::Tensor feats =
      extract_rois(levels, head.options.inputs(), samples.rois, pooled, head.options.pool());
  const torch::Tensor logits =
      head.mask_heads[stage]->forward(feats, samples.labels).to(torch::kFloat32);
  if (samples.rois.size(0) == 0) return logits.sum();  // 0, and every parameter has a gradient
  return F::binary_cross_entropy_with_logits(logits, samples.truth);
}

// The proposals of the next stage: this one's RoIs, moved. Objects that were added are so again.
std::vector<torch::Tensor> refined_proposals(const RoiBatch& batch, const BboxOutputs& outputs,
                                             const DeltaStds& stds, const ImageSize& input) {
  const torch::NoGradGuard no_grad;
  const int64_t background = outputs.cls_score.size(1) - 1;
  const torch::Tensor labels = torch::where(
      batch.labels == background, outputs.cls_score.slice(1, 0, -1).argmax(1), batch.labels);
  const std::vector<ImageSize> sizes(batch.images.size(), input);
  const torch::Tensor refined =
      refine_rois(batch.rois, deltas_of(outputs.bbox_pred, labels), stds, sizes);
  std::vector<torch::Tensor> proposals;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const torch::Tensor own = refined.select(1, 0) == static_cast<double>(i);
    const torch::Tensor rows = (own & batch.added.logical_not()).nonzero().squeeze(1);
    proposals.push_back(refined.index_select(0, rows).slice(1, 1, 5));
  }
  return proposals;
}

void add_roi_losses(Losses& losses, RoiHeadImpl& head, const Features& levels,
                    std::vector<torch::Tensor> proposals, const std::vector<ObjectTargets>& targets,
                    const ImageSize& input, const DetectionLossOptions& options) {
  const RoiHeadOptions& shape = head.options;
  for (size_t stage = 0; stage < head.bbox_heads.size(); ++stage) {
    const std::string prefix = shape.cascade() ? "s" + std::to_string(stage) + "_" : "";
    const DeltaStds& stds = stage_delta_stds(stage);
    const double weight = options.stage_weights[stage];
    const RoiBatch batch =
        sample_stage(proposals, targets, shape.bbox().num_classes(), stage, options);
    BboxOutputs outputs = head.bbox_heads[stage]->forward(
        extract_rois(levels, shape.inputs(), batch.rois, shape.bbox().roi_size(), shape.pool()));
    outputs.cls_score = outputs.cls_score.to(torch::kFloat32);
    outputs.bbox_pred = outputs.bbox_pred.to(torch::kFloat32);
    const auto count = static_cast<double>(std::max<int64_t>(batch.rois.size(0), 1));
    const torch::Tensor cls = F::cross_entropy(outputs.cls_score, batch.labels,
                                               F::CrossEntropyFuncOptions().reduction(torch::kSum));
    const torch::Tensor box =
        box_loss(batch, outputs.bbox_pred, stds, shape.limit_shrinking(), options);
    losses.parts.emplace_back(prefix + "cls", cls * (weight / count));
    losses.parts.emplace_back(prefix + "box", box * (weight * options.box_weight / count));
    losses.parts.emplace_back(prefix + "mask",
                              mask_loss(head, stage, levels, batch, targets) * weight);
    if (stage + 1 < head.bbox_heads.size()) {
      proposals = refined_proposals(batch, outputs, stds, input);
    }
  }
}

}  // namespace

DetectionLossOptions::DetectionLossOptions(bool cascade)
    : rpn_beta(cascade ? 1.0 / 9 : 0),
      rpn_whole_anchors(cascade),
      max_proposals(cascade ? 2000 : 1000) {
  const std::vector<double> ious =
      cascade ? std::vector<double>{0.5, 0.6, 0.7} : std::vector<double>{0.5};
  for (const double iou : ious) roi_assign.push_back({iou, iou, /*low_quality=*/!cascade, iou});
  stage_weights = cascade ? std::vector<double>{1, 0.5, 0.25} : std::vector<double>{1};
}

Losses detection_losses(MaskRcnnImpl& model, const torch::Tensor& images,
                        const std::vector<ObjectTargets>& targets,
                        const DetectionLossOptions& options) {
  check_targets(images, targets);
  const size_t stages = model.roi_head->bbox_heads.size();
  TORCH_CHECK(options.roi_assign.size() >= stages && options.stage_weights.size() >= stages,
              "detection_losses: the options are of ", options.roi_assign.size(),
              " stages, the model has ", stages);
  const ImageSize input = {images.size(2), images.size(3)};
  const Features levels = model.neck->forward(model.backbone->forward(images));
  const RpnOutputs outputs = model.rpn_head->forward(levels);
  Losses losses;
  add_rpn_losses(losses, outputs, all_anchors(outputs, model.rpn_head->options, input), input,
                 targets, options);
  add_roi_losses(losses, *model.roi_head, levels,
                 training_proposals(*model.rpn_head, outputs, input, targets.size(), options),
                 targets, input, options);
  return losses;
}

torch::Tensor giou_loss(const torch::Tensor& boxes, const torch::Tensor& objects) {
  TORCH_CHECK(boxes.dim() == 2 && boxes.size(1) == 4 && boxes.sizes() == objects.sizes(),
              "giou_loss: boxes [K,4] and an object each, got ", boxes.sizes(), " and ",
              objects.sizes());
  const torch::Tensor low = boxes.slice(1, 0, 2), high = boxes.slice(1, 2, 4);
  const torch::Tensor to_low = objects.slice(1, 0, 2), to_high = objects.slice(1, 2, 4);
  const torch::Tensor smallest = torch::full({}, kGiouEpsilon, boxes.options());
  const torch::Tensor common =
      area_of((torch::min(high, to_high) - torch::max(low, to_low)).clamp_min(0));
  const torch::Tensor united =
      torch::max(area_of(high - low) + area_of(to_high - to_low) - common, smallest);
  const torch::Tensor enclosing = torch::max(
      area_of((torch::max(high, to_high) - torch::min(low, to_low)).clamp_min(0)), smallest);
  return 1 - (common / united - (enclosing - united) / enclosing);
}

torch::Tensor smooth_l1(const torch::Tensor& values, const torch::Tensor& truth, double beta) {
  const torch::Tensor distance = (values - truth).abs();
  if (beta <= 0) return distance;
  return torch::where(distance < beta, distance * distance * (0.5 / beta), distance - 0.5 * beta);
}

torch::Tensor mask_targets(const torch::Tensor& masks, const torch::Tensor& objects,
                           const torch::Tensor& boxes, int64_t size) {
  if (objects.size(0) == 0) return torch::empty({0, size, size}, boxes.options());
  // Only those that are needed: as float32 they are large.
  const auto [present, index] = at::_unique(objects, /*sorted=*/true, /*return_inverse=*/true);
  const torch::Tensor maps = masks.index_select(0, present).unsqueeze(1).to(torch::kFloat32);
  const torch::Tensor rois = torch::cat({index.to(boxes.scalar_type()).unsqueeze(1), boxes}, 1);
  return (ops::roi_align(maps, rois, 1.0, size).squeeze(1) >= 0.5).to(torch::kFloat32);
}

}  // namespace hornet
