// How a model wants to be used, as its checkpoint says in its metadata: what `hornet detect` and
// `hornet segment` do unless an option says otherwise. Training writes it.
//
//   "hornet.mode"   "whole" or "slide"
//   "hornet.tile"   side of the windows, in pixels
//   "hornet.stride" of the windows
//   "hornet.size"   "480x360": the box that images are scaled into first; detectors have this alone
//   "hornet.ignore_label"  what pixels without a class are labelled with; `hornet eval` leaves it
//   out
//
// All of them may be missing. Text that says something else counts as missing.
#pragma once

#include <hornet/backbone/weights/tensor_file.h>

#include <opencv2/core.hpp>
#include <optional>

namespace hornet {

struct SegmentDefaults {
  std::optional<bool> whole;
  std::optional<int> tile, stride;
  std::optional<cv::Size> size;
  std::optional<int> ignore_label;
};

std::optional<cv::Size> default_size(const weights::Metadata& meta);
void set_default_size(weights::Metadata& meta, cv::Size size);

SegmentDefaults segment_defaults(const weights::Metadata& meta);
void set_segment_defaults(weights::Metadata& meta, const SegmentDefaults& defaults);

}  // namespace hornet
