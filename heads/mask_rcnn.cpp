#include <hornet/heads/finite.h>
#include <hornet/heads/mask_rcnn.h>

namespace hornet {
namespace {

constexpr size_t kRoiLevels = 4;  // RoIs come from the first four levels, proposals from all

// The finest `count` levels, or as many as there are.
std::vector<FeatureInfo> first_levels(const std::vector<FeatureInfo>& pyramid, size_t count) {
  return {pyramid.begin(),
          pyramid.begin() + static_cast<ptrdiff_t>(std::min(pyramid.size(), count))};
}

}  // namespace

MaskRcnnOptions::MaskRcnnOptions(const std::vector<FeatureInfo>& pyramid)
    : rpn(pyramid), roi(first_levels(pyramid, kRoiLevels)) {
  TORCH_CHECK(!pyramid.empty(), "MaskRcnnOptions: needs at least one pyramid level");
  const int64_t channels = pyramid.front().channels;
  rpn.channels(channels);
  roi.bbox().in_channels(channels).conv_channels(channels);
  roi.mask().in_channels(channels).channels(channels);
}

MaskRcnnOptions& MaskRcnnOptions::cascade(bool on) {
  roi.cascade(on).stages(on ? 3 : 1);
  roi.bbox().convs(on ? 4 : 0).fcs(on ? 1 : 2);
  return *this;
}

MaskRcnnOptions& MaskRcnnOptions::num_classes(int64_t n) {
  roi.bbox().num_classes(n);
  roi.mask().num_classes(n);
  return *this;
}

MaskRcnnOptions& MaskRcnnOptions::torchvision() {
  constexpr int64_t kSplitAbove = 1000;
  conventions = Conventions::kTorchvision;
  rpn.anchors().rounded = true;
  rpn.anchors().fit_input = true;
  rpn.rank_by_logits(true).min_size(1e-3).nms_split_above(kSplitAbove).limit_shrinking(false);
  roi.pool({/*sampling_ratio=*/2, /*aligned=*/false, LevelRule::kTorchvision});
  roi.min_size(1e-2).nms_split_above(kSplitAbove).limit_shrinking(false);
  return *this;
}

MaskRcnnImpl::MaskRcnnImpl(std::shared_ptr<Backbone> backbone_, Fpn neck_,
                           const MaskRcnnOptions& options)
    : conventions(options.conventions), backbone(std::move(backbone_)), neck(std::move(neck_)) {
  check_wiring(backbone->feature_info(), neck->options.inputs(), "the neck");
  const std::vector<FeatureInfo> pyramid = neck->feature_info();
  check_wiring(pyramid, options.rpn.inputs(), "the region proposal network");
  check_wiring(first_levels(pyramid, options.roi.inputs().size()), options.roi.inputs(),
               "the RoI head");
  register_module("backbone", backbone);
  register_module("neck", neck);
  rpn_head = register_module("rpn_head", RpnHead(options.rpn));
  roi_head = register_module("roi_head", RoiHead(options.roi));
}

std::vector<Detections> MaskRcnnImpl::forward(const torch::Tensor& images,
                                              const std::vector<ImageSize>& sizes, const Tap& tap) {
  TORCH_CHECK(images.dim() == 4 && images.size(0) == static_cast<int64_t>(sizes.size()),
              "MaskRcnn: images must be [N,3,H,W] with a size each, got ", images.sizes(), " and ",
              sizes.size(), " sizes");
  const Features feats = backbone->forward(images);
  tap_all(tap, "feat", feats);
  const Features pyramid = neck->forward(feats);
  tap_all(tap, "fpn", pyramid);
  const RpnOutputs rpn = rpn_head->forward(pyramid);
  tap_all(tap, "rpn_cls", rpn.cls);
  tap_all(tap, "rpn_reg", rpn.reg);
  if (!tap) check_finite(rpn.cls);
  std::vector<torch::Tensor> proposals;
  for (size_t i = 0; i < sizes.size(); ++i) {
    proposals.push_back(rpn_head->proposals(rpn, static_cast<int64_t>(i), sizes[i]));
  }
  if (tap) tap("proposals", torch::cat(proposals));
  return roi_head->forward(pyramid, proposals, sizes, tap);
}

}  // namespace hornet
