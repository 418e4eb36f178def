// How good detections are: average precision and recall of boxes and of masks, as COCO defines them
// and pycocotools computes them.
//
//   const CocoDataset data = read_coco_dataset("instances_val2017.json");
//   const CocoScores scores = evaluate_coco(data, results, CocoIou::kMasks);
//   std::cout << scores.figures[0];                       // AP, see kCocoFigures
//
// Detections of an image and a category are matched, best score first, with the object that they
// overlap most, if the intersection over union reaches a threshold: 0.50, 0.55, ... 0.95. An object
// is taken once; a crowd may be taken by many, and its overlap is counted over the detection's area
// alone. Crowds and objects outside the range of areas in question are not to be found: what
// matches them is left out, as is what matches nothing and is outside the range itself. Of the
// rest, by score over all images, precision is read at the recalls 0, 0.01, ... 1 as the best that
// is reached there or beyond. AP is its mean over thresholds, recalls and categories with objects,
// AR that of the largest recall.
//
// All figures equal pycocotools' to rounding, but the size of a detection is that of its mask where
// masks are evaluated, as in mmdet's tests, even if results have boxes; and an id may be 0.
#pragma once

#include <hornet/pipelines/coco_dataset.h>
#include <hornet/pipelines/coco_results.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace hornet {

enum class CocoIou { kBoxes, kMasks };

// "bbox" and "segm".
const char* iou_name(CocoIou iou);

// What can be measured: boxes if any result has one; masks if all results and all objects have
// them.
std::vector<CocoIou> available_ious(const CocoDataset& data,
                                    const std::vector<CocoResult>& results);

// Why masks are not measured although objects have some: one of the others, for a warning.
std::optional<std::string> unmeasured_masks(const CocoDataset& data);

// The official twelve: AP over all thresholds, at 0.5, at 0.75, of small, medium and large objects;
// AR with at most 1, 10, 100 detections an image and category, of small, medium and large objects.
constexpr size_t kNumCocoFigures = 12;
constexpr std::array<const char*, kNumCocoFigures> kCocoFigures = {
    "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"};

using CocoFigures = std::array<double, kNumCocoFigures>;  // -1 where there are no objects

struct CocoCategoryScores {
  CocoCategory category;
  int64_t objects = 0;  // to be found: without crowds
  CocoFigures figures = {};
};

struct CocoScores {
  CocoFigures figures = {};
  std::vector<CocoCategoryScores> categories;  // in the order of the dataset
};

// Results of categories that the dataset does not have are left out. Boxes that results lack are
// those of their masks. Error(kInput) for a result of an unknown image, or without a mask where
// masks are evaluated, and for an object without one.
CocoScores evaluate_coco(const CocoDataset& data, const std::vector<CocoResult>& results,
                         CocoIou iou);

}  // namespace hornet
