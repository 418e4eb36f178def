// What a checkpoint holds, and the model that it makes.
//
// recognise() reads the architecture off the names and shapes of a checkpoint's tensors: no
// configuration file is needed, and narrow, deep or otherwise changed models are recognised like
// the published ones. Mask R-CNNs may stand on a ResNet instead of HorNet, with mmdet's names or
// with torchvision's, whose conventions the model then follows. load_model() builds it and loads
// the weights.
//
//   hornet::LoadedModel model = hornet::load_model(hornet::weights::read("model.pth"));
//   auto detector = std::get<hornet::MaskRcnn>(model.module);
//
// Errors: Error(kWeights) that names the file and the first key that no model here explains.
#pragma once

#include <hornet/backbone/hornet.h>
#include <hornet/backbone/resnet.h>
#include <hornet/backbone/weights/checkpoint.h>
#include <hornet/heads/mask_rcnn.h>
#include <hornet/heads/uper_net.h>

#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace hornet {

enum class Task { kClassification, kBackbone, kDetection, kSegmentation };
const char* task_name(Task task);

using BackboneOptions = std::variant<HorNetOptions, ResNetOptions>;

// What such a backbone will give, and one with fresh weights.
std::vector<FeatureInfo> feature_info(const BackboneOptions& options);
std::shared_ptr<Backbone> make_backbone(const BackboneOptions& options);

struct Architecture {
  Task task = Task::kBackbone;
  BackboneOptions backbone;
  int64_t num_classes = 0;         // 0 for a backbone alone
  std::optional<FpnOptions> neck;  // detection
  std::optional<MaskRcnnOptions> detector;
  std::optional<UperNetOptions> segmentor;
};

// "cascade_mask_rcnn_hornet_tiny_gf" or "mask_rcnn_resnet50_fpn" for a published architecture; for
// others the name says what differs: "cascade_mask_rcnn_hornet_dim8_2-3-18-2_gf_14x8_7x4".
std::string architecture_name(const Architecture& architecture);

// The authors' published models by name, e.g. "hornet_tiny_gf",
// "horfpn_gf_mask_rcnn_hornet_small_7x7", "upernet_hornet_large_gf": with 1000, 80 and 150 classes.
// The small variants' names stand for models with narrower heads. Error(kUsage) for other names.
Architecture official_architecture(const std::string& name);
std::vector<std::string> official_names();

Architecture recognise(const weights::File& file);

using AnyModel = std::variant<HorNet, ResNet, HorNetClassifier, MaskRcnn, UperNet>;

// The model with fresh weights, in training mode.
AnyModel build_model(const Architecture& architecture);
torch::nn::Module& as_module(AnyModel& model);

struct LoadedModel {
  Architecture architecture;
  weights::Metadata meta;
  weights::LoadReport report;
  AnyModel module;  // in evaluation mode, on the CPU
};

LoadedModel load_model(const weights::File& file, bool allow_partial = false);

}  // namespace hornet
