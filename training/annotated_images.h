// The images that a detector is trained on: a COCO file of objects, and the folder of its images.
//
//   AnnotatedImages images(read_coco_dataset("instances_train.json"), "train", {"person", "car"},
//                          int64_t{1} << 30);
//   AnnotatedImage sample = images.read(7);     // decoded once; kept while there is room
//   for (const AnnotatedObject& object : sample.objects) images.classes()[object.label] ...
//
// Boxes are clipped to their image. Masks are the pixels of polygons or run lengths, as the
// rectangle that they touch. An image without objects is one of background.
//
// A box that has no area, or lies outside of the image's size in the file, is left out, as
// mmdetection does: COCO's own training images have such.
//
// Errors: hornet::Error(kInput) that names the file and the annotation, or the image that is
// missing, damaged, or of another size than the file says. A box that is not finite, or lies
// outside of an image whose size the file does not say, is one too, and so is an annotation that
// could not be read and was only noted (BadAnnotations): BatchLoader leaves such images out if it
// is asked to.
#pragma once

#include <hornet/pipelines/coco_dataset.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <opencv2/core.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace hornet {

struct AnnotatedObject {
  int label = 0;                 // index of its class
  cv::Rect2d box;                // in image pixels, inside the image
  std::optional<MaskCrop> mask;  // if it is known and not empty
  bool ignored = false;          // a crowd, or too little to tell: neither object nor background
};

struct AnnotatedImage {
  cv::Mat bgr;  // CV_8UC3
  std::vector<AnnotatedObject> objects;
};

class AnnotatedImages {
 public:
  // `classes` names the file's categories in the order of labels; those that it leaves out are
  // background, and not in dataset(). Empty: all of them, by id. Decoded images and masks are kept
  // until they take `cache_bytes`. Error for a class that the file lacks or that is named twice,
  // and for a file without images or categories.
  AnnotatedImages(CocoDataset data, std::filesystem::path folder, std::vector<std::string> classes,
                  int64_t cache_bytes);
  AnnotatedImages(AnnotatedImages&&) noexcept;
  ~AnnotatedImages();

  size_t size() const { return data_.images.size(); }
  const CocoDataset& dataset() const { return data_; }
  const std::vector<std::string>& classes() const { return classes_; }
  std::filesystem::path path(size_t index) const;

  // The annotations that are left out because of their boxes, by id.
  const std::vector<int64_t>& left_out() const { return left_out_; }

  // Any number of threads may read. Pixels are shared, also between the entries of one file: do not
  // write to them.
  AnnotatedImage read(size_t index) const;

  // The images that have an object with a mask: what objects can be cut out of.
  std::vector<size_t> with_masks() const;

 private:
  struct Cache;
  void merge_categories();
  void list_classes();
  void forget_other_categories();
  void list_annotations();
  cv::Mat read_pixels(size_t index) const;
  std::vector<AnnotatedObject> decode_objects(size_t index, cv::Size image) const;
  AnnotatedObject decode_object(const CocoAnnotation& annotation, cv::Size image) const;

  CocoDataset data_;
  std::filesystem::path folder_;
  std::vector<std::string> classes_;
  std::unordered_map<int64_t, int> labels_;       // of category ids
  std::vector<std::vector<size_t>> annotations_;  // of each image
  std::vector<int64_t> left_out_;
  std::vector<size_t> files_;  // of each image: entries may share one
  std::unique_ptr<Cache> cache_;
};

}  // namespace hornet
