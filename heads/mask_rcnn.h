// Instance segmentation with a backbone, a feature pyramid, and Mask R-CNN or Cascade Mask R-CNN
// on top of it: images in, boxes, classes and masks out.
//
//   auto backbone = hornet::make_backbone("hornet_tiny_gf");
//   hornet::Fpn neck(hornet::FpnOptions(backbone->feature_info()));
//   hornet::MaskRcnn model(backbone, neck,
//                          hornet::MaskRcnnOptions(neck->feature_info()).cascade(true));
//   std::vector<hornet::Detections> found = model->forward(images, {{800, 1067}});
//
// Any hornet::Backbone will do. A neck that was built for other channels than the backbone has is
// an Error that names both.
#pragma once

#include <hornet/heads/roi_head.h>
#include <hornet/heads/rpn_head.h>
#include <hornet/necks/fpn.h>

namespace hornet {

// Whose arithmetic a model was trained with: either resizes images, lays anchors, samples RoIs and
// pastes masks in a slightly different way, and weights fit one of them.
enum class Conventions { kMmdet, kTorchvision };

// Three-stage cascade or plain Mask R-CNN, in the authors' configurations unless changed.
struct MaskRcnnOptions {
  explicit MaskRcnnOptions(const std::vector<FeatureInfo>& pyramid);
  MaskRcnnOptions& cascade(bool on);  // sets stages and the box head's shape
  MaskRcnnOptions& num_classes(int64_t n);
  MaskRcnnOptions& torchvision();  // sets all in which torchvision's Mask R-CNN differs
  Conventions conventions = Conventions::kMmdet;  // of what comes before and after the network
  RpnHeadOptions rpn;
  RoiHeadOptions roi;
};

class MaskRcnnImpl : public torch::nn::Module {
 public:
  MaskRcnnImpl(std::shared_ptr<Backbone> backbone, Fpn neck, const MaskRcnnOptions& options);

  // images [N,3,H,W], normalised and padded to a multiple of 32; sizes: what of each image is not
  // padding. Results are in pixels of the images as given.
  std::vector<Detections> forward(const torch::Tensor& images, const std::vector<ImageSize>& sizes,
                                  const Tap& tap = {});

  Conventions conventions;  // as in the options
  std::shared_ptr<Backbone> backbone;
  Fpn neck{nullptr};
  RpnHead rpn_head{nullptr};
  RoiHead roi_head{nullptr};
};
TORCH_MODULE(MaskRcnn);

}  // namespace hornet
