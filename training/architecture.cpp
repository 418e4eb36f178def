#include <hornet/backbone/error.h>
#include <hornet/pipelines/palette_tables.h>
#include <hornet/training/architecture.h>

#include <fstream>
#include <iterator>
#include <sstream>

namespace hornet {
namespace {

void change_backbone(HorNetOptions& backbone, const ModelChanges& changes) {
  if (changes.width) backbone.base_dim = *changes.width;
  for (size_t i = 0; changes.depths && i < backbone.stages.size(); ++i) {
    backbone.stages[i].depth = (*changes.depths)[i];
  }
  backbone.drop_path_rate = changes.drop_path;
}

// The head for a backbone that may have another width by now.
UperNetOptions head_for(const Architecture& architecture, const ModelChanges& changes) {
  const UperHeadOptions& old = architecture.segmentor->decode;
  const int64_t channels = changes.head_channels.value_or(old.channels());
  UperNetOptions options(feature_info(architecture.backbone));
  options.num_classes(changes.classes);
  options.decode.channels(channels)
      .fusion(old.fusion())
      .filter_size(old.filter_size())
      .dropout(changes.dropout);
  const bool fresh = !architecture.segmentor->auxiliary || changes.head_channels;
  options.auxiliary->channels(fresh ? std::min<int64_t>(channels, 256)
                                    : architecture.segmentor->auxiliary->channels());
  options.auxiliary->dropout(changes.dropout);
  return options;
}

// The neck and the heads of a detector for a backbone that may have another width by now. The
// pyramid's channels are those of the RPN and of the heads' convolutions too.
void change_detector(Architecture& architecture, const ModelChanges& changes) {
  const FpnOptions old_neck = *architecture.neck;
  const MaskRcnnOptions old = *architecture.detector;
  architecture.neck = FpnOptions(feature_info(architecture.backbone))
                          .channels(changes.head_channels.value_or(old_neck.channels()))
                          .levels(changes.pyramid_levels.value_or(old_neck.levels()))
                          .output(old_neck.output())
                          .filter_size(old_neck.filter_size());
  MaskRcnnOptions detector(FpnImpl::feature_info(*architecture.neck));
  detector.cascade(old.roi.cascade()).num_classes(changes.classes);
  detector.roi.bbox()
      .convs(old.roi.bbox().convs())
      .fcs(old.roi.bbox().fcs())
      .fc_channels(old.roi.bbox().fc_channels())
      .class_agnostic(old.roi.bbox().class_agnostic());
  detector.roi.mask().convs(old.roi.mask().convs());
  detector.rpn.max_proposals(old.rpn.max_proposals()).anchors(old.rpn.anchors());
  if (!changes.anchor_scales.empty()) detector.rpn.anchors().scales = changes.anchor_scales;
  if (!changes.anchor_ratios.empty()) detector.rpn.anchors().ratios = changes.anchor_ratios;
  architecture.detector = detector;
  architecture.num_classes = changes.classes;
}

// The checkpoint's architecture, which must be HorNet's and for `task`.
Architecture of_file(const weights::File& file, const ModelChanges& changes, Task task) {
  if (changes.width || changes.depths || changes.head_channels) {
    throw Error(ErrorCode::kUsage,
                "--width, --depths and --head-channels change a model of the table, but --model is "
                "the checkpoint " +
                    file.path.string() + "; name a variant there and the file as --pretrained");
  }
  Architecture architecture = recognise(file);
  if (!std::holds_alternative<HorNetOptions>(architecture.backbone)) {
    throw Error(ErrorCode::kUsage, "--model " + file.path.string() +
                                       ": has a ResNet, which is not trained here; expected a "
                                       "checkpoint of HorNet or a variant's name");
  }
  if (architecture.task != task) {
    throw Error(ErrorCode::kUsage, "--model " + file.path.string() + ": is for " +
                                       task_name(architecture.task) + ", not for " +
                                       task_name(task) +
                                       "; as --pretrained it gives its backbone to another model");
  }
  change_backbone(std::get<HorNetOptions>(architecture.backbone), changes);
  architecture.num_classes = changes.classes;
  return architecture;
}

std::string read_text(const std::string& name) {
  std::ifstream stream(name, std::ios::binary);
  if (!stream) {
    throw Error(ErrorCode::kUsage, "--classes " + name +
                                       ": expected ade20k, cityscapes, camvid or a file of names, "
                                       "but there is no such file");
  }
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

Architecture segmentation_architecture(const std::string& name, const ModelChanges& changes) {
  const bool bare = name.compare(0, 7, "hornet_") == 0;
  Architecture architecture = official_architecture(bare ? "upernet_" + name : name);
  if (architecture.task != Task::kSegmentation) {
    throw Error(ErrorCode::kUsage, "--model " + name + ": is for " + task_name(architecture.task) +
                                       ", not for semantic segmentation");
  }
  change_backbone(std::get<HorNetOptions>(architecture.backbone), changes);
  architecture.num_classes = changes.classes;
  architecture.segmentor = head_for(architecture, changes);
  return architecture;
}

Architecture segmentation_architecture(const weights::File& file, const ModelChanges& changes) {
  Architecture architecture = of_file(file, changes, Task::kSegmentation);
  architecture.segmentor = head_for(architecture, changes);
  return architecture;
}

Architecture detection_architecture(const std::string& name, const ModelChanges& changes) {
  const bool bare = name.compare(0, 7, "hornet_") == 0;
  Architecture architecture = official_architecture(bare ? "fpn_mask_rcnn_" + name : name);
  if (architecture.task != Task::kDetection) {
    throw Error(ErrorCode::kUsage, "--model " + name + ": is for " + task_name(architecture.task) +
                                       ", not for " + task_name(Task::kDetection));
  }
  change_backbone(std::get<HorNetOptions>(architecture.backbone), changes);
  change_detector(architecture, changes);
  return architecture;
}

Architecture detection_architecture(const weights::File& file, const ModelChanges& changes) {
  if (!changes.anchor_scales.empty() || !changes.anchor_ratios.empty() || changes.pyramid_levels) {
    throw Error(ErrorCode::kUsage,
                "--anchor-scales, --anchor-ratios and --pyramid-levels change a model of the "
                "table, but --model is the checkpoint " +
                    file.path.string() + "; name a variant there and the file as --pretrained");
  }
  Architecture architecture = of_file(file, changes, Task::kDetection);
  if (architecture.detector->conventions != Conventions::kMmdet) {
    throw Error(ErrorCode::kUsage, "--model " + file.path.string() +
                                       ": has torchvision's conventions, which are not trained");
  }
  change_detector(architecture, changes);
  return architecture;
}

Architecture classification_architecture(const std::string& name, const ModelChanges& changes) {
  Architecture architecture;
  architecture.task = Task::kClassification;
  HorNetOptions backbone = hornet_variant(name);
  change_backbone(backbone, changes);
  architecture.backbone = backbone;
  architecture.num_classes = changes.classes;
  return architecture;
}

Architecture classification_architecture(const weights::File& file, const ModelChanges& changes) {
  return of_file(file, changes, Task::kClassification);
}

Palette read_classes(const std::string& name) {
  if (const BuiltInPalette* table = built_in_palette(name)) {
    return Palette::make(name, static_cast<int>(table->size), {}, {});
  }
  const std::string text = read_text(name);
  if (text.find('{') != std::string::npos) return parse_palette(text, name);
  std::vector<std::string> names;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  if (names.empty()) throw Error(ErrorCode::kInput, name + ": expected a class name a line");
  return Palette::make("", static_cast<int>(names.size()), names, {});
}

}  // namespace hornet
