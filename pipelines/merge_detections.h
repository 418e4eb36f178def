// Makes one list of the objects that were found in overlapping tiles of an image.
//
//   DetectionPool pool(MergeRule::kNms, 0.5);
//   for (...) pool.add(pack(found_in_tile, is_cut));           // in pixels of the image
//   for (const Instance& object : pool.take_final(1280)) ...   // nothing more comes above row 1280
//
// Only objects of one class meet, the best first (ties: left, top, right, bottom, the smaller
// first), and boxes that the border of their tile cuts after all others, so that a whole object
// wins over its pieces. A pair of boxes without a common pixel never matches. The rules:
//
//   kNms  drops a box whose intersection over union with a kept one is at least the threshold; and
//         a cut box if a kept one covers this share of it or, where that is cut as well, of the
//         smaller of the two.
//   kIos  unites a box with what overlaps it by this share of the smaller of the two areas and is
//         not taken yet. Masks are united, the highest score is kept. Boxes that match the best
//         one, but not what it has grown to by then, are dropped.
//
// With nothing cut these are NMS (IoU) and GREEDYNMM (IoS) of SAHI (Akyon et al., 2022), and give
// the same boxes. Both decide only about boxes that match, directly or through others; such a
// group is final once it ends above all that is still to come. The pool hands out final groups and
// keeps the rest, with masks as run lengths. The result does not depend on when they are taken.
#pragma once

#include <hornet/pipelines/results.h>

#include <cstdint>
#include <opencv2/core.hpp>
#include <string>
#include <utility>
#include <vector>

namespace hornet {

enum class MergeRule { kNms, kIos };

// "nms" or "ios"; throws hornet::Error(kUsage) on anything else.
MergeRule parse_merge_rule(const std::string& text);

// Instances whose boxes have more pixels than this lose their masks.
constexpr int64_t kMaxMaskPixels = int64_t{1} << 28;
inline bool can_have_mask(const cv::Rect2f& box) {
  return double{box.width} * box.height <= kMaxMaskPixels;
}

// An instance whose mask takes as much memory as its outline.
struct PackedInstance {
  cv::Rect2f box;
  float score = 0;
  int label = 0;
  bool cut = false;            // by a border of its tile that is no border of the image
  cv::Rect region;             // of the mask
  std::vector<uint32_t> runs;  // of the mask in its region, see run_lengths()
};

PackedInstance pack(const Instance& instance, bool cut = false);
Instance unpack(const PackedInstance& packed);

class DetectionPool {
 public:
  DetectionPool(MergeRule rule, double threshold) : rule_(rule), threshold_(threshold) {}

  void add(PackedInstance instance) { waiting_.push_back(std::move(instance)); }

  // Merges and hands out the groups that end at or above `row`, by their first row and then their
  // best score. Nothing added later may begin above `row`.
  std::vector<Instance> take_final(int row);

  // The first row that what waits can touch; `row` if that is less.
  int first_row(int row) const;

  size_t size() const { return waiting_.size(); }

 private:
  MergeRule rule_;
  double threshold_;
  std::vector<PackedInstance> waiting_;
};

// All at once.
std::vector<Instance> merge_detections(std::vector<PackedInstance> found, MergeRule rule,
                                       double threshold);

}  // namespace hornet
