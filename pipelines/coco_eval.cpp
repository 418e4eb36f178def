#include <hornet/backbone/error.h>
#include <hornet/pipelines/coco_eval.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <opencv2/core/utility.hpp>
#include <unordered_map>

namespace hornet {
namespace {

constexpr size_t kThresholds = 10, kRecalls = 101, kRanges = 4, kLimits = 3;
constexpr std::array<size_t, kLimits> kMaxDetections = {1, 10, 100};

struct AreaRange {
  double low, high;
};
constexpr std::array<AreaRange, kRanges> kAreaRanges = {
    {{0, 1e10}, {0, 32 * 32}, {32 * 32, 96 * 96}, {96 * 96, 1e10}}};

bool is_inside(double area, const AreaRange& range) {
  return area >= range.low && area <= range.high;
}

// Evenly spaced with both ends, rounded as numpy.linspace rounds: overlaps and recalls that are
// exactly at a step must fall on the same side of it.
template <size_t kCount>
std::array<double, kCount> evenly_spaced(double first, double last) {
  const double step = (last - first) / static_cast<double>(kCount - 1);
  std::array<double, kCount> values;
  for (size_t i = 0; i < kCount; ++i) values[i] = static_cast<double>(i) * step + first;
  values.back() = last;
  return values;
}

const std::array<double, kThresholds> kIouThresholds = evenly_spaced<kThresholds>(0.5, 0.95);
const std::array<double, kRecalls> kRecallPoints = evenly_spaced<kRecalls>(0, 1);

struct Shape {
  cv::Rect2d box;      // of the object, or around its mask
  RunLengthMask mask;  // where masks are evaluated
  double pixels = 0;   // of the box, or of the mask
};

struct Object {
  Shape shape;
  double area = 0;  // as annotated: what its size range goes by
  bool crowd = false;
};

struct Detection {
  Shape shape;
  double area = 0;  // what its size range goes by
  double score = 0;
};

// What is in one image of one category.
struct Scene {
  std::vector<Object> objects;
  std::vector<Detection> detections;
};

double common_pixels(const cv::Rect2d& a, const cv::Rect2d& b) {
  const double width = std::min(a.x + a.width, b.x + b.width) - std::max(a.x, b.x);
  const double height = std::min(a.y + a.height, b.y + b.height) - std::max(a.y, b.y);
  return width > 0 && height > 0 ? width * height : 0;
}

// Intersection over union; over the detection alone for a crowd.
double overlap(const Shape& detection, const Object& object, CocoIou iou) {
  double common = common_pixels(detection.box, object.shape.box);
  if (common > 0 && iou == CocoIou::kMasks) {
    common = static_cast<double>(common_area(detection.mask, object.shape.mask));
  }
  if (common == 0) return 0;
  const double all =
      object.crowd ? detection.pixels : detection.pixels + object.shape.pixels - common;
  return common / all;
}

// A detection's fate in one area range, a bit for every threshold.
struct Verdict {
  uint16_t matched = 0;
  uint16_t left_out = 0;
};

struct Judged {
  double score = 0;
  size_t rank = 0;  // among the detections of its image
  std::array<Verdict, kRanges> verdicts;
};

// All images of one category, judged: what the figures are counted from.
struct Category {
  std::vector<Judged> detections;
  std::array<int64_t, kRanges> objects = {};  // to be found
};

// The detections and objects of one scene, and how they overlap.
class Matcher {
 public:
  Matcher(const Scene& scene, CocoIou iou) : scene_(scene) {
    order_.resize(scene.detections.size());
    std::iota(order_.begin(), order_.end(), size_t{0});
    std::stable_sort(order_.begin(), order_.end(), [&](size_t a, size_t b) {
      return scene.detections[a].score > scene.detections[b].score;
    });
    order_.resize(std::min(order_.size(), kMaxDetections.back()));
    for (const size_t index : order_) {
      for (const Object& object : scene.objects) {
        overlaps_.push_back(overlap(scene.detections[index].shape, object, iou));
      }
    }
  }

