// One run of `hornet eval`, after its options have been understood, and what comes of it.
#pragma once

#include <hornet/backbone/weights/checkpoint.h>
#include <hornet/pipelines/coco_eval.h>
#include <hornet/pipelines/progress.h>
#include <hornet/pipelines/segmentor.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <opencv2/core.hpp>
#include <optional>
#include <string>
#include <vector>

namespace hornet::cli {

struct EvalJob {
  std::filesystem::path data;
  std::filesystem::path weights, results, predictions;  // one of them; the others are empty
  std::filesystem::path images;                         // folder of a COCO data set's images
  std::vector<CocoIou> ious;                            // empty: what the files have
  double score_threshold = 0.05;
  std::optional<cv::Size> size;
  int batch_size = 1;
  std::optional<int> ignore_label;  // by default the model's
  bool reduce_zero_label = false;
  int num_classes = 0;  // of --predictions; 0: not given
  bool skip_unreadable = false;
  bool allow_partial = false;
  ProgressMode progress = ProgressMode::kAuto;
  RuntimeOptions runtime;
  SegmentorOptions segmentor;
};

struct Evaluation {
  int64_t images = 0;                // that were evaluated
  std::vector<std::string> skipped;  // what could not be read, and why
  std::vector<std::string> warnings;
  std::optional<std::string> device;
  std::optional<int> ignore_label;  // of segmentation
  nlohmann::ordered_json figures, classes;
  std::string table;
};

// Errors name files. Ctrl-C is one, too: figures of half the images would mislead.
Evaluation evaluate_detection(const EvalJob& job);
Evaluation evaluate_segmentation(const EvalJob& job);
Evaluation evaluate_classification(const EvalJob& job);

// What is read for an image: the image itself or a label map, and the true labels if there are any.
struct EvalItem {
  size_t index = 0;
  cv::Mat input, truth;
};

struct SkippedItem {
  size_t index = 0;
  std::string reason;
};

// Goes over `count` items: `load` reads one, in a thread of its own, and `use` gets those of a
// batch. An Error(kInput) of load() ends it, or with --skip-unreadable becomes one of the result.
std::vector<SkippedItem> for_each_batch(const EvalJob& job, size_t count,
                                        const std::function<EvalItem(size_t index)>& load,
                                        const std::function<void(std::vector<EvalItem>&)>& use);

// Says on stderr what has been loaded: "hornet: MODEL, loaded N/N tensors, DEVICE".
void announce(const std::string& model, const weights::LoadReport& report,
              const std::string& device);

// "0.5046", or "-" for a figure that there is not; null in JSON.
std::string figure_text(double figure);
nlohmann::ordered_json figure_json(double figure);

// Columns in line, the first one to the left, the others to the right.
std::string table_text(const std::vector<std::vector<std::string>>& rows);

}  // namespace hornet::cli
