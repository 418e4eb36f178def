#include <hornet/heads/model_complexity.h>

namespace hornet {
namespace {

std::optional<GridSize> grid(const std::optional<FilterSize>& size) {
  if (!size) return std::nullopt;
  return GridSize{size->h, size->w};
}

BackboneNumbers backbone_numbers(const HorNetOptions& options) {
  BackboneNumbers numbers;
  numbers.base_dim = options.base_dim;
  numbers.layer_scale = options.layer_scale_init > 0;
  for (size_t i = 0; i < options.stages.size(); ++i) {
    numbers.depths[i] = options.stages[i].depth;
    numbers.mixers[i] = {options.stages[i].order, grid(options.stages[i].global_filter)};
  }
  return numbers;
}

ResNetNumbers backbone_numbers(const ResNetOptions& options) {
  return {options.base_width, options.depths, options.frozen_norm};
}

std::optional<GnConvNumbers> fusion_numbers(FusionConv kind, const FilterSize& size) {
  if (kind == FusionConv::kConv3x3) return std::nullopt;
  constexpr int64_t kOrder = 2;
  if (kind == FusionConv::kGnConv7x7) return GnConvNumbers{kOrder, std::nullopt};
  return GnConvNumbers{kOrder, grid(size)};
}

DetectorNumbers detector_numbers(const Architecture& architecture) {
  const RoiHeadOptions& roi = architecture.detector->roi;
  DetectorNumbers numbers;
  numbers.num_classes = architecture.num_classes;
  numbers.channels = architecture.neck->channels();
  numbers.mixer = fusion_numbers(architecture.neck->output(), architecture.neck->filter_size());
  numbers.stages = roi.stages();
  numbers.shared_convs = roi.bbox().convs();
  numbers.shared_fcs = roi.bbox().fcs();
  numbers.fc_channels = roi.bbox().fc_channels();
  numbers.class_agnostic = roi.bbox().class_agnostic();
  numbers.mask_convs = roi.mask().convs();
  numbers.anchors = architecture.detector->rpn.anchors().per_position();
  numbers.levels = architecture.neck->levels();
  return numbers;
}

SegmentorNumbers segmentor_numbers(const Architecture& architecture) {
  const UperNetOptions& options = *architecture.segmentor;
  SegmentorNumbers numbers;
  numbers.num_classes = architecture.num_classes;
  numbers.channels = options.decode.channels();
  numbers.fusion = fusion_numbers(options.decode.fusion(), options.decode.filter_size());
  numbers.auxiliary_channels = options.auxiliary ? options.auxiliary->channels() : 0;
  return numbers;
}

}  // namespace

Complexity model_complexity(const Architecture& architecture, GridSize input) {
  const AnyBackboneNumbers backbone = std::visit(
      [](const auto& options) -> AnyBackboneNumbers { return backbone_numbers(options); },
      architecture.backbone);
  switch (architecture.task) {
    case Task::kDetection:
      return detector_complexity(backbone, detector_numbers(architecture), input);
    case Task::kSegmentation:
      return segmentor_complexity(backbone, segmentor_numbers(architecture), input);
    default:
      if (const auto* resnet = std::get_if<ResNetNumbers>(&backbone)) {
        return backbone_complexity(*resnet, input);
      }
      return classifier_complexity(std::get<BackboneNumbers>(backbone), architecture.num_classes,
                                   input);
  }
}

}  // namespace hornet
