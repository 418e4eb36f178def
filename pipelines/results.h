// What a detector returns, its classes, and the form that other tools read: COCO results.
//
//   for (const Instance& found : detect(image)) {
//     std::cout << found << '\n' << to_coco(found, image.size(), detect.classes()) << '\n';
//   }
//
// Masks are crops; in files they are run lengths (run_length.h).
#pragma once

#include <hornet/pipelines/run_length.h>

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

namespace hornet {

struct Instance {
  cv::Rect2f box;   // in image pixels: x, y of the upper left corner, width, height
  float score = 0;  // 0..1
  int label = 0;    // index of the class, from 0
  MaskCrop mask;
};

// "label 2 score 0.913 box [12.5 40.0 100.2 80.0] mask 5120 px"
std::ostream& operator<<(std::ostream& out, const Instance& instance);

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
