// Instance segmentation of images: a checkpoint and a cv::Mat in, boxes, classes and masks out.
//
//   hornet::Detector detect("cascade_mask_rcnn_hornet_tiny_gf.pth");
//   for (const hornet::Instance& found : detect(cv::imread("street.jpg"))) {
//     std::cout << detect.classes().name(found.label) << ' ' << found << '\n';
//   }
//
// The architecture and the classes come from the checkpoint; images are resized, normalised and
// padded as in the authors' test pipeline, and results are in pixels of the image as given. An
// object belongs to one thread at a time. Errors are hornet::Error: kWeights for a checkpoint of
// another task, kDevice for no such device or no memory, kInput for what is no 8-bit image.
#pragma once

#include <hornet/heads/model.h>
#include <hornet/pipelines/preprocess.h>
#include <hornet/pipelines/results.h>
#include <hornet/pipelines/runtime.h>

#include <filesystem>
#include <optional>
#include <vector>

namespace hornet {

struct DetectorOptions {
  // Images are scaled into this box, either way round; by default what the checkpoint says, else
  // the official 1333x800.
  std::optional<cv::Size> size;
  double score_threshold = 0.3;  // weaker objects are left out
  bool allow_partial = false;    // of the checkpoint: load what fits
};

class Detector {
 public:
  explicit Detector(const std::filesystem::path& checkpoint, const RuntimeOptions& runtime = {},
                    const DetectorOptions& options = {});

  // A model that is in memory, on the runtime's device, as it is: nothing is prepared, so that it
  // may go on being trained. It must be in evaluation mode.
  Detector(MaskRcnn model, ClassTable classes, const Runtime& runtime,
           const DetectorOptions& options);

  // The objects in a BGR image, best first.
  std::vector<Instance> operator()(const cv::Mat& bgr);

  // The same for several images. Neighbours whose inputs have the same size run as one batch.
  std::vector<std::vector<Instance>> operator()(const std::vector<cv::Mat>& images);

  // What run() takes, of a BGR image. May be called from another thread at any time.
  Preprocessed preprocess(const cv::Mat& bgr) const;

  // The objects in inputs that are ready, whatever has made them: see blob.h, too.
  std::vector<std::vector<Instance>> run(const std::vector<Preprocessed>& inputs);

  // Leaves out weaker objects from now on.
  void set_score_threshold(double threshold);

  const DetectorOptions& options() const { return options_; }
  cv::Size size() const { return *options_.size; }
  const ClassTable& classes() const { return classes_; }
  const Runtime& runtime() const { return runtime_; }
  const Architecture& architecture() const { return architecture_; }
  const weights::LoadReport& load_report() const { return load_report_; }

 private:
  void run_batch(const std::vector<Preprocessed>& images,
                 std::vector<std::vector<Instance>>& results);

  void use_options();

  Runtime runtime_;
  DetectorOptions options_;  // with a size
  Architecture architecture_;
  weights::LoadReport load_report_;
  ClassTable classes_;
  MaskRcnn model_{nullptr};
  double candidate_threshold_ = 0;  // the model's own, below which a class is no candidate
};

}  // namespace hornet
