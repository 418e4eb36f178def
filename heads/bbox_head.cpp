#include <hornet/heads/bbox_head.h>
#include <hornet/necks/conv_module.h>

namespace hornet {

BboxHeadImpl::BboxHeadImpl(const BboxHeadOptions& options_) : options(options_) {
  TORCH_CHECK(options.fcs() >= 1, "BboxHead: needs at least one fully connected layer");
  register_module("shared_convs", shared_convs);
  register_module("shared_fcs", shared_fcs);
  int64_t channels = options.in_channels();
  for (int64_t i = 0; i < options.convs(); ++i) {
    shared_convs->push_back(ConvModule(
        ConvModuleOptions(channels, options.conv_channels(), 3).batch_norm(true).relu(true)));
    channels = options.conv_channels();
  }
  channels *= options.roi_size() * options.roi_size();
  for (int64_t i = 0; i < options.fcs(); ++i) {
    shared_fcs->push_back(torch::nn::Linear(channels, options.fc_channels()));
    channels = options.fc_channels();
  }
  fc_cls = register_module("fc_cls", torch::nn::Linear(channels, options.num_classes() + 1));
  const int64_t boxes = options.class_agnostic() ? 1 : options.num_classes();
  fc_reg = register_module("fc_reg", torch::nn::Linear(channels, 4 * boxes));
}

BboxOutputs BboxHeadImpl::forward(const torch::Tensor& roi_feats) {
  torch::Tensor x = roi_feats;
  for (const auto& conv : *shared_convs) x = conv->as<ConvModule>()->forward(x);
  x = x.flatten(1);
  for (const auto& fc : *shared_fcs) x = torch::relu(fc->as<torch::nn::Linear>()->forward(x));
  return {fc_cls->forward(x), fc_reg->forward(x)};
}

}  // namespace hornet
