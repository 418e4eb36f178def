// ResNet (arXiv 1512.03385) with bottleneck blocks, the backbone that most published detectors
// have: beside HorNet in the registry, so that one line swaps them.
//
//   stem: 7x7 convolution, stride 2, 3x3 max pooling, stride 2
//   block: x = relu(shortcut(x) + BN(conv1x1(relu(BN(conv3x3(relu(BN(conv1x1(x)))))))))
//
//   auto backbone = hornet::make_backbone("resnet50");
//   hornet::ResNet narrow(hornet::ResNetOptions{/*in_channels=*/3, /*base_width=*/16});
//   hornet::Features maps = narrow->forward(images);    // strides 4, 8, 16, 32
//
// The 3x3 convolution has a stage's stride, as in torchvision and in mmdet's style='pytorch'.
// Parameters have their names ("layer1.0.conv1", "layer1.0.downsample.0"), so both kinds of
// checkpoints load as they are. Map sizes go down by ceil.
#pragma once

#include <hornet/backbone/backbone.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>

#include <array>
#include <string>
#include <vector>

namespace hornet {

struct ResNetOptions {
  int64_t in_channels = 3;
  int64_t base_width = 64;                          // of the stem and the first stage's 3x3 layers
  std::array<int64_t, 4> depths = {3, 4, 6, 3};     // blocks of each stage
  bool frozen_norm = false;                         // batch norm by fixed numbers, in training too
  double norm_eps = 1e-5;                           // added to variances
  std::vector<int64_t> out_indices = {0, 1, 2, 3};  // stages that a backbone returns
};

// A row of the table of published depths: resnet50, resnet101. Error(kUsage) lists the rows.
ResNetOptions resnet_variant(const std::string& name);
std::vector<std::string> resnet_variant_names();

// The published name of an architecture ("resnet50"), or "" if it is none of them.
std::string variant_name(const ResNetOptions& options);

// Channels that stage i gives: 4 * base_width * 2^i.
int64_t stage_channels(const ResNetOptions& options, int64_t stage);

// Batch norm. Frozen: weight and bias are buffers like the statistics, so that no optimiser moves
// them, and training mode changes nothing.
class ResNetNormImpl : public torch::nn::Module {
 public:
  ResNetNormImpl(int64_t channels, const ResNetOptions& options);
  torch::Tensor forward(const torch::Tensor& x);  // [N,C,H,W] -> [N,C,H,W]

  torch::Tensor weight, bias, running_mean, running_var;  // [C]

 private:
  bool frozen_;
  double eps_;
};
TORCH_MODULE(ResNetNorm);

class BottleneckImpl : public torch::nn::Module {
 public:
  // in -> width -> width -> 4 * width channels; a shortcut with a convolution where shapes differ.
  BottleneckImpl(int64_t in, int64_t width, int64_t stride, const ResNetOptions& options);
  torch::Tensor forward(const torch::Tensor& x);  // [N,in,H,W] -> [N,4*width,H/stride,W/stride]

  torch::nn::Conv2d conv1{nullptr}, conv2{nullptr}, conv3{nullptr};
  ResNetNorm bn1{nullptr}, bn2{nullptr}, bn3{nullptr};
  torch::nn::Sequential downsample{nullptr};  // empty where the input itself is the shortcut
};
TORCH_MODULE(Bottleneck);

class ResNetImpl : public Backbone {
 public:
  explicit ResNetImpl(const ResNetOptions& options);
  Features forward(const torch::Tensor& images) override;
  std::vector<FeatureInfo> feature_info() const override { return feature_info(options); }

  // The same before a backbone exists.
  static std::vector<FeatureInfo> feature_info(const ResNetOptions& options);

  ResNetOptions options;
  torch::nn::Conv2d conv1{nullptr};
  ResNetNorm bn1{nullptr};
  std::vector<torch::nn::Sequential> layers;  // layer1 ... layer4
};
TORCH_MODULE(ResNet);

}  // namespace hornet
