#include <hornet/backbone/error.h>
#include <hornet/heads/detector_settings.h>
#include <hornet/heads/model.h>
#include <hornet/heads/torchvision_layout.h>

namespace hornet {
namespace {

// What is larger than this is no model but an attempt to exhaust memory.
constexpr int64_t kWidest = 1 << 17, kWidestStem = 1 << 13, kLongestFilter = 1 << 12;
constexpr int64_t kDeepest = 256, kHighestOrder = 14;

// The state dict seen as names and shapes. Its tensors may have been renamed; messages show them
// as they were.
class Keys {
 public:
  using Names = std::function<std::string(const std::string&)>;

  Keys(const weights::File& file, Names shown) : file_(file), shown_(std::move(shown)) {}

  DetectorSettings detector_settings() const {
    return read_detector_settings(file_.meta, file_.path.string());
  }

  bool has(const std::string& key) const { return file_.tensors.count(key) > 0; }

  // Size of dimension `dim` of a tensor that must be there, from 1 to `largest`.
  int64_t size(const std::string& key, size_t dim, int64_t largest = kWidest) const {
    const auto found = file_.tensors.find(key);
    const std::string name = "'" + shown_(key) + "'";
    if (found == file_.tensors.end()) fail("lacks " + name + ", which its other tensors call for");
    if (dim >= found->second.shape.size()) fail("has " + name + " with too few dimensions");
    const int64_t size = found->second.shape[dim];
    if (size < 1 || size > largest) fail("has " + name + " of size " + std::to_string(size));
    return size;
  }

  // How many of prefix0suffix, prefix1suffix, ... there are.
  int64_t count(const std::string& prefix, const std::string& suffix) const {
    int64_t n = 0;
    while (has(prefix + std::to_string(n) + suffix)) ++n;
    return n;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::kWeights,
                file_.path.string() + " " + what +
                    "; expected a HorNet checkpoint (classification, backbone, (Cascade) Mask "
                    "R-CNN or UperNet), or mmdet's or torchvision's Mask R-CNN on a ResNet");
  }

  // Of a file that is neither: what there is instead.
  [[noreturn]] void fail_without(const std::string& key) const {
    const bool empty = file_.tensors.empty();
    fail("lacks '" + key + "'" +
         (empty ? ", and all other tensors"
                : "; its first tensor is '" + shown_(file_.tensors.begin()->first) + "'"));
  }

