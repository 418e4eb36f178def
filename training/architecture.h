// Which model is trained: a name of the table or a checkpoint's architecture, changed where the
// user asks for other sizes.
//
//   ModelChanges changes;
//   changes.classes = 11;
//   changes.depths = {2, 2, 6, 2};
//   Architecture small = segmentation_architecture("hornet_pico_gf", changes);
#pragma once

#include <hornet/heads/model.h>
#include <hornet/pipelines/palette.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace hornet {

struct ModelChanges {
  int64_t classes = 0;
  std::optional<int64_t> width;                  // channels of the first stage
  std::optional<std::array<int64_t, 4>> depths;  // blocks of the stages
  std::optional<int64_t> head_channels;  // of UperNet and its auxiliary head, or of the pyramid
  double drop_path = 0;                  // stochastic depth
  double dropout = 0.1;                  // before UperNet's classifiers
  std::vector<double> anchor_scales, anchor_ratios;  // of a detector; empty: as they are
  std::optional<int64_t> pyramid_levels;             // of a detector
};

// UperNet by a backbone's name ("hornet_pico_gf") or its own
// ("horfpn_gf_upernet_hornet_small_7x7").
Architecture segmentation_architecture(const std::string& name, const ModelChanges& changes);

// A checkpoint's UperNet, for other classes perhaps; it gets an auxiliary head if it has none.
// Error(kUsage) if width or depths are to change.
Architecture segmentation_architecture(const weights::File& file, const ModelChanges& changes);

// Mask R-CNN by a backbone's name ("hornet_pico_7x7") or its own
// ("cascade_mask_rcnn_hornet_tiny_gf"), or a checkpoint's.
Architecture detection_architecture(const std::string& name, const ModelChanges& changes);
Architecture detection_architecture(const weights::File& file, const ModelChanges& changes);

Architecture classification_architecture(const std::string& name, const ModelChanges& changes);
Architecture classification_architecture(const weights::File& file, const ModelChanges& changes);

// What pixels can be: "ade20k", "cityscapes", "camvid", a palette file (.json, see palette.h) or a
// text file with a name a line. Error(kInput) or Error(kUsage) for anything else.
Palette read_classes(const std::string& name);

}  // namespace hornet
