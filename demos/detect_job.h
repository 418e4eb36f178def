// One run of `hornet detect`, after its options have been understood.
#pragma once

#include <hornet/pipelines/detector.h>
#include <hornet/pipelines/progress.h>
#include <hornet/pipelines/raster_reader.h>
#include <hornet/pipelines/result_writers.h>
#include <hornet/pipelines/run_report.h>
#include <hornet/pipelines/tiled_detection.h>
#include <hornet/pipelines/video.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace hornet::cli {

struct DetectJob {
  std::string input;
  std::filesystem::path output;  // empty: draw nothing
  std::string json;              // empty: write none; "-": stdout
  bool force = false;
  bool allow_truncated = false;
  int batch_size = 1;
  VideoRange range;
  ProgressMode progress = ProgressMode::kAuto;
  std::optional<TiledDetectionOptions> tiles;  // --tile
  RasterOptions raster;                        // of what is read in tiles
};

enum class InputKind { kImage, kFolder, kVideo, kCamera };

// What --input names: a folder, an image by its extension, a camera by its number, or a video.
InputKind input_kind(const std::string& input);

// Where --json goes: a new file, or stdout for "-".
ResultStream result_stream(const DetectJob& job);

// The image itself, or the images (with --tile: rasters) of the folder sorted by name.
// Error(kInput) if it has none.
std::vector<std::filesystem::path> list_images(const DetectJob& job);

// Where the annotated image of `input`, one of list_images(), goes; empty without --output.
std::filesystem::path output_path(const DetectJob& job, const std::filesystem::path& input);

// Finds out before the work whether anything stands in the way of the annotated images.
void prepare_outputs(const DetectJob& job, const std::vector<std::filesystem::path>& inputs);

void write_image(OutputFile file, const cv::Mat& image);

// All fill in the report (counts, stages, warnings) and return the exit code: 0, 6 if some images
// failed, 130 after Ctrl-C. Outputs are complete under their names by then.
int detect_in_images(Detector& detector, const DetectJob& job, RunReport& report);
int detect_in_tiles(Detector& detector, const DetectJob& job, RunReport& report);
int detect_in_video(Detector& detector, const DetectJob& job, RunReport& report);

}  // namespace hornet::cli
