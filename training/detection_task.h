// Instance segmentation with Mask R-CNN or Cascade Mask R-CNN: images with boxes and masks in
// COCO's format, the losses of detection_losses.h, COCO's AP.
//
//   DetectionOptions options{detection_architecture("hornet_pico_7x7", changes)};
//   DetectionTask task(AnnotatedImages(read_coco_dataset("train.json"), "images", {}, cache),
//                      std::nullopt, options);
//   initialise(task.model(), Initialisation::kFanIn);
//   Trainer(task, trainer_options).run();
//
// Objects without a mask train the boxes alone; crowds are neither objects nor background.
#pragma once

#include <hornet/heads/model.h>
#include <hornet/pipelines/coco_eval.h>
#include <hornet/pipelines/detector.h>
#include <hornet/training/annotated_images.h>
#include <hornet/training/data_parallel.h>
#include <hornet/training/detection_augment.h>
#include <hornet/training/detection_losses.h>
#include <hornet/training/task.h>

#include <optional>

namespace hornet {

struct DetectionOptions {
  Architecture architecture;  // with a detector, for as many classes as the training images have
  DetectionAugment augment;   // its crop's sides are multiples of 32
  DetectionLossOptions losses = DetectionLossOptions(/*cascade=*/false);
  std::optional<cv::Size> size;   // how the model will be used, and is validated
  double score_threshold = 0.05;  // of what counts in validation
};

class DetectionTask : public TrainingTask {
 public:
  // The validation images must have the training images' classes, in the same order, and sizes if
  // they have polygons: else Error(kInput).
  DetectionTask(AnnotatedImages training, std::optional<AnnotatedImages> validation,
                const DetectionOptions& options);

  torch::nn::Module& model() override { return *model_; }
  int64_t size() const override { return static_cast<int64_t>(training_.size()); }

  // Targets: those of ObjectTargets, in its order.
  Example example(int64_t index, uint64_t seed) const override;

  // See detection_losses().
  Losses losses(const Batch& batch) override;

  // "bbox AP", "bbox AP50", and the same of "segm" if all validation objects have masks.
  Metrics evaluate(const Validation& validation) override;

  std::vector<std::string> notes() const override;
  weights::Metadata metadata() const override;

 private:
  // In this process's validation images, whose marks in `read` say whether they could be read.
  std::vector<CocoResult> detect(Detector& detector, const Validation& validation,
                                 std::vector<int64_t>& read) const;

  DetectionOptions options_;
  AnnotatedImages training_;
  std::optional<AnnotatedImages> validation_;
  std::vector<size_t> donors_;  // training images that objects are cut out of
  MaskRcnn model_{nullptr};
};

// What all processes of a team have found, in the order of their ranks.
std::vector<CocoResult> gather_results(const std::vector<CocoResult>& results,
                                       const ProcessTeam& team);

}  // namespace hornet
