// One run of `hornet detect`, after its options have been understood.
#pragma once

#include <hornet/pipelines/detector.h>
#include <hornet/pipelines/progress.h>
#include <hornet/pipelines/result_writers.h>
#include <hornet/pipelines/run_report.h>
#include <hornet/pipelines/video.h>

#include <filesystem>
#include <optional>
#include <string>

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
};

enum class InputKind { kImage, kFolder, kVideo, kCamera };

// What --input names: a folder, an image by its extension, a camera by its number, or a video.
InputKind input_kind(const std::string& input);

// Where --json goes: a new file, or stdout for "-".
ResultStream result_stream(const DetectJob& job);

// Both fill in the report (counts, stages, warnings) and return the exit code: 0, 6 if some images
// failed, 130 after Ctrl-C. Outputs are complete under their names by then.
int detect_in_images(Detector& detector, const DetectJob& job, RunReport& report);
int detect_in_video(Detector& detector, const DetectJob& job, RunReport& report);

}  // namespace hornet::cli
