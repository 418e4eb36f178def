// From a raster file to the files of its segmentation: labels, and on request an overlay to look at
// and the probability of every class.
//
//   SegmentFileOptions options;
//   options.labels = "scene_labels.tif";                 // or .png, up to 2^28 pixels
//   SegmentFileReport report = segment_file(segmentor, raster, options);
//
// Labels are collected in `scene_labels.partial.tif`, a valid GeoTIFF after every 256 rows, with
// `scene_labels.partial.json` beside it (and probabilities in `NAME.partial.probabilities.tif`).
// Files get their names when all of them are complete: earlier results stay as they are until then.
// With `resume` a run that was interrupted, killed or failed goes on there; its files are, byte for
// byte, those of a run in one go.
//
// Errors about the image begin with the raster's name. Error(kUsage) if one of the unfinished files
// would have the name of a result or of a file that is read.
#pragma once

#include <hornet/pipelines/progress.h>
#include <hornet/pipelines/raster_reader.h>
#include <hornet/pipelines/raster_writer.h>
#include <hornet/pipelines/segmentor.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

namespace hornet {

struct SegmentFileOptions {
  std::filesystem::path labels;         // .png or .tif
  std::filesystem::path overlay;        // empty: none; see write_overlay()
  std::filesystem::path probabilities;  // empty: none; .tif, a float band for every class
  bool class_list = true;               // <stem>.classes.json beside the labels
  double opacity = 0.5;
  bool force = false;
  bool resume = false;
  // What a resumed run must have in common with the first: names and values.
  nlohmann::ordered_json job = nlohmann::ordered_json::object();
  std::vector<std::filesystem::path> also_read;  // beside the raster: not to be replaced
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
// palette.h describes it; an older list is replaced. `job`: if given, what the labels are made
// with, as "job" in the list.
std::filesystem::path class_list_path(const std::filesystem::path& labels);
void write_class_list(const std::filesystem::path& file, const Palette& palette,
                      const nlohmann::ordered_json& job = {});

}  // namespace hornet
