// The second stage of Mask R-CNN (arXiv 1703.06870) and Cascade Mask R-CNN (arXiv 1712.00726):
// proposals -> boxes, classes and masks. Mask R-CNN is the cascade with one stage.
//
//   stage k: RoIAlign 7x7 -> box head k; its boxes are the RoIs of stage k + 1
//   scores: softmax of the stages' mean logits; boxes: the last stage's; NMS per class
//   masks: RoIAlign 14x14 of the final boxes -> mean of the stages' sigmoid masks
//
// As mmdet's StandardRoIHead and CascadeRoIHead in test mode. What training needs of it (RoIs,
// their features, the stages' deltas) stands below by itself; the losses are in training/.
#pragma once

#include <hornet/backbone/backbone.h>
#include <hornet/heads/bbox_head.h>
#include <hornet/heads/boxes.h>
#include <hornet/heads/mask_head.h>
#include <hornet/heads/ops/nms.h>
#include <hornet/heads/tap.h>

#include <optional>

namespace hornet {

// How a RoI becomes features: see ops::roi_align. A RoI of s x s pixels is taken from the level
// floor(log2(s / 56)) by both rules, which differ in the last digits of where that is whole.
enum class LevelRule { kMmdet, kTorchvision };
struct RoiPoolOptions {
  int64_t sampling_ratio = 0;
  bool aligned = true;
  LevelRule level = LevelRule::kMmdet;
};

struct RoiHeadOptions {
  explicit RoiHeadOptions(std::vector<FeatureInfo> inputs) : inputs_(std::move(inputs)) {}
  TORCH_ARG(std::vector<FeatureInfo>, inputs);  // the pyramid levels that RoIs are taken from
  TORCH_ARG(bool, cascade) = false;             // names of parameters carry the stage's index
  TORCH_ARG(int64_t, stages) = 1;               // 3 for Cascade Mask R-CNN
  TORCH_ARG(RoiPoolOptions, pool) = {};
  TORCH_ARG(BboxHeadOptions, bbox) = {};
  TORCH_ARG(MaskHeadOptions, mask) = {};
  TORCH_ARG(double, score_threshold) = 0.05;  // below it a class is no candidate
  TORCH_ARG(double, nms_iou) = 0.5;
  TORCH_ARG(int64_t, nms_split_above) = ops::kNeverSplit;  // see ops::batched_nms
  TORCH_ARG(std::optional<double>, min_size) = {};  // of an object's sides; none: any box will do
  TORCH_ARG(bool, limit_shrinking) = true;          // see decode_deltas
  TORCH_ARG(int64_t, max_detections) = 100;         // per image
};

// The objects found in one image, best first, in input pixels.
struct Detections {
  torch::Tensor boxes;       // [n,4] float32
  torch::Tensor scores;      // [n] float32
  torch::Tensor labels;      // [n] int64
  torch::Tensor mask_probs;  // [n,28,28] float32, inside the box
};

// RoIAlign of every RoI on the level that suits its size: [K,C,pooled,pooled].
torch::Tensor extract_rois(const Features& levels, const std::vector<FeatureInfo>& info,
                           const torch::Tensor& rois, int64_t pooled,
                           const RoiPoolOptions& options = {});

// [K_i,>=4] per image -> RoIs [K,5]: the image's index in front of the box.
torch::Tensor to_rois(const std::vector<torch::Tensor>& boxes);

// What the deltas of a stage are divided by: tighter from stage to stage.
const DeltaStds& stage_delta_stds(size_t stage);

// Of deltas [K,4*C], or [K,4] for all classes, those of each row's label: [K,4].
torch::Tensor deltas_of(const torch::Tensor& deltas, const torch::Tensor& labels);

// The RoIs of the next cascade stage: each one moved by its own deltas [K,4], clipped to its image.
torch::Tensor refine_rois(const torch::Tensor& rois, const torch::Tensor& deltas,
                          const DeltaStds& stds, const std::vector<ImageSize>& sizes);

class RoiHeadImpl : public torch::nn::Module {
 public:
  explicit RoiHeadImpl(const RoiHeadOptions& options);

  // levels: the pyramid, of which the first inputs().size() maps are used. proposals: [K_i,4] or
  // [K_i,5] per image. sizes: unpadded size per image.
  std::vector<Detections> forward(const Features& levels,
                                  const std::vector<torch::Tensor>& proposals,
                                  const std::vector<ImageSize>& sizes, const Tap& tap = {});

  RoiHeadOptions options;
  std::vector<BboxHead> bbox_heads;  // one per stage
  std::vector<MaskHead> mask_heads;

 private:
  std::vector<Detections> detect_boxes(const Features& levels, torch::Tensor rois,
                                       const std::vector<ImageSize>& sizes, const Tap& tap);
  void add_masks(const Features& levels, std::vector<Detections>& images, const Tap& tap);
};
TORCH_MODULE(RoiHead);

}  // namespace hornet