  void judge(Category& category) {
    const size_t first = category.detections.size();
    for (size_t rank = 0; rank < order_.size(); ++rank) {
      category.detections.push_back({scene_.detections[order_[rank]].score, rank, {}});
    }
    for (size_t range = 0; range < kRanges; ++range) {
      sort_out(kAreaRanges[range]);
      category.objects[range] += static_cast<int64_t>(wanted_.size());
      for (size_t threshold = 0; threshold < kThresholds; ++threshold) {
        match(range, threshold, category.detections.data() + first);
      }
    }
  }

 private:
  // Which objects are to be found in this range.
  void sort_out(const AreaRange& range) {
    wanted_.clear();
    unwanted_.clear();
    for (size_t i = 0; i < scene_.objects.size(); ++i) {
      const Object& object = scene_.objects[i];
      (object.crowd || !is_inside(object.area, range) ? unwanted_ : wanted_).push_back(i);
    }
  }

  // The free object that the detection overlaps most, the last of equals; -1 for none.
  int best(size_t rank, const std::vector<size_t>& candidates, double least) const {
    int found = -1;
    for (const size_t i : candidates) {
      const double candidate = overlaps_[rank * scene_.objects.size() + i];
      if (candidate < least || (taken_[i] && !scene_.objects[i].crowd)) continue;
      least = candidate;
      found = static_cast<int>(i);
    }
    return found;
  }

  void match(size_t range, size_t threshold, Judged* detections) {
    constexpr double kAlmostOne = 1 - 1e-10;
    const double least = std::min(kIouThresholds[threshold], kAlmostOne);
    const auto bit = static_cast<uint16_t>(1 << threshold);
    taken_.assign(scene_.objects.size(), false);
    for (size_t rank = 0; rank < order_.size(); ++rank) {
      Verdict& verdict = detections[rank].verdicts[range];
      int object = best(rank, wanted_, least);
      const bool is_wanted = object >= 0;
      if (!is_wanted) object = best(rank, unwanted_, least);
      if (object >= 0) {
        taken_[static_cast<size_t>(object)] = true;
        verdict.matched |= bit;
        if (!is_wanted) verdict.left_out |= bit;
      } else if (!is_inside(scene_.detections[order_[rank]].area, kAreaRanges[range])) {
        verdict.left_out |= bit;
      }
    }
  }