 private:
  const weights::File& file_;
  Names shown_;
};

std::optional<FilterSize> filter_size(const Keys& keys, const std::string& mixer) {
  const std::string key = mixer + ".complex_weight";
  if (!keys.has(key)) return std::nullopt;
  return FilterSize{keys.size(key, 1, kLongestFilter), keys.size(key, 2, kLongestFilter)};
}

HorNetOptions recognise_hornet(const Keys& keys, const std::string& prefix) {
  HorNetOptions options;
  options.base_dim = keys.size(prefix + "downsample_layers.0.0.weight", 0, kWidestStem);
  if (keys.size(prefix + "downsample_layers.0.0.weight", 1) != options.in_channels) {
    keys.fail("has a stem for other than three colours");
  }
  for (size_t i = 0; i < options.stages.size(); ++i) {
    const std::string stage = prefix + "stages." + std::to_string(i) + ".";
    StageOptions& out = options.stages[i];
    out.depth = keys.count(stage, ".gnconv.proj_in.weight");
    if (out.depth == 0) keys.fail("lacks '" + stage + "0.gnconv.proj_in.weight'");
    out.order = keys.count(stage + "0.gnconv.pws.", ".weight") + 1;
    if (out.depth > kDeepest || out.order > kHighestOrder)
      keys.fail("has too many blocks or too high an order");
    out.global_filter = filter_size(keys, stage + "0.gnconv.dwconv");
  }
  if (!keys.has(prefix + "stages.0.0.gamma1")) options.layer_scale_init = 0;
  options.out_indices.clear();
  for (int64_t i = 0; i < 4; ++i) {
    if (keys.has(prefix + "norm" + std::to_string(i) + ".weight")) options.out_indices.push_back(i);
  }
  return options;
}

ResNetOptions recognise_resnet(const Keys& keys, const std::string& prefix) {
  ResNetOptions options;
  options.base_width = keys.size(prefix + "conv1.weight", 0, kWidestStem);
  if (keys.size(prefix + "conv1.weight", 1) != options.in_channels) {
    keys.fail("has a stem for other than three colours");
  }
  if (!keys.has(prefix + "layer1.0.conv3.weight")) {
    keys.fail("has the basic blocks of ResNet-18 and -34, where bottlenecks are needed");
  }
  for (size_t i = 0; i < options.depths.size(); ++i) {
    const std::string layer = prefix + "layer" + std::to_string(i + 1) + ".";
    options.depths[i] = keys.count(layer, ".conv1.weight");
    if (options.depths[i] == 0) keys.size(layer + "0.conv1.weight", 0);
    if (options.depths[i] > kDeepest) keys.fail("has too many blocks");
  }
  // What never was in training has not counted its batches.
  options.frozen_norm = !keys.has(prefix + "bn1.num_batches_tracked");
  return options;
}

const char kHorNetStem[] = "downsample_layers.0.0.weight", kResNetBlock[] = "layer1.0.conv1.weight";

BackboneOptions recognise_backbone(const Keys& keys, const std::string& prefix) {
  if (keys.has(prefix + kResNetBlock)) return recognise_resnet(keys, prefix);
  if (!keys.has(prefix + kHorNetStem)) keys.fail_without(kHorNetStem);
  return recognise_hornet(keys, prefix);
}

struct Fusion {
  FusionConv kind = FusionConv::kConv3x3;
  FilterSize size = {32, 17};
};

Fusion recognise_fusion(const Keys& keys, const std::string& prefix) {
  if (!keys.has(prefix + "proj_in.weight")) return {};
  if (const auto size = filter_size(keys, prefix + "dwconv")) {
    return {FusionConv::kGnConvGlobalFilter, *size};
  }
  return {FusionConv::kGnConv7x7, {}};
}

// What the weights do not show; where they do, they must agree.
DetectorSettings settings_for(const Keys& keys, size_t inputs) {
  const DetectorSettings settings = keys.detector_settings();
  const int64_t anchors = keys.size("rpn_head.rpn_cls.weight", 0);
  if (anchors != settings.anchors.per_position()) {
    keys.fail("has " + std::to_string(anchors) + " anchors a position, where its metadata " +
              "(hornet.anchor_scales, hornet.anchor_ratios) make " +
              std::to_string(settings.anchors.per_position()));
  }
  if (settings.levels < static_cast<int64_t>(inputs)) {
    keys.fail("has " + std::to_string(settings.levels) + " pyramid levels in its metadata");
  }
  return settings;
}

void recognise_detector(const Keys& keys, Architecture& out) {
  const Fusion fusion = recognise_fusion(keys, "neck.fpn_convs.0.");
  const std::vector<FeatureInfo> inputs = feature_info(out.backbone);
  const DetectorSettings settings = settings_for(keys, inputs.size());
  out.neck = FpnOptions(inputs)
                 .levels(settings.levels)
                 .channels(keys.size("neck.lateral_convs.0.conv.weight", 0))
                 .output(fusion.kind)
                 .filter_size(fusion.size);
  const bool cascade = keys.has("roi_head.bbox_head.0.fc_cls.weight");
  const std::string bbox = cascade ? "roi_head.bbox_head.0." : "roi_head.bbox_head.";
  const std::string mask = cascade ? "roi_head.mask_head.0." : "roi_head.mask_head.";
  out.num_classes = keys.size(bbox + "fc_cls.weight", 0) - 1;
  MaskRcnnOptions options(FpnImpl::feature_info(*out.neck));
  options.cascade(cascade).num_classes(out.num_classes);
  options.rpn.channels(keys.size("rpn_head.rpn_conv.weight", 0))
      .anchors(settings.anchors)
      .max_proposals(settings.proposals);
  options.roi.bbox()
      .convs(keys.count(bbox + "shared_convs.", ".conv.weight"))
      .fcs(keys.count(bbox + "shared_fcs.", ".weight"))
      .fc_channels(keys.size(bbox + "shared_fcs.0.weight", 0))
      .class_agnostic(out.num_classes > 1 && keys.size(bbox + "fc_reg.weight", 0) == 4);
  if (options.roi.bbox().convs() > 0) {
    options.roi.bbox().conv_channels(keys.size(bbox + "shared_convs.0.conv.weight", 0));
  }
  options.roi.mask()
      .convs(keys.count(mask + "convs.", ".conv.weight"))
      .channels(keys.size(mask + "conv_logits.weight", 1));
  if (cascade) options.roi.stages(keys.count("roi_head.bbox_head.", ".fc_cls.weight"));
  if (options.roi.stages() > 3) keys.fail("has a cascade of more than three stages");
  out.detector = options;
}

void recognise_segmentor(const Keys& keys, Architecture& out) {
  const Fusion fusion = recognise_fusion(keys, "decode_head.fpn_bottleneck.");
  out.num_classes = keys.size("decode_head.conv_seg.weight", 0);
  UperNetOptions options(feature_info(out.backbone));
  options.num_classes(out.num_classes);
  options.decode.channels(keys.size("decode_head.conv_seg.weight", 1))
      .fusion(fusion.kind)
      .filter_size(fusion.size);
  if (keys.has("auxiliary_head.conv_seg.weight")) {
    options.auxiliary->channels(keys.size("auxiliary_head.conv_seg.weight", 1));
  } else {
    options.auxiliary.reset();
  }
  out.segmentor = options;
}

// Which heads there are. Bare ones have a task only if they are HorNet's.
void recognise_heads(const Keys& keys, const std::string& prefix, Architecture& out) {
  const auto* hornet = std::get_if<HorNetOptions>(&out.backbone);
  const bool detector = keys.has("rpn_head.rpn_conv.weight");
  const bool segmentor = keys.has("decode_head.conv_seg.weight");
  if (hornet && (detector || segmentor) && hornet->out_indices.size() != 4) {
    keys.fail("lacks 'backbone.norm0..3'");
  }
  if (detector) {
    out.task = Task::kDetection;
    recognise_detector(keys, out);
  } else if (!hornet && (segmentor || keys.has(prefix + "fc.weight"))) {
    keys.fail(std::string("is a ResNet for ") + (segmentor ? "segmentation" : "classification"));
  } else if (segmentor) {
    out.task = Task::kSegmentation;
    recognise_segmentor(keys, out);
  } else if (hornet && keys.has(prefix + "head.weight")) {
    out.task = Task::kClassification;
    out.num_classes = keys.size(prefix + "head.weight", 0);
  } else if (hornet && hornet->out_indices.empty()) {
    keys.fail("has neither output norms nor a head");
  }
}

Architecture recognise_native(const Keys& keys) {
  const bool below = keys.has(std::string("backbone.") + kHorNetStem) ||
                     keys.has(std::string("backbone.") + kResNetBlock);
  const std::string prefix = below ? "backbone." : "";
  Architecture out;
  out.backbone = recognise_backbone(keys, prefix);
  recognise_heads(keys, prefix, out);
  return out;
}

Architecture recognise_torchvision(const weights::File& file) {
  const bool older = has_older_torchvision_names(file);
  const weights::File native = from_torchvision(file);
  const Keys keys(native, [older](const std::string& key) { return torchvision_name(key, older); });
  keys.size(std::string("backbone.") + kResNetBlock, 0);  // both must be there
  keys.size("rpn_head.rpn_conv.weight", 0);
  Architecture out = recognise_native(keys);
  out.detector->torchvision();
  // torchvision runs its published weights, which are in the older spelling and were trained before
  // frozen batch norm had an epsilon, without one.
  auto& resnet = std::get<ResNetOptions>(out.backbone);
  if (older && resnet.frozen_norm) resnet.norm_eps = 0;
  return out;
}

}  // namespace

Architecture recognise(const weights::File& file) {
  if (has_torchvision_names(file)) return recognise_torchvision(file);
  return recognise_native(Keys(file, [](const std::string& key) { return key; }));
}

}  // namespace hornet
