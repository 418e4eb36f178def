// The seam between a backbone and everything that is built on one.
//
// A Backbone turns a batch of images into a pyramid of feature maps and says what they are: how
// many channels, at what stride. Necks and heads are built from that description, so swapping a
// backbone needs no channel list to be typed anywhere:
//
//   std::shared_ptr<hornet::Backbone> backbone = hornet::make_backbone("hornet_tiny_gf");
//   hornet::Fpn neck(hornet::FpnOptions(backbone->feature_info()));
//   hornet::Features pyramid = neck->forward(backbone->forward(images));
//
// Your own network becomes a backbone by as_backbone (adapter.h) or by implementing the two
// functions; register_backbone gives it a name beside the built-in ones.
#pragma once

#include <torch/nn/module.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace hornet {

// One level of a feature pyramid: its channels, and how many input pixels one step covers.
struct FeatureInfo {
  int64_t channels = 0;
  int64_t stride = 0;
};

// Feature maps [N,C,H,W], from high to low resolution.
using Features = std::vector<torch::Tensor>;

class Backbone : public torch::nn::Module {
 public:
  using torch::nn::Module::Module;

  // images: [N,3,H,W], normalised, any H and W >= 32. Returns one map per feature_info() entry.
  virtual Features forward(const torch::Tensor& images) = 0;

  // What forward returns, known before the first image is seen.
  virtual std::vector<FeatureInfo> feature_info() const = 0;
};

using BackboneFactory = std::function<std::shared_ptr<Backbone>()>;

// Adds a name, or replaces what it meant. The variants of HorNet and ResNet are there from the
// start.
void register_backbone(const std::string& name, BackboneFactory factory);

// A new backbone with freshly initialised weights. Error(kUsage) lists the names that exist.
std::shared_ptr<Backbone> make_backbone(const std::string& name);

std::vector<std::string> backbone_names();

// Throws Error(kUsage) with both sides' channels and strides unless `expected` (what `consumer`
// was built for) is what the backbone gives.
void check_wiring(const std::vector<FeatureInfo>& given, const std::vector<FeatureInfo>& expected,
                  const std::string& consumer);

}  // namespace hornet
