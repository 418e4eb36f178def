// Region proposal network (Faster R-CNN, arXiv 1506.01497, section 3), as mmdet's RPNHead: one
// 3x3 convolution shared by all levels, then objectness and box deltas for 3 anchors a position.
#pragma once

#include <hornet/backbone/backbone.h>
#include <hornet/backbone/inference.h>
#include <hornet/heads/boxes.h>
#include <hornet/heads/ops/nms.h>
#include <torch/nn/modules/conv.h>

namespace hornet {

namespace plan {
class PreparedConv;
}

struct RpnHeadOptions {
  explicit RpnHeadOptions(std::vector<FeatureInfo> inputs) : inputs_(std::move(inputs)) {}
  TORCH_ARG(std::vector<FeatureInfo>, inputs);  // the neck's feature_info(), all levels
  TORCH_ARG(int64_t, channels) = 256;           // of the shared convolution
  TORCH_ARG(AnchorOptions, anchors) = {};
  TORCH_ARG(int64_t, pre_nms) = 1000;        // best candidates kept per level
  TORCH_ARG(int64_t, max_proposals) = 1000;  // per image, over all levels
  TORCH_ARG(double, nms_iou) = 0.7;
  TORCH_ARG(int64_t, nms_split_above) = ops::kNeverSplit;  // see ops::batched_nms
  TORCH_ARG(double, min_size) = 0;          // of a proposal's sides; empty ones never stay
  TORCH_ARG(bool, limit_shrinking) = true;  // see decode_deltas
  // By what candidates are ranked. The largest probabilities may be equal when rounded.
  TORCH_ARG(bool, rank_by_logits) = false;
};

// Per level: objectness logits [N,A,H,W] and deltas [N,4*A,H,W].
struct RpnOutputs {
  std::vector<torch::Tensor> cls, reg;
};

class RpnHeadImpl : public torch::nn::Module, public Preparable {
 public:
  explicit RpnHeadImpl(const RpnHeadOptions& options);
  RpnOutputs forward(const Features& levels);

  // The proposals of image `index` of the batch, best first: [K,5] = box and score. The first
  // level's stride must divide the padded images' size.
  torch::Tensor proposals(const RpnOutputs& outputs, int64_t index, const ImageSize& image) const {
    return proposals(outputs, index, image, options);
  }

  // The same with other numbers: training keeps more of them.
  torch::Tensor proposals(const RpnOutputs& outputs, int64_t index, const ImageSize& image,
                          const RpnHeadOptions& numbers) const;

  void prepare() override;
  int64_t prepared_bytes() const override;

  RpnHeadOptions options;
  torch::nn::Conv2d rpn_conv{nullptr}, rpn_cls{nullptr}, rpn_reg{nullptr};

 private:
  torch::Tensor hidden(const torch::Tensor& level);

  std::shared_ptr<plan::PreparedConv> prepared_;
};
TORCH_MODULE(RpnHead);

}  // namespace hornet
