// Classification of images: a checkpoint and a cv::Mat in, the classes that fit best out.
//
//   hornet::Classifier classify("hornet_tiny_gf.pth");
//   for (const hornet::ClassScore& guess : classify(cv::imread("cat.jpg"))) {
//     std::cout << classify.name(guess.label) << ' ' << guess.score << '\n';
//   }
//
// Images are scaled and cropped as in the authors' test pipeline, to the size that the model was
// trained with. An object belongs to one thread at a time. Errors are hornet::Error: kWeights for a
// checkpoint of another task, kDevice for no memory, kInput for what is no 8-bit image.
#pragma once

#include <hornet/heads/model.h>
#include <hornet/pipelines/preprocess.h>
#include <hornet/pipelines/runtime.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace hornet {

struct ClassifierOptions {
  std::optional<int> size;     // of the square that images become; by default the model's
  int count = 5;               // classes to return, or all if there are fewer
  bool allow_partial = false;  // of the checkpoint: load what fits
};

struct ClassScore {
  int label = 0;    // index of the class, from 0
  float score = 0;  // softmax over all classes
};

class Classifier {
 public:
  explicit Classifier(const std::filesystem::path& checkpoint, const RuntimeOptions& runtime = {},
                      const ClassifierOptions& options = {});

  // The classes that fit a BGR image best, in order; for several images, in one batch.
  std::vector<ClassScore> operator()(const cv::Mat& bgr);
  std::vector<std::vector<ClassScore>> operator()(const std::vector<cv::Mat>& images);

  int num_classes() const { return static_cast<int>(architecture_.num_classes); }
  const std::vector<std::string>& names() const { return names_; }  // empty if it does not say
  std::string name(int label) const;                                // "class 7" then

  const Runtime& runtime() const { return runtime_; }
  const Architecture& architecture() const { return architecture_; }
  const weights::LoadReport& load_report() const { return load_report_; }

 private:
  Runtime runtime_;
  ClassifierOptions options_;
  PreprocessOptions preprocess_;
  Architecture architecture_;
  weights::LoadReport load_report_;
  std::vector<std::string> names_;
  HorNetClassifier model_{nullptr};
};

}  // namespace hornet
