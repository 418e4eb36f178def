// The images that a model is trained on, and what is said about them.
//
// Segmentation: a list of images and label maps (image_list.h), which are rasters of class indices.
//
//   LabelledImages images(read_sample_list("camvid/train.lst"), {11, 255}, int64_t{1} << 30);
//   LabelledImage sample = images.read(7);      // decoded once; kept while there is room
//
// Classification: a folder with a folder of images for every class, in alphabetical order.
//
// Errors: hornet::Error(kInput) that names the list and the line, or the file that is damaged, of
// another size than its image, or labels pixels with what is no class.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <opencv2/core.hpp>
#include <optional>
#include <string>
#include <vector>

namespace hornet {

struct SamplePaths {
  std::filesystem::path image, label;
};

std::vector<SamplePaths> read_sample_list(const std::filesystem::path& list);

struct LabelRules {
  int classes = 0;
  int ignore = 255;          // what pixels without a class are labelled with; no class
  bool reduce_zero = false;  // files count classes from 1 and have 0 for none (label_metrics.h)
};

struct LabelledImage {
  cv::Mat bgr;     // CV_8UC3
  cv::Mat labels;  // CV_8UC1 or CV_16UC1, of the same size
};

class LabelledImages {
 public:
  // Decoded samples are kept until they take `cache_bytes`.
  LabelledImages(std::vector<SamplePaths> samples, LabelRules rules, int64_t cache_bytes);
  ~LabelledImages();

  size_t size() const { return samples_.size(); }
  const SamplePaths& paths(size_t index) const { return samples_[index]; }
  const LabelRules& rules() const { return rules_; }

  // Any number of threads may read. The result is shared: do not write to it.
  LabelledImage read(size_t index) const;

 private:
  struct Cache;
  std::vector<SamplePaths> samples_;
  LabelRules rules_;
  std::unique_ptr<Cache> cache_;
};

// Weights of classes that make up for their frequency, 1 / log(1.02 + share) (ENet, arXiv
// 1606.02147) to a power, scaled to a mean of 1 over the labelled pixels. `pixels` has the pixels
// of each class; one that never occurs gets weight 0.
std::vector<double> balanced_weights(const std::vector<int64_t>& pixels, double power = 1);

struct ImageClass {
  std::string name;
  std::vector<std::filesystem::path> images;
};

// Error(kInput) for a folder without folders, or a class without images.
std::vector<ImageClass> read_class_folders(const std::filesystem::path& folder);

}  // namespace hornet
