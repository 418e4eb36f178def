// The classes of a segmentation model: names, colours, and the value that means "no data".
//
//   Palette palette = Palette::make("cityscapes", /*num_classes=*/19, names, colors);
//
// Built in are ADE20K (150 classes), Cityscapes (19) and CamVid (11), with the colours of their
// benchmarks. Other models get a fixed colour a class, far apart in hue. A palette file is JSON, as
// `hornet segment` writes it beside its results:
//
//   {"classes": [{"index": 0, "name": "wall", "color": [120, 120, 120]}, ...], "nodata": 255}
//
// Colours are [red, green, blue].
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

namespace hornet {

struct Palette {
  std::vector<std::string> names;
  std::vector<cv::Vec3b> colors;  // BGR

  int size() const { return static_cast<int>(names.size()); }
  // Label maps of up to 255 classes have 8 bits, with 255 for no data; others 16, with 65535.
  bool wide() const { return size() > 255; }
  int nodata() const { return wide() ? 65535 : 255; }

  // `name`: ade20k, cityscapes, camvid, a palette file, or "" for what the checkpoint says (its
  // names and colours, either of which may be empty), then the built-in palette of that many
  // classes, then made-up colours. Error(kUsage) for an unknown name, Error(kInput) for a bad file,
  // and either, or Error(kWeights) for a checkpoint's, if the number of classes differs.
  static Palette make(const std::string& name, int num_classes,
                      const std::vector<std::string>& checkpoint_names,
                      const std::vector<cv::Vec3b>& checkpoint_colors);
};

// Parses a palette file's text; `source` names it in errors. Safe on any input.
Palette parse_palette(const std::string& text, const std::string& source);

nlohmann::ordered_json to_json(const Palette& palette);

// Blends the colours of `labels` (CV_8UC1 or CV_16UC1) into `bgr` (CV_8UC3) of the same size.
// Labels outside the palette (no data) leave the image as it is.
void blend_labels(cv::Mat& bgr, const cv::Mat& labels, const Palette& palette, double opacity);

}  // namespace hornet
