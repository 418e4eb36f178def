// What a detector's weights do not show: its anchors, the levels of its pyramid, and how many
// proposals it keeps. A checkpoint says so in its metadata; without that, the authors' values hold.
//
//   "hornet.anchor_scales"  "6 8.5"     times the level's stride
//   "hornet.anchor_ratios"  "1.7 2.7"   height / width
//   "hornet.pyramid_levels" "4"
//   "hornet.proposals"      "300"       kept per image
//
// Training writes them, recognise() reads them.
#pragma once

#include <hornet/backbone/weights/tensor_file.h>
#include <hornet/heads/boxes.h>

#include <optional>

namespace hornet {

struct DetectorSettings {
  AnchorOptions anchors;  // scales and ratios
  int64_t levels = 5;
  int64_t proposals = 1000;
};

// Error(kWeights) for entries that are no such numbers; `file` is what the message names.
DetectorSettings read_detector_settings(const weights::Metadata& meta, const std::string& file);
void write_detector_settings(weights::Metadata& meta, const DetectorSettings& settings);

}  // namespace hornet