  const Scene& scene_;
  std::vector<size_t> order_;     // of detections, best first
  std::vector<double> overlaps_;  // of detections in that order with every object
  std::vector<size_t> wanted_, unwanted_;
  std::vector<bool> taken_;
};

// Precision at the recall points, summed, and the largest recall.
struct Curve {
  double precision = 0;
  double recall = 0;
};

// From the detections with a rank below `limit`, which are sorted by score.
Curve curve(const Category& category, size_t range, size_t threshold, size_t limit) {
  constexpr double kEpsilon = 2.220446049250313e-16;  // pycocotools adds it, against 0 / 0
  const auto bit = static_cast<uint16_t>(1 << threshold);
  const auto objects = static_cast<double>(category.objects[range]);
  std::vector<double> precisions, recalls;
  double right = 0, wrong = 0;
  for (const Judged& detection : category.detections) {
    const Verdict& verdict = detection.verdicts[range];
    if (detection.rank >= limit) continue;
    if (!(verdict.left_out & bit)) ++(verdict.matched & bit ? right : wrong);
    precisions.push_back(right / (right + wrong + kEpsilon));
    recalls.push_back(right / objects);
  }
  Curve result;
  if (recalls.empty()) return result;
  result.recall = recalls.back();
  for (size_t i = precisions.size() - 1; i > 0; --i) {
    precisions[i - 1] = std::max(precisions[i - 1], precisions[i]);
  }
  auto from = recalls.begin();
  for (const double point : kRecallPoints) {
    from = std::lower_bound(from, recalls.end(), point);
    if (from == recalls.end()) break;
    result.precision += precisions[static_cast<size_t>(from - recalls.begin())];
  }
  return result;
}

// The figures of one category: sums over thresholds are means, since all of them count.
CocoFigures figures_of(const Category& category) {
  CocoFigures figures;
  figures.fill(-1);
  for (size_t range = 0; range < kRanges; ++range) {
    if (category.objects[range] == 0) continue;
    const size_t ap = range == 0 ? 0 : 2 + range, ar = range == 0 ? 8 : 8 + range;
    figures[ap] = figures[ar] = 0;
    for (size_t threshold = 0; threshold < kThresholds; ++threshold) {
      const Curve all = curve(category, range, threshold, kMaxDetections.back());
      const double precision = all.precision / kRecalls;
      figures[ap] += precision / kThresholds;
      figures[ar] += all.recall / kThresholds;
      if (range == 0 && threshold == 0) figures[1] = precision;
      if (range == 0 && threshold == kThresholds / 2) figures[2] = precision;
    }
  }
  if (category.objects[0] == 0) return figures;
  for (size_t limit = 0; limit + 1 < kLimits; ++limit) {
    figures[6 + limit] = 0;
    for (size_t threshold = 0; threshold < kThresholds; ++threshold) {
      figures[6 + limit] +=
          curve(category, 0, threshold, kMaxDetections[limit]).recall / kThresholds;
    }
  }
  return figures;
}

// The mean over the categories that have objects for the figure.
CocoFigures mean_figures(const std::vector<CocoCategoryScores>& categories) {
  CocoFigures means;
  for (size_t i = 0; i < kNumCocoFigures; ++i) {
    double sum = 0;
    int64_t count = 0;
    for (const CocoCategoryScores& category : categories) {
      if (category.figures[i] < 0) continue;
      sum += category.figures[i];
      ++count;
    }
    means[i] = count == 0 ? -1 : sum / static_cast<double>(count);
  }
  return means;
}

Shape shape_of_box(const cv::Rect2d& box) { return {box, {}, box.area()}; }

Shape shape_of_mask(RunLengthMask mask) {
  const cv::Rect box = bounding_box(mask);
  const auto pixels = static_cast<double>(area(mask));
  return {cv::Rect2d(box), std::move(mask), pixels};
}

Object make_object(const CocoDataset& data, const CocoAnnotation& annotation, CocoIou iou) {
  if (iou == CocoIou::kBoxes) {
    return {shape_of_box(annotation.box), annotation.area, annotation.crowd};
  }
  try {
    return {shape_of_mask(mask_of(annotation, data.image(annotation.image_id).size)),
            annotation.area, annotation.crowd};
  } catch (const Error& error) {
    throw Error(error.code(),
                data.name + ": annotation " + std::to_string(annotation.id) + ": " + error.what());
  }
}

Detection make_detection(const CocoResult& result, cv::Size image, CocoIou iou) {
  if (iou == CocoIou::kBoxes) {
    if (result.box) return {shape_of_box(*result.box), result.box->area(), result.score};
    const cv::Rect2d box = bounding_box(*result.mask);
    return {shape_of_box(box), static_cast<double>(area(*result.mask)), result.score};
  }
  if (!result.mask) throw Error(ErrorCode::kInput, "it has no 'segmentation'");
  if (!image.empty() && result.mask->size != image) {
    throw Error(ErrorCode::kInput, "its mask is for another size of image than the annotations'");
  }
  const Shape shape = shape_of_mask(*result.mask);
  return {shape, shape.pixels, result.score};
}

// Scenes of one category by image id: pycocotools goes through them in this order, which decides
// between equal scores.
using Scenes = std::map<int64_t, Scene>;

// Scenes of every category, in the order of the dataset's.
std::vector<Scenes> sort_into_scenes(const CocoDataset& data,
                                     const std::vector<CocoResult>& results, CocoIou iou) {
  std::unordered_map<int64_t, size_t> category_index;
  for (const CocoCategory& category : data.categories) {
    category_index.emplace(category.id, category_index.size());
  }
  std::vector<Scenes> scenes(data.categories.size());
  for (const CocoAnnotation& annotation : data.annotations) {
    Scenes& images = scenes[category_index.at(annotation.category_id)];
    images[annotation.image_id].objects.push_back(make_object(data, annotation, iou));
  }
  for (size_t i = 0; i < results.size(); ++i) {
    const CocoResult& result = results[i];
    const auto image = data.image_index.find(result.image_id);
    if (image == data.image_index.end()) {
      throw Error(ErrorCode::kInput, "result " + std::to_string(i) + ": its image_id " +
                                         std::to_string(result.image_id) + " is not in " +
                                         data.name +
                                         "; are the results those of this annotation file?");
    }
    const auto category = category_index.find(result.category_id);
    if (category == category_index.end()) continue;
    try {
      scenes[category->second][result.image_id].detections.push_back(
          make_detection(result, data.images[image->second].size, iou));
    } catch (const Error& error) {
      throw Error(error.code(), "result " + std::to_string(i) + ": " + error.what());
    }
  }
  return scenes;
}

CocoCategoryScores score_category(const CocoCategory& category, const Scenes& scenes, CocoIou iou) {
  Category judged;
  for (const auto& [image_id, scene] : scenes) Matcher(scene, iou).judge(judged);
  std::stable_sort(judged.detections.begin(), judged.detections.end(),
                   [](const Judged& a, const Judged& b) { return a.score > b.score; });
  return {category, judged.objects[0], figures_of(judged)};
}

}  // namespace

const char* iou_name(CocoIou iou) { return iou == CocoIou::kBoxes ? "bbox" : "segm"; }

std::vector<CocoIou> available_ious(const CocoDataset& data,
                                    const std::vector<CocoResult>& results) {
  const auto has_box = [](const CocoResult& result) { return result.box.has_value(); };
  const auto has_mask = [](const CocoResult& result) { return result.mask.has_value(); };
  const auto is_masked = [](const CocoAnnotation& object) { return object.has_mask(); };
  const bool masks = std::all_of(results.begin(), results.end(), has_mask) &&
                     std::all_of(data.annotations.begin(), data.annotations.end(), is_masked);
  std::vector<CocoIou> ious;
  if (!masks || results.empty() || std::any_of(results.begin(), results.end(), has_box)) {
    ious.push_back(CocoIou::kBoxes);
  }
  if (masks) ious.push_back(CocoIou::kMasks);
  return ious;
}

std::optional<std::string> unmeasured_masks(const CocoDataset& data) {
  const auto is_masked = [](const CocoAnnotation& object) { return object.has_mask(); };
  const auto begin = data.annotations.begin(), end = data.annotations.end();
  const auto without = std::find_if_not(begin, end, is_masked);
  if (without == end || std::none_of(begin, end, is_masked)) return std::nullopt;
  return data.name + ": masks are not measured, because annotation " + std::to_string(without->id) +
         " has none";
}

CocoScores evaluate_coco(const CocoDataset& data, const std::vector<CocoResult>& results,
                         CocoIou iou) {
  const std::vector<Scenes> scenes = sort_into_scenes(data, results, iou);
  CocoScores scores;
  scores.categories.resize(scenes.size());
  cv::parallel_for_({0, static_cast<int>(scenes.size())}, [&](const cv::Range& range) {
    for (int i = range.start; i < range.end; ++i) {
      scores.categories[i] = score_category(data.categories[i], scenes[i], iou);
    }
  });
  scores.figures = mean_figures(scores.categories);
  return scores;
}

}  // namespace hornet
