// Reads COCO results back: the array that `hornet detect` writes for images and that pycocotools'
// loadRes() takes.
//
//   [{"image_id": 1, "category_id": 18, "bbox": [258.2, 41.3, 348.3, 243.8], "score": 0.236,
//     "segmentation": {"size": [427, 640], "counts": "..."}}, ...]
//
// Strict: every object must have an image_id, category_id, score, and a bbox or a segmentation
// (or both), of the right types; other keys are ignored. Masks stay run lengths, as text or as a
// list of numbers, checked against their size; from_run_lengths() turns them into pixels.
#pragma once

#include <hornet/pipelines/results.h>
#include <hornet/pipelines/run_length.h>

#include <cstdint>
#include <filesystem>
#include <opencv2/core.hpp>
#include <optional>
#include <string>
#include <vector>

namespace hornet {

struct CocoResult {
  int64_t image_id = 0;
  int64_t category_id = 0;
  double score = 0;
  std::optional<cv::Rect2d> box;  // x, y, width, height in image pixels
  std::optional<RunLengthMask> mask;
};

// What a detector has found in an image of this size.
CocoResult to_coco_result(const Instance& found, int64_t image_id, int64_t category_id,
                          cv::Size image);

// Parses the JSON text of a results file. Throws hornet::Error(kInput) that names `name` and the
// object that is wrong.
std::vector<CocoResult> read_coco_results(const std::string& text,
                                          const std::string& name = "results");

// The same of a file.
std::vector<CocoResult> read_coco_results_file(const std::filesystem::path& file);

}  // namespace hornet
