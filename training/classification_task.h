// Image classification with HorNet: a folder of images for every class, cross-entropy with smoothed
// labels, top-1 and top-5 accuracy.
//
//   ClassificationTask task(read_class_folders("train"), read_class_folders("val"), options);
//
// Classes are those of the training folders; validation folders must have the same names.
#pragma once

#include <hornet/heads/model.h>
#include <hornet/training/augment.h>
#include <hornet/training/task.h>

namespace hornet {

struct ClassificationOptions {
  Architecture architecture;  // of a classifier, for as many classes as there are folders
  AugmentOptions augment;     // the crop is square
  double label_smoothing = 0.1;
};

class ClassificationTask : public TrainingTask {
 public:
  ClassificationTask(const std::vector<ImageClass>& training,
                     const std::vector<ImageClass>& validation,
                     const ClassificationOptions& options);

  torch::nn::Module& model() override { return *model_; }
  int64_t size() const override { return static_cast<int64_t>(training_.size()); }
  Example example(int64_t index, uint64_t seed) const override;  // targets: the class, int64
  Losses losses(const Batch& batch) override;                    // "class"
  Metrics evaluate(const Validation& validation) override;       // "top-1", "top-5"
  weights::Metadata metadata() const override;

 private:
  struct Sample {
    std::filesystem::path image;
    int64_t label;
  };
  std::vector<Sample> flatten(const std::vector<ImageClass>& folders) const;

  ClassificationOptions options_;
  std::vector<std::string> classes_;
  std::vector<Sample> training_, validation_;
  HorNetClassifier model_{nullptr};
};

}  // namespace hornet
