// How good label maps are: intersection over union, accuracy of classes and of pixels, counted as
// mmsegmentation counts them.
//
//   LabelMetrics metrics(11);
//   for (...) metrics.add(segment(image), truth);
//   std::cout << metrics.scores().mean_iou;
//
// Of the pixels whose truth is not the ignored label, a class has
//
//   IoU = correct / (predicted + true - correct)      accuracy = correct / true
//
// summed over all images, where only labels from 0 to num_classes - 1 are counted: another label in
// the truth belongs to no class, so what is predicted there is wrong for the class predicted, and
// another predicted label (such as "no data") is wrong for the true class. A class that is neither
// predicted nor true has no IoU, one that is never true no accuracy: they are not-a-number, and
// means leave them out.
#pragma once

#include <cstdint>
#include <opencv2/core.hpp>
#include <vector>

namespace hornet {

struct LabelScores {
  std::vector<double> iou;       // of every class, from 0 to 1
  std::vector<double> accuracy;  // of every class
  double mean_iou = 0;           // mIoU
  double mean_accuracy = 0;      // mAcc
  double pixel_accuracy = 0;     // aAcc: correct / true, of all classes together
};

class LabelMetrics {
 public:
  explicit LabelMetrics(int64_t num_classes, int ignore_label = 255);

  // Counts an image: label maps of one size, each CV_8UC1 or CV_16UC1. Error(kInput) otherwise.
  void add(const cv::Mat& predicted, const cv::Mat& truth);

  // Counts what another has counted, such as one of another thread, for the same classes.
  void merge(const LabelMetrics& other);

  // All counts in a row, for adding up those of several processes, and back.
  std::vector<int64_t> counts() const;
  void set_counts(const std::vector<int64_t>& counts);

  LabelScores scores() const;

  // Pixels that were counted, and those among them whose truth belongs to no class: many of them
  // say that the labels are of another data set, or that another label should be ignored.
  int64_t pixels() const { return pixels_; }
  int64_t foreign_pixels() const { return foreign_; }
  int64_t num_classes() const { return static_cast<int64_t>(true_.size()); }
  int ignore_label() const { return ignore_label_; }

 private:
  template <typename Predicted, typename Truth>
  void count(const cv::Mat& predicted, const cv::Mat& truth);

  int ignore_label_;
  std::vector<int64_t> correct_, predicted_, true_;  // pixels of every class
  int64_t pixels_ = 0, foreign_ = 0;
};

// The labels, in 16 bits if `label` has no room in theirs.
cv::Mat with_room_for(int label, const cv::Mat& labels);

// Labels of data sets that count classes from 1 and keep 0 for what has none (ADE20K): 0 becomes
// the ignored label, every other one less. mmsegmentation's reduce_zero_label. With room for the
// ignored label.
cv::Mat reduce_zero_label(const cv::Mat& labels, int ignore_label = 255);

}  // namespace hornet
