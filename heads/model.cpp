#include <c10/core/InferenceMode.h>
#include <hornet/backbone/error.h>
#include <hornet/heads/model.h>
#include <hornet/heads/model_complexity.h>
#include <hornet/heads/torchvision_layout.h>

namespace hornet {
namespace {

// What stands in front of the backbone's name in the published configurations.
struct Family {
  const char* prefix;
  Task task;
  bool cascade;
  FusionConv fusion;
};

constexpr Family kFamilies[] = {
    {"cascade_mask_rcnn_", Task::kDetection, true, FusionConv::kConv3x3},
    {"fpn_mask_rcnn_", Task::kDetection, false, FusionConv::kConv3x3},
    {"horfpn_7x7_mask_rcnn_", Task::kDetection, false, FusionConv::kGnConv7x7},
    {"horfpn_gf_mask_rcnn_", Task::kDetection, false, FusionConv::kGnConvGlobalFilter},
    {"upernet_", Task::kSegmentation, false, FusionConv::kConv3x3},
    {"horfpn_7x7_upernet_", Task::kSegmentation, false, FusionConv::kGnConv7x7},
    {"horfpn_gf_upernet_", Task::kSegmentation, false, FusionConv::kGnConvGlobalFilter},
};

// Backbones below this width have heads of twice their width, not the published ones' 512.
constexpr int64_t kNarrowestPublished = 64;

constexpr int64_t kImageNetClasses = 1000, kCocoClasses = 80, kAdeClasses = 150;

Architecture detector_architecture(const Family& family, const HorNetOptions& backbone) {
  Architecture out;
  out.task = Task::kDetection;
  out.backbone = backbone;
  out.num_classes = kCocoClasses;
  out.neck = FpnOptions(feature_info(backbone)).output(family.fusion);
  if (backbone.base_dim < kNarrowestPublished) out.neck->channels(2 * backbone.base_dim);
  out.detector = MaskRcnnOptions(FpnImpl::feature_info(*out.neck));
  out.detector->cascade(family.cascade).num_classes(kCocoClasses);
  if (backbone.base_dim < kNarrowestPublished) {
    constexpr int64_t kFewerProposals = 300;
    out.detector->roi.bbox().fc_channels(8 * backbone.base_dim);
    out.detector->roi.mask().convs(3);
    out.detector->rpn.max_proposals(kFewerProposals);
  }
  return out;
}

Architecture segmentor_architecture(const Family& family, const HorNetOptions& backbone) {
  Architecture out;
  out.task = Task::kSegmentation;
  out.backbone = backbone;
  out.num_classes = kAdeClasses;
  out.segmentor = UperNetOptions(feature_info(backbone));
  out.segmentor->num_classes(kAdeClasses);
  out.segmentor->decode.fusion(family.fusion);
  if (backbone.base_dim < kNarrowestPublished) {
    out.segmentor->decode.channels(2 * backbone.base_dim);
    out.segmentor->auxiliary->channels(2 * backbone.base_dim);
  }
  return out;
}

bool starts_with(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

FilterUse filter_use(Task task) {
  if (task == Task::kDetection) return FilterUse::kDetection;
  if (task == Task::kSegmentation) return FilterUse::kSegmentation;
  return FilterUse::kClassification;
}

std::string backbone_name(const ResNetOptions& options, Task) {
  const std::string published = variant_name(options);
  if (!published.empty()) return published;
  std::string name = "resnet_width" + std::to_string(options.base_width) + "_";
  for (size_t i = 0; i < options.depths.size(); ++i) {
    name += (i ? "-" : "") + std::to_string(options.depths[i]);
  }
  return name;
}

std::string backbone_name(const HorNetOptions& options, Task task) {
  const std::string published = variant_name(options, filter_use(task));
  if (!published.empty()) return published;
  std::string name = "hornet_dim" + std::to_string(options.base_dim) + "_";
  std::string filters;
  for (size_t i = 0; i < options.stages.size(); ++i) {
    const StageOptions& stage = options.stages[i];
    name += (i ? "-" : "") + std::to_string(stage.depth);
    if (!stage.global_filter) continue;
    filters +=
        "_" + std::to_string(stage.global_filter->h) + "x" + std::to_string(stage.global_filter->w);
  }
  return name + (filters.empty() ? "_7x7" : "_gf" + filters);
}

bool belongs_to(const Architecture& architecture, const Family& family) {
  if (architecture.task != family.task) return false;
  if (architecture.task == Task::kSegmentation) {
    return architecture.segmentor->decode.fusion() == family.fusion;
  }
  return architecture.detector->roi.cascade() == family.cascade &&
         architecture.neck->output() == family.fusion;
}

// ResNets have their detectors' names from mmdet and torchvision.
std::string family_name(const Family& family, const Architecture& architecture,
                        const std::string& backbone) {
  const bool on_resnet = std::holds_alternative<ResNetOptions>(architecture.backbone);
  if (!on_resnet || family.fusion != FusionConv::kConv3x3) return family.prefix + backbone;
  return (family.cascade ? "cascade_mask_rcnn_" : "mask_rcnn_") + backbone + "_fpn";
}

}  // namespace

std::vector<FeatureInfo> feature_info(const BackboneOptions& options) {
  if (const auto* resnet = std::get_if<ResNetOptions>(&options)) {
    return ResNetImpl::feature_info(*resnet);
  }
  return HorNetImpl::feature_info(std::get<HorNetOptions>(options));
}

std::shared_ptr<Backbone> make_backbone(const BackboneOptions& options) {
  if (const auto* resnet = std::get_if<ResNetOptions>(&options)) {
    return std::make_shared<ResNetImpl>(*resnet);
  }
  return std::make_shared<HorNetImpl>(std::get<HorNetOptions>(options));
}

const char* task_name(Task task) {
  switch (task) {
    case Task::kClassification:
      return "classification";
    case Task::kDetection:
      return "instance segmentation";
    case Task::kSegmentation:
      return "semantic segmentation";
    case Task::kBackbone:
      break;
  }
  return "backbone";
}

std::string architecture_name(const Architecture& architecture) {
  const std::string backbone =
      std::visit([&](const auto& options) { return backbone_name(options, architecture.task); },
                 architecture.backbone);
  for (const Family& family : kFamilies) {
    if (belongs_to(architecture, family)) return family_name(family, architecture, backbone);
  }
  return backbone;
}

Architecture official_architecture(const std::string& name) {
  for (const Family& family : kFamilies) {
    if (!starts_with(name, family.prefix)) continue;
    const std::string backbone = name.substr(std::string(family.prefix).size());
    return family.task == Task::kDetection
               ? detector_architecture(family, hornet_variant(backbone, FilterUse::kDetection))
               : segmentor_architecture(family, hornet_variant(backbone, FilterUse::kSegmentation));
  }
  Architecture out;
  out.task = Task::kClassification;
  out.backbone = hornet_variant(name);
  out.num_classes = kImageNetClasses;
  return out;
}

std::vector<std::string> official_names() {
  std::vector<std::string> names = hornet_variant_names();
  for (const char* size : {"tiny", "small", "base", "large"}) {
    for (const char* mixer : {"7x7", "gf"}) {
      const std::string backbone = std::string("hornet_") + size + "_" + mixer;
      names.push_back("cascade_mask_rcnn_" + backbone);
      names.push_back("upernet_" + backbone);
    }
  }
  for (const Family& family : kFamilies) {
    const bool only_small =
        family.fusion != FusionConv::kConv3x3 || starts_with(family.prefix, "fpn_");
    if (only_small) names.push_back(std::string(family.prefix) + "hornet_small_7x7");
  }
  return names;
}

AnyModel build_model(const Architecture& architecture) {
  if (architecture.task == Task::kClassification) {
    return HorNetClassifier(std::get<HorNetOptions>(architecture.backbone),
                            architecture.num_classes);
  }
  const std::shared_ptr<Backbone> backbone = make_backbone(architecture.backbone);
  if (architecture.task == Task::kDetection) {
    return MaskRcnn(backbone, Fpn(*architecture.neck), *architecture.detector);
  }
  if (architecture.task == Task::kSegmentation) return UperNet(backbone, *architecture.segmentor);
  if (auto resnet = std::dynamic_pointer_cast<ResNetImpl>(backbone)) return ResNet(resnet);
  return HorNet(std::dynamic_pointer_cast<HorNetImpl>(backbone));
}

torch::nn::Module& as_module(AnyModel& model) {
  return std::visit([](auto& holder) -> torch::nn::Module& { return *holder; }, model);
}

namespace {

// A few small tensors with a wide first layer must not call for gigabytes: a model that has many
// more parameters than the file has numbers is refused before it is built.
void check_extent(const weights::File& file, const Architecture& architecture) {
  constexpr int64_t kAlwaysFine = 50'000'000;
  int64_t numbers = 0;
  for (const auto& item : file.tensors) numbers += item.second.numel();
  const int64_t needed = model_complexity(architecture, {64, 64}).parameters;
  if (needed <= kAlwaysFine || needed / 2 <= numbers) return;
  throw Error(ErrorCode::kWeights, file.path.string() + " holds " + std::to_string(numbers) +
                                       " numbers, but its stem calls for a model of " +
                                       std::to_string(needed) + " parameters");
}

// Widths that no model can have are the file's fault.
AnyModel build_for(const weights::File& file, const Architecture& architecture) {
  check_extent(file, architecture);
  try {
    return build_model(architecture);
  } catch (const Error& error) {
    throw Error(ErrorCode::kWeights,
                file.path.string() + " calls for a model that cannot be: " + error.what());
  }
}

// The prefix that a checkpoint without heads has before its backbone's names, or not.
std::string prefix_of(const weights::File& file, const Architecture& architecture) {
  const bool bare =
      architecture.task == Task::kClassification || architecture.task == Task::kBackbone;
  const bool prefixed = file.tensors.count("backbone.downsample_layers.0.0.weight") > 0 ||
                        file.tensors.count("backbone.layer1.0.conv1.weight") > 0;
  return bare && prefixed ? "backbone." : "";
}

}  // namespace

LoadedModel load_model(const weights::File& given, bool allow_partial) {
  // Normal tensors even under InferenceMode: inference tensors could not be watched for changes, so
  // the model could not be prepared.
  const c10::InferenceMode normal(false);
  const Architecture architecture = recognise(given);
  const bool renamed = has_torchvision_names(given);
  const weights::File file = renamed ? from_torchvision(given) : given;
  LoadedModel loaded{architecture, file.meta, {}, build_for(file, architecture)};
  weights::LoadOptions options;
  options.allow_partial = allow_partial;
  options.prefix = prefix_of(file, architecture);
  if (renamed) {
    const bool older = has_older_torchvision_names(given);
    options.shown_as = [older](const std::string& key) { return torchvision_name(key, older); };
  }
  loaded.report = weights::load(as_module(loaded.module), file, options);
  as_module(loaded.module).eval();
  return loaded;
}

}  // namespace hornet
