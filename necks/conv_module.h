// Convolution, batch norm, ReLU under the names that mmcv's ConvModule gives them (`conv`, `bn`):
// the brick that necks and heads are made of.
#pragma once

#include <hornet/backbone/inference.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>

namespace hornet {

namespace plan {
class PreparedConv;
}

struct ConvModuleOptions {
  ConvModuleOptions(int64_t in, int64_t out, int64_t kernel)
      : in_(in), out_(out), kernel_(kernel) {}
  TORCH_ARG(int64_t, in);
  TORCH_ARG(int64_t, out);
  TORCH_ARG(int64_t, kernel);           // odd; padded to keep the map's size
  TORCH_ARG(bool, batch_norm) = false;  // the convolution then has no bias
  TORCH_ARG(bool, relu) = false;
};

class ConvModuleImpl : public torch::nn::Module, public Preparable {
 public:
  explicit ConvModuleImpl(const ConvModuleOptions& options);
  torch::Tensor forward(const torch::Tensor& x);  // [N,in,H,W] -> [N,out,H,W]

  void prepare() override;
  int64_t prepared_bytes() const override;

  ConvModuleOptions options;
  torch::nn::Conv2d conv{nullptr};
  torch::nn::BatchNorm2d bn{nullptr};  // empty without batch_norm

 private:
  std::shared_ptr<plan::PreparedConv> prepared_;
};
TORCH_MODULE(ConvModule);

}  // namespace hornet
