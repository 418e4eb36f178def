// Semantic segmentation of images of any size: a checkpoint and a cv::Mat in, a label map out; or a
// source of windows and a sink, and memory that does not grow with the image.
//
//   hornet::Segmentor segment("upernet_hornet_tiny_gf.pth");
//   cv::Mat labels = segment(cv::imread("street.jpg"));          // CV_8UC1, class indices
//
//   SegmentorOptions options;                                    // hann blending, 1 GiB, ...
//   for (const cv::Rect& region : segment.regions(source, false)) segment(source, sink, region);
//
// Images are taken at their own resolution, in windows that slide over them. Three options take the
// image as a whole instead, in memory: `whole`; `size`, the official test pipeline, which scales
// the image into a box first and the logits back; and both. Multi-scale and flip testing (`tta`)
// averages the probabilities of six scales and their mirror images: of the whole image, as the
// authors do, if it is taken as a whole, else of each window. A checkpoint may say how it wants to
// be used (model_defaults.h): that holds where none of `whole`, `tile`, `stride` and hann blending
// is asked for; of it, another `size` replaces the size alone.
//
// An object belongs to one thread at a time. Errors are hornet::Error: kWeights for a checkpoint of
// another task, kDevice for no memory, kInput for an image that is too small (32 pixels a side) or,
// taken as a whole, too large for `max_memory`.
#pragma once

#include <hornet/heads/model.h>
#include <hornet/pipelines/palette.h>
#include <hornet/pipelines/preprocess.h>
#include <hornet/pipelines/runtime.h>
#include <hornet/pipelines/segment_windows.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace hornet {

struct SegmentorOptions {
  std::optional<bool> whole;      // by default what the model says, or windows
  std::optional<cv::Size> size;   // scale the image into this box first
  std::optional<int64_t> tile;    // windows; by default what the model was trained with
  std::optional<int64_t> stride;  // by default the model's, or two thirds of another `tile`
  Blend blend = Blend::kMean;
  bool tta = false;
  int batch_size = 1;                     // windows that run at once
  int64_t max_memory = int64_t{2} << 30;  // bytes, for the whole process; on a GPU, for the logits
  std::string palette;                    // see Palette::make
  bool allow_partial = false;             // of the checkpoint: load what fits
};

class Segmentor {
 public:
  explicit Segmentor(const std::filesystem::path& checkpoint, const RuntimeOptions& runtime = {},
                     const SegmentorOptions& options = {});

  // The label map of an image of 8 bits a channel (see window_source()), of the image's size.
  cv::Mat operator()(const cv::Mat& image);

  // Segments one region of a source.
  SegmentReport operator()(const WindowSource& source, const LabelSink& sink,
                           const cv::Rect& region, SegmentRun run = {});

  // The regions of an image, one after the other: all of it at once, or column blocks that
  // `max_memory` has room for. May run the image's first windows, to see what the model takes.
  std::vector<cv::Rect> regions(const WindowSource& source, bool probabilities);

  // The windows that a region takes; 1 if the image is taken as a whole.
  int64_t count_windows(cv::Size image, const cv::Rect& region) const;

  const Palette& palette() const { return palette_; }
  const Runtime& runtime() const { return runtime_; }
  const Architecture& architecture() const { return architecture_; }
  const weights::LoadReport& load_report() const { return load_report_; }
  const SlideOptions& slide() const { return slide_; }
  // What pixels without a class were labelled with in training, if the checkpoint says so, and if
  // that is no class.
  std::optional<int> ignore_label() const { return ignore_label_; }
  const SegmentorOptions& options() const { return options_; }
  bool takes_whole_images() const { return options_.whole.value_or(false) || options_.size; }

 private:
  WindowScores window_scores() const;
  WindowModel window_model();
  SegmentReport segment_whole(const WindowSource& source, const LabelSink& sink,
                              const SegmentRun& run);
  torch::Tensor whole_scores(const cv::Mat& bgr);
  std::vector<torch::Tensor> augmented(const cv::Mat& bgr, cv::Size box) const;
  int64_t bytes_in_use(const WindowSource& source, const Tiling& tiling);

  Runtime runtime_;
  SegmentorOptions options_;
  Architecture architecture_;
  weights::LoadReport load_report_;
  Palette palette_;
  SlideOptions slide_;
  std::optional<int> ignore_label_;
  UperNet model_{nullptr};

  // What bytes_in_use() ran the model on, and what came out.
  struct Measured {
    std::vector<torch::Tensor> inputs;
    torch::Tensor scores;
  };
  std::optional<Measured> measured_;
};

}  // namespace hornet
