// Annotated images in COCO's format: images, categories, and objects with boxes and masks.
//
//   hornet::CocoDataset data = hornet::read_coco_dataset("instances_val2017.json");
//   for (const hornet::CocoAnnotation& object : data.annotations) {
//     const hornet::RunLengthMask mask = hornet::mask_of(object, data.image(object.image_id).size);
//     ...
//   }
//
// The reader takes what public data sets hold: categories with gaps in their ids, numbers written
// as text, objects without a mask or without an area, polygons of fewer than three corners (left
// out), a crowd's run lengths as text or as a list. An area that is missing is the mask's, or the
// box's without one; a box that is missing is that of the mask. Annotations of images or categories
// that the file does not list are left out and counted. Everything else is refused: a
// hornet::Error(kInput) names the file, the annotation and the key.
#pragma once

#include <hornet/pipelines/run_length.h>

#include <cstdint>
#include <filesystem>
#include <opencv2/core.hpp>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace hornet {

struct CocoImage {
  int64_t id = 0;
  std::string file_name;  // "" if there is none
  cv::Size size;          // 0x0 if it is not given
};

struct CocoCategory {
  int64_t id = 0;
  std::string name;
};

struct CocoAnnotation {
  int64_t id = 0;
  int64_t image_id = 0;
  int64_t category_id = 0;
  cv::Rect2d box;  // x, y, width, height in image pixels
  double area = 0;
  bool crowd = false;                 // a group that has not been taken apart
  std::vector<Polygon> polygons;      // the mask: their union,
  std::optional<RunLengthMask> runs;  // or run lengths, of the image's size,

  bool has_mask() const { return runs || !polygons.empty(); }  // or not known
};

struct CocoDataset {
  std::string name;                      // the file's, for messages
  std::vector<CocoImage> images;         // in the order of the file
  std::vector<CocoCategory> categories;  // by id
  std::vector<CocoAnnotation> annotations;
  int64_t strays = 0;  // annotations of unknown images or categories, left out
  // Images with an annotation that cannot be read, by id, and its error: see BadAnnotations.
  std::unordered_map<int64_t, std::string> damaged;

  const CocoImage& image(int64_t id) const { return images[image_index.at(id)]; }
  std::unordered_map<int64_t, size_t> image_index;  // of every id
};

// What becomes of an annotation that cannot be read: Error(kInput), or its image is noted as
// damaged. One that does not even say which image it is of is an error in any case.
enum class BadAnnotations { kRefuse, kNote };

CocoDataset read_coco_dataset(const std::filesystem::path& file,
                              BadAnnotations bad = BadAnnotations::kRefuse);

// The same of JSON text; `name` stands for the file in errors.
CocoDataset parse_coco_dataset(const std::string& text, const std::string& name,
                               BadAnnotations bad = BadAnnotations::kRefuse);

// Takes the annotations of images away, so that whatever is found in them does not count.
void remove_annotations(CocoDataset& data, const std::set<int64_t>& images);

// The pixels of an object in its image. Error if its mask or the image's size is not known.
RunLengthMask mask_of(const CocoAnnotation& object, cv::Size image);

}  // namespace hornet
