#include <hornet/necks/conv_module.h>
#include <hornet/necks/fusion_conv.h>

namespace hornet {

GnConvModuleImpl::GnConvModuleImpl(const GnConvOptions& options) : GnConvImpl(options) {
  bn = register_module("bn", torch::nn::BatchNorm2d(options.channels()));
}

torch::Tensor GnConvModuleImpl::forward(const torch::Tensor& x) {
  return torch::relu(bn->forward(GnConvImpl::forward(x)));
}

torch::nn::AnyModule make_fusion_conv(const FusionConvOptions& options) {
  if (options.kind() == FusionConv::kConv3x3) {
    return torch::nn::AnyModule(ConvModule(ConvModuleOptions(options.in(), options.out(), 3)
                                               .batch_norm(options.norm_and_relu())
                                               .relu(options.norm_and_relu())));
  }
  GnConvOptions gnconv = GnConvOptions(options.out()).in_channels(options.in()).order(2);
  if (options.kind() == FusionConv::kGnConvGlobalFilter)
    gnconv.global_filter(options.filter_size());
  if (options.norm_and_relu()) return torch::nn::AnyModule(GnConvModule(gnconv));
  return torch::nn::AnyModule(GnConv(gnconv));
}

}  // namespace hornet
