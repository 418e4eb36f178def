// How large and how costly a model is, by arithmetic alone: from the handful of numbers that
// define an architecture to its parameters and its FLOPs, without building or running it.
//
// A FLOP is one multiplication with its addition, and what counts as one follows the tools behind
// the published figures, so that numbers can be compared with theirs:
//   classification  fvcore: convolutions and linear layers without their bias, 5 per element of the
//                   channels-last LayerNorms, 4 per interpolated value of a global filter, and
//                   C H W ceil(log2(C H)) for each of its FFTs, of the size of that FFT's input.
//   dense tasks     mmcv's module counter: convolutions with their bias, linear layers without,
//                   1 per element of ReLUs and of a pooling's input. What is no module of
//                   torch.nn counts nothing: FFTs, LayerNorms of the backbone, resizing, RoIAlign,
//                   and SyncBN; ResNet's batch norm counts 2 per element. Detectors see 1000
//                   regions per stage and 100 masks per stage.
//
//   Complexity c = classifier_complexity(backbone, 1000, {224, 224});   // 22.41 M, 3.98 GFLOPs
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <variant>

namespace hornet {

struct Complexity {
  int64_t parameters = 0;  // trainable ones
  int64_t flops = 0;       // multiply-adds of one image
};

struct GridSize {
  int64_t height, width;
};

struct GnConvNumbers {
  int64_t order;
  std::optional<GridSize> filter;  // of the global filter's spectrum; none: 7x7 depthwise
};

// Of HorNet.
struct BackboneNumbers {
  int64_t base_dim = 64;
  std::array<int64_t, 4> depths = {2, 3, 18, 2};
  std::array<GnConvNumbers, 4> mixers = {{{2, {}}, {3, {}}, {4, {}}, {5, {}}}};
  bool layer_scale = true;
};

struct ResNetNumbers {
  int64_t base_width = 64;
  std::array<int64_t, 4> depths = {3, 4, 6, 3};
  bool frozen_norm = false;  // batch norm then has no parameters
};

using AnyBackboneNumbers = std::variant<BackboneNumbers, ResNetNumbers>;

struct DetectorNumbers {
  int64_t num_classes = 80;
  int64_t channels = 256;              // of the pyramid, the RPN and the heads' convolutions
  std::optional<GnConvNumbers> mixer;  // HorFPN's gnConv; none: FPN's 3x3 convolution
  int64_t stages = 3;                  // 3: cascade; 1: Mask R-CNN
  int64_t shared_convs = 4;            // of a box head, each with batch norm
  int64_t shared_fcs = 1;
  int64_t fc_channels = 1024;
  bool class_agnostic = false;  // one box for all classes
  int64_t mask_convs = 4;
  int64_t anchors = 3;  // of a position
  int64_t levels = 5;   // of the pyramid
};

struct SegmentorNumbers {
  int64_t num_classes = 150;
  int64_t channels = 512;
  std::optional<GnConvNumbers> fusion;  // of the pyramid's levels; none: 3x3 convolution
  int64_t auxiliary_channels = 256;     // has parameters, does not run; 0: no such head
};

Complexity classifier_complexity(const BackboneNumbers& backbone, int64_t num_classes,
                                 GridSize input);
Complexity backbone_complexity(const ResNetNumbers& backbone, GridSize input);
Complexity detector_complexity(const AnyBackboneNumbers& backbone, const DetectorNumbers& detector,
                               GridSize input);
Complexity segmentor_complexity(const AnyBackboneNumbers& backbone,
                                const SegmentorNumbers& segmentor, GridSize input);

}  // namespace hornet
