// Sliding-window segmentation of images of any size: memory follows the width of a region times the
// height of a window, never the height of the image.
//
// A row of windows after the other is read and run in batches; their logits are kept, at the
// resolution that the model gives them. Rows that no further window touches are reduced to labels
// (see ops/blend_windows.h) and handed to the sink in blocks of kLabelBlock rows, and windows that
// lie above them are forgotten. Reading, inference and writing run at the same time, each in its
// own thread, with queues of at most two items between them.
//
// A region is a rectangle of the image whose labels are wanted. Its labels do not depend on how an
// image is cut into regions: every window that touches a region is run for it, with its neighbours
// of the same row as its batch. So column blocks for wide images, bands of rows for several
// processes, and going on after an interruption are all lists of regions.
#pragma once

#include <hornet/pipelines/run_report.h>
#include <hornet/pipelines/tiler.h>
#include <hornet/pipelines/window_source.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace hornet {

constexpr int kLabelBlock = 256;  // rows; regions start at multiples of it

// What a model says of a window: `classes` maps, `stride` times smaller than the window at least.
// Its inputs have as many pixels as `inputs` windows.
struct WindowScores {
  int classes = 0;
  int stride = 1;
  int inputs = 1;
};

// What runs a window. Both functions get windows of one size.
struct WindowModel {
  WindowScores scores;
  // BGR windows -> the network's inputs, a batch each. Called from the reading thread.
  std::function<std::vector<torch::Tensor>(const std::vector<cv::Mat>& windows)> prepare;
  // Inputs -> [N,classes,h,w], on the device where they are to be kept.
  std::function<torch::Tensor(const std::vector<torch::Tensor>& inputs, cv::Size window)> run;
  bool gives_probabilities = false;  // run() ends with a softmax
};

// Where labels go, from a thread of its own. Rectangles come top down, kLabelBlock rows at a time
// (fewer at the region's lower border), and as wide as the region.
struct LabelSink {
  // CV_8UC1 for up to 255 classes, 255 where the image has no data; else CV_16UC1 and 65535.
  std::function<void(const cv::Rect& where, const cv::Mat& labels)> labels;
  // If set: a plane of CV_32FC1 for every class, 0 where the image has no data. Before the labels.
  std::function<void(const cv::Rect& where, const std::vector<cv::Mat>& planes)> probabilities;
};

struct SegmentRun {
  int batch_size = 1;
  std::function<void(int64_t windows)> progress = [](int64_t) {};  // that many more are done
  std::function<bool()> stop = [] { return false; };  // ends early, after complete blocks of rows
};

struct SegmentReport {
  int64_t windows = 0, skipped = 0;  // skipped: without any data
  int rows = 0;                      // of the region, that the sink has got
  StageTime read{"read"}, infer{"infer"}, write{"write"};
};

SegmentReport segment_region(const WindowSource& source, const Tiling& tiling,
                             const WindowModel& model, const cv::Rect& region,
                             const LabelSink& sink, const SegmentRun& run);

// How many windows segment_region() will go through.
int64_t count_windows(const Tiling& tiling, const cv::Rect& region);

// The most that segment_region() keeps for a region of `width` columns, in bytes, beside what the
// model needs to run: the README states the formula.
int64_t bytes_of_region(const Tiling& tiling, const WindowScores& scores, bool probabilities,
                        int batch_size, int64_t width);

// The image as column blocks of full height, each as wide as `budget` bytes allow (a multiple of
// kLabelBlock). Error(kUsage) if that is not even kLabelBlock columns.
std::vector<cv::Rect> column_blocks(const Tiling& tiling, const WindowScores& scores,
                                    bool probabilities, int batch_size, int64_t budget);

}  // namespace hornet
