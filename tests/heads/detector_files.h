// A narrow Mask R-CNN on a ResNet, and its state dict as mmdet and torchvision write it.
#pragma once

#include <hornet/heads/model.h>
#include <hornet/heads/torchvision_layout.h>

#include <memory>
#include <string>

#include "tests/modules.h"

namespace hornet::testing {

// Three classes, random weights, in evaluation mode. The cascade is class agnostic with two fully
// connected layers, as mmdet's is by default.
inline MaskRcnn narrow_resnet_detector(bool cascade = false) {
  torch::manual_seed(7);
  ResNetOptions resnet;
  resnet.base_width = 4;
  resnet.depths = {1, 2, 1, 1};
  const ResNet backbone(resnet);
  const Fpn neck(FpnOptions(backbone->feature_info()).channels(8));
  MaskRcnnOptions options(neck->feature_info());
  options.cascade(cascade).num_classes(3);
  options.roi.bbox().convs(0).fcs(2).fc_channels(16).class_agnostic(cascade);
  MaskRcnn model(backbone.ptr(), neck, options);
  randomise(*model);
  const torch::NoGradGuard no_grad;
  for (const auto& item : model->named_parameters()) {
    if (item.key().find("fc_reg") != std::string::npos) item.value().mul_(0.2);
    if (item.key().find("bias") != std::string::npos) item.value().sub_(1);
  }
  model->eval();
  return model;
}

// The tensors of a file that is in memory only.
class StateDict {
 public:
  void add(const std::string& name, const torch::Tensor& tensor) {
    tensors_->push_back(tensor.detach().contiguous());
    file_.tensors[name] = weights::from_torch(tensors_->back());
  }
  weights::File file() {
    file_.path = "state_dict.pth";
    file_.storage = tensors_;
    return file_;
  }

 private:
  weights::File file_;
  std::shared_ptr<std::vector<torch::Tensor>> tensors_ =
      std::make_shared<std::vector<torch::Tensor>>();
};

template <typename Add>
void for_each_tensor(const MaskRcnn& model, Add&& add) {
  for (const auto& item : model->named_parameters()) add(item.key(), item.value());
  for (const auto& item : model->named_buffers()) add(item.key(), item.value());
}

// The names are mmdet's already.
inline weights::File as_mmdet_file(const MaskRcnn& model) {
  StateDict state;
  for_each_tensor(model, [&](const std::string& name, const torch::Tensor& tensor) {
    state.add(name, tensor);
  });
  return state.file();
}

// With frozen batch norm, and the background as the first class.
inline weights::File as_torchvision_file(const MaskRcnn& model, bool older) {
  StateDict state;
  for_each_tensor(model, [&](const std::string& name, torch::Tensor tensor) {
    const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
    if (has("num_batches_tracked")) return;
    const int64_t unused = has("fc_reg") ? 4 : has("conv_logits") ? 1 : 0;
    if (has("fc_cls")) tensor = tensor.roll(1, 0);
    if (unused > 0) tensor = torch::cat({torch::randn_like(tensor.slice(0, 0, unused)), tensor});
    state.add(torchvision_name(name, older), tensor);
  });
  return state.file();
}

}  // namespace hornet::testing
