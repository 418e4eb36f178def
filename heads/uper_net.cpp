#include <hornet/heads/finite.h>
#include <hornet/heads/uper_net.h>

namespace hornet {
namespace {

constexpr size_t kAuxiliaryInput = 2;  // the map at stride 16

void check_auxiliary(const std::vector<FeatureInfo>& inputs, const FcnHeadOptions& options) {
  TORCH_CHECK(inputs.size() > kAuxiliaryInput, "UperNet: the auxiliary head needs map ",
              kAuxiliaryInput, " of the backbone, which gives ", inputs.size());
  const FeatureInfo& given = inputs[kAuxiliaryInput];
  check_wiring({given}, {{options.in_channels(), given.stride}}, "UperNet's auxiliary head");
}

}  // namespace

UperNetOptions::UperNetOptions(const std::vector<FeatureInfo>& inputs) : decode(inputs) {
  TORCH_CHECK(inputs.size() > kAuxiliaryInput, "UperNetOptions: needs maps of at least ",
              kAuxiliaryInput + 1, " strides, got ", inputs.size());
  auxiliary = FcnHeadOptions(inputs[kAuxiliaryInput].channels);
}

UperNetOptions& UperNetOptions::num_classes(int64_t n) {
  decode.num_classes(n);
  if (auxiliary) auxiliary->num_classes(n);
  return *this;
}

UperNetImpl::UperNetImpl(std::shared_ptr<Backbone> backbone_, const UperNetOptions& options)
    : backbone(std::move(backbone_)) {
  check_wiring(backbone->feature_info(), options.decode.inputs(), "UperNet's head");
  register_module("backbone", backbone);
  decode_head = register_module("decode_head", UperHead(options.decode));
  if (options.auxiliary) {
    check_auxiliary(options.decode.inputs(), *options.auxiliary);
    auxiliary_head = register_module("auxiliary_head", FcnHead(*options.auxiliary));
  }
}

torch::Tensor UperNetImpl::forward(const torch::Tensor& images, const Tap& tap) {
  const Features feats = backbone->forward(images);
  TORCH_CHECK(feats.size() == decode_head->options.inputs().size(), "UperNet: the backbone gave ",
              feats.size(), " maps instead of ", decode_head->options.inputs().size());
  tap_all(tap, "feat", feats);
  if (tap && auxiliary_head) tap("aux_logits", auxiliary_head->forward(feats[kAuxiliaryInput]));
  const torch::Tensor logits = decode_head->forward(feats, tap);
  if (!tap && !is_training()) check_finite(logits);
  return logits;
}

torch::Tensor UperNetImpl::slide(const torch::Tensor& images, const SlideOptions& options) {
  const int64_t height = images.size(2), width = images.size(3);
  torch::Tensor sum = torch::zeros(
      {images.size(0), decode_head->options.num_classes(), height, width}, images.options());
  torch::Tensor count = torch::zeros({1, 1, height, width}, images.options());
  for (int64_t y : window_starts(height, options)) {
    for (int64_t x : window_starts(width, options)) {
      const int64_t h = std::min(options.tile, height), w = std::min(options.tile, width);
      auto window = [&](const torch::Tensor& map) { return map.narrow(2, y, h).narrow(3, x, w); };
      window(sum).add_(resize_bilinear(forward(window(images)), h, w));
      window(count).add_(1);
    }
  }
  return sum / count;
}

}  // namespace hornet
