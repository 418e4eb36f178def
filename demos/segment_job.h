// One run of `hornet segment`, after its options have been understood.
#pragma once

#include <hornet/pipelines/progress.h>
#include <hornet/pipelines/run_report.h>
#include <hornet/pipelines/segment_file.h>
#include <hornet/pipelines/work_queue.h>

#include <filesystem>
#include <string>
#include <vector>

namespace hornet::cli {

struct SegmentJob {
  std::filesystem::path input;    // raster or folder
  std::filesystem::path output;   // .png, .tif, .vrt, or folder
  std::filesystem::path overlay;  // file or folder; empty: none
  std::filesystem::path probabilities;
  double opacity = 0.5;
  bool force = false;
  bool resume = false;  // also of a group that torchrun has started again
  bool merge_output = false;
  RasterOptions raster;
  ProgressMode progress = ProgressMode::kAuto;
  ProcessGroup group;
  nlohmann::ordered_json fingerprint;  // what a resumed run must have in common with the first
  std::vector<std::filesystem::path> also_read;  // files beside the input
};

// What tells a file from another one: its path, size and time. Of a folder the path alone.
nlohmann::ordered_json identity_of(const std::filesystem::path& path);

// All fill in the report (counts, stages, images, warnings) and return the exit code: 0, 6 if some
// images failed, 130 after Ctrl-C.
int segment_one(Segmentor& segmentor, const SegmentJob& job, RunReport& report);
int segment_folder(Segmentor& segmentor, const SegmentJob& job, RunReport& report);
// One raster, by several processes (or one): parts in <output>.parts, a VRT or a file over them.
int segment_shared(Segmentor& segmentor, const SegmentJob& job, RunReport& report);

}  // namespace hornet::cli
