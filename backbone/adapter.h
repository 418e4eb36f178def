// A network of yours as a hornet::Backbone, without a class to write.
//
//   MyNet net;  // forward(Tensor) -> std::vector<Tensor>
//   auto backbone = hornet::as_backbone(net, {{32, 4}, {64, 8}});  // channels, stride of a level
//   hornet::Fpn neck(hornet::FpnOptions(backbone->feature_info()));
//
// The backbone has your module's parameters, buffers and children under their own names and shares
// them with it: training, .to(), state dicts and checkpoints work as before, through either side.
// (They are those that exist at this moment; register further ones before.)
//
// What is declared is compared with what forward gives, at every call: Error(kUsage) names the
// level, what was declared and what was found. A map's height and width are those of the images
// divided by the stride, rounded down or up; convolutions without padding, which lose a border,
// are no feature pyramid.
#pragma once

#include <hornet/backbone/backbone.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/pimpl.h>

#include <type_traits>

namespace hornet {

using FeatureFunction = std::function<Features(const torch::Tensor& images)>;

// A function alone: for what has no parameters that LibTorch would have to know (TorchScript, a
// frozen network). Level i is what it returns at place i.
std::shared_ptr<Backbone> as_backbone(FeatureFunction forward, std::vector<FeatureInfo> info);

// The same with the module whose parameters `forward` uses.
std::shared_ptr<Backbone> as_backbone(std::shared_ptr<torch::nn::Module> module,
                                      FeatureFunction forward, std::vector<FeatureInfo> info);

// Stages that feed one another: the outputs of the last info.size() ones are the levels, what
// comes before them is the stem.
std::shared_ptr<Backbone> as_backbone(const torch::nn::Sequential& stages,
                                      std::vector<FeatureInfo> info);

namespace internal {

inline Features to_features(Features features) { return features; }
inline Features to_features(const torch::Tensor& only_level) { return {only_level}; }

}  // namespace internal

// A module whose forward takes the images and returns the levels, or the only one.
template <typename Impl>
std::shared_ptr<Backbone> as_backbone(std::shared_ptr<Impl> module, std::vector<FeatureInfo> info) {
  static_assert(std::is_base_of_v<torch::nn::Module, Impl>, "as_backbone takes torch::nn modules");
  Impl* network = module.get();  // the backbone keeps the module alive
  return as_backbone(
      std::move(module),
      [network](const torch::Tensor& x) { return internal::to_features(network->forward(x)); },
      std::move(info));
}

// The same for what TORCH_MODULE has defined.
template <typename Impl>
std::shared_ptr<Backbone> as_backbone(const torch::nn::ModuleHolder<Impl>& module,
                                      std::vector<FeatureInfo> info) {
  return as_backbone(module.is_empty() ? nullptr : module.ptr(), std::move(info));
}

}  // namespace hornet
