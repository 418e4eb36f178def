// Semantic segmentation with a backbone and UperNet's head: images in, class logits out, whole or
// in windows that slide over the image.
//
//   hornet::UperNet model(backbone, hornet::UperNetOptions(backbone->feature_info()));
//   torch::Tensor logits = model->forward(images);                    // at 1/4 of the size
//   torch::Tensor logits = model->slide(images, {512, 341});          // at the images' size
#pragma once

#include <hornet/heads/fcn_head.h>
#include <hornet/heads/uper_head.h>
#include <hornet/heads/windows.h>

#include <optional>

namespace hornet {

struct UperNetOptions {
  explicit UperNetOptions(const std::vector<FeatureInfo>& inputs);
  UperNetOptions& num_classes(int64_t n);
  UperHeadOptions decode;
  std::optional<FcnHeadOptions> auxiliary;  // on the third map; set from the start
};

class UperNetImpl : public torch::nn::Module {
 public:
  UperNetImpl(std::shared_ptr<Backbone> backbone, const UperNetOptions& options);

  // [N,3,H,W], normalised -> logits [N,num_classes,H/4,W/4]. With a tap, also what the auxiliary
  // head gives ("aux_logits").
  torch::Tensor forward(const torch::Tensor& images, const Tap& tap = {});

  // [N,3,H,W] -> logits [N,num_classes,H,W]: the mean over the windows that cover a pixel.
  torch::Tensor slide(const torch::Tensor& images, const SlideOptions& options);

  std::shared_ptr<Backbone> backbone;
  UperHead decode_head{nullptr};
  FcnHead auxiliary_head{nullptr};  // empty without options.auxiliary
};
TORCH_MODULE(UperNet);

}  // namespace hornet
