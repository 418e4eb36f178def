// The convolution that fuses what a pyramid has added up, in FPN's outputs and in UperNet's last
// step: a plain 3x3 convolution, or in the HorFPN variants a gnConv of order 2 without the 1/3
// scale, mixing with a 7x7 depthwise convolution or a global filter.
#pragma once

#include <hornet/backbone/gnconv.h>
#include <torch/nn/modules/batchnorm.h>

namespace hornet {

enum class FusionConv { kConv3x3, kGnConv7x7, kGnConvGlobalFilter };

struct FusionConvOptions {
  FusionConvOptions(FusionConv kind, int64_t in, int64_t out) : kind_(kind), in_(in), out_(out) {}
  TORCH_ARG(FusionConv, kind);
  TORCH_ARG(int64_t, in);
  TORCH_ARG(int64_t, out);
  TORCH_ARG(FilterSize, filter_size) = (FilterSize{32, 17});
  TORCH_ARG(bool, norm_and_relu) = false;  // batch norm and ReLU after it
};

// A module with Tensor forward(Tensor), [N,in,H,W] -> [N,out,H,W], and the authors' names.
torch::nn::AnyModule make_fusion_conv(const FusionConvOptions& options);

// gnConv followed by batch norm (`bn`) and ReLU.
class GnConvModuleImpl : public GnConvImpl {
 public:
  explicit GnConvModuleImpl(const GnConvOptions& options);
  torch::Tensor forward(const torch::Tensor& x);

  torch::nn::BatchNorm2d bn{nullptr};
};
TORCH_MODULE(GnConvModule);

}  // namespace hornet
