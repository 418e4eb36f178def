// From a raster file to the files of its segmentation: labels, and on request an overlay to look at
// and the probability of every class.
//
//   SegmentFileOptions options;
//   options.labels = "scene_labels.tif";                 // or .png, up to 2^28 pixels
//   SegmentFileReport report = segment_file(segmentor, raster, options);
//
// Labels are collected in `scene_labels.partial.tif`, a valid GeoTIFF after every 256 rows, with
// `scene_labels.partial.json` beside it, and get their name when all is done: an earlier result
// stays as it is until then. With `resume` a run that was interrupted or killed goes on there; its
// files are, byte for byte, those of a run in one go.
#pragma once

#include <hornet/pipelines/progress.h>
#include <hornet/pipelines/raster_reader.h>
#include <hornet/pipelines/raster_writer.h>
#include <hornet/pipelines/segmentor.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

namespace hornet {

struct SegmentFileOptions {
  std::filesystem::path labels;         // .png or .tif
  std::filesystem::path overlay;        // empty: none; see write_overlay()
  std::filesystem::path probabilities;  // empty: none; .tif, a float band for every class
  bool class_list = true;               // <stem>.classes.json beside the labels
  double opacity = 0.5;
  bool force = false;
  bool resume = false;
  nlohmann::ordered_json job;  // what a resumed run must have in common with the first
  std::function<void(int64_t windows)> begin = [](int64_t) {};     // that many are ahead
  std::function<void(int64_t windows)> progress = [](int64_t) {};  // that many more are done
  std::function<bool()> stop = [] { return false; };
};

struct SegmentFileReport {
  bool complete = false;       // false: stopped; the partial files can be resumed
  SegmentReport segment;       // of this run
  StageTime finish{"finish"};  // conversion and overlay
};

SegmentFileReport segment_file(Segmentor& segmentor, RasterReader& raster,
                               const SegmentFileOptions& options);

// The format of a label file.
RasterFormat label_format(const Palette& palette, cv::Size size);

// Throws Error(kUsage) unless labels of this size can be written under the name: .tif, .tiff, or
// .png up to 2^28 pixels.
void check_label_file(const std::filesystem::path& labels, cv::Size size);

constexpr int64_t kLargestPng = int64_t{1} << 28;  // pixels

// Where the names and colours of the classes go, beside the labels: labels.classes.json. Written as
// palette.h describes it; an older list is replaced.
std::filesystem::path class_list_path(const std::filesystem::path& labels);
void write_class_list(const std::filesystem::path& file, const Palette& palette);

}  // namespace hornet
