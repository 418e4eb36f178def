// What a detector returns, and the formats that other tools read: COCO results and run-length
// codes (cocoapi's compressed, column-major RLE, which pycocotools decodes).
//
// A mask is kept as the rectangle of the image that it can touch, never as a full canvas: a
// thousand masks in a gigapixel image cost what the objects cover. Run lengths are computed from
// and back to that rectangle. They count pixels column by column over the whole image, zeros
// first, so the mask
//
//   0 1
//   1 1      is   1 3   and in cocoapi's text "13".
//
// The text form stores every count from the fourth on as its difference from the count two places
// before, in base 32 digits of which the lowest comes first. decode_counts() and
// from_run_lengths() are safe on any input: sums are checked, and nothing is allocated that the
// image's size (at most 2^30 pixels) does not allow.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

namespace hornet {

// A binary mask that covers a rectangle of an image; all pixels outside of it are 0.
struct MaskCrop {
  cv::Rect region;  // in image pixels, inside the image, possibly empty
  cv::Mat pixels;   // CV_8UC1, region.size(), values 0 or 1
};

struct Instance {
  cv::Rect2f box;   // in image pixels: x, y of the upper left corner, width, height
  float score = 0;  // 0..1
  int label = 0;    // index of the class, from 0
  MaskCrop mask;
};

// "label 2 score 0.913 box [12.5 40.0 100.2 80.0] mask 5120 px"
std::ostream& operator<<(std::ostream& out, const Instance& instance);

// Run lengths of a mask in column-major order over the whole image, first the run of zeros
// (which may be 0).
std::vector<uint32_t> run_lengths(const MaskCrop& mask, cv::Size image);

// The smallest crop that holds the mask. Throws hornet::Error(kInput) unless the counts add up to
// the image's pixels.
MaskCrop from_run_lengths(const std::vector<uint32_t>& counts, cv::Size image);

// cocoapi's text form of run lengths ("counts" in JSON), and back. decode_counts throws
// hornet::Error(kInput) on text that is not one.
std::string encode_counts(const std::vector<uint32_t>& counts);
std::vector<uint32_t> decode_counts(const std::string& text);

// The classes of a model: names for people, and the category_id that files carry. With 80 classes
// these are COCO's ids (1..90, with gaps); otherwise the label + 1.
struct ClassTable {
  std::vector<std::string> names;
  std::vector<int> category_ids;

  // Without names, 80 classes get COCO's and others "class 0", "class 1", ...; 90 classes, those of
  // torchvision, get COCO's at index id - 1. Throws
  // hornet::Error(kWeights) when the number of names is not num_classes.
  static ClassTable from_names(std::vector<std::string> names, int num_classes);

  const std::string& name(int label) const;
  int category_id(int label) const;
};

// {"category_id", "bbox": [x,y,w,h], "score", "segmentation": {"size": [h,w], "counts"}}: a COCO
// result without its "image_id". The box is rounded to 3 decimals, the score to 6.
nlohmann::ordered_json to_coco(const Instance& instance, cv::Size image, const ClassTable& classes);

}  // namespace hornet
