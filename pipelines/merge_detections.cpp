#include <hornet/backbone/error.h>
#include <hornet/pipelines/merge_detections.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

namespace hornet {
namespace {

using Group = std::vector<const PackedInstance*>;

struct Edges {
  explicit Edges(const cv::Rect2f& box)
      : left(box.x), top(box.y), right(left + box.width), bottom(top + box.height) {}
  cv::Rect2f box() const {
    return {static_cast<float>(left), static_cast<float>(top), static_cast<float>(right - left),
            static_cast<float>(bottom - top)};
  }
  double area() const { return (right - left) * (bottom - top); }
  double left, top, right, bottom;
};

double intersection(const Edges& a, const Edges& b) {
  const double width = std::min(a.right, b.right) - std::max(a.left, b.left);
  const double height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  return std::max(width, 0.0) * std::max(height, 0.0);
}

bool reaches(double part, double whole, double threshold) {
  return part > 0 && part / whole >= threshold;
}

bool matches_by_union(const Edges& a, const Edges& b, double threshold) {
  const double common = intersection(a, b);
  return reaches(common, a.area() + b.area() - common, threshold);
}

// The weakest of the tests: what any rule matches, matches by the smaller area as well.
bool matches_by_smaller(const Edges& a, const Edges& b, double threshold) {
  return reaches(intersection(a, b), std::min(a.area(), b.area()), threshold);
}

bool is_piece_of(const PackedInstance& cut, const PackedInstance& kept, double threshold) {
  const Edges piece(cut.box);
  const Edges whole(kept.box);
  if (kept.cut) return matches_by_smaller(piece, whole, threshold);
  return reaches(intersection(piece, whole), piece.area(), threshold);
}

// The best first; what is cut comes after all that is whole.
void sort_by_rank(Group& group) {
  const auto rank = [](const PackedInstance* one) {
    const Edges edges(one->box);
    return std::make_tuple(one->cut, -one->score, edges.left, edges.top, edges.right, edges.bottom);
  };
  std::stable_sort(group.begin(), group.end(),
                   [&](const auto* a, const auto* b) { return rank(a) < rank(b); });
}

std::vector<Instance> suppress(const Group& group, double threshold) {
  Group kept;
  for (const PackedInstance* one : group) {
    const bool dropped = std::any_of(kept.begin(), kept.end(), [&](const PackedInstance* other) {
      return matches_by_union(Edges(other->box), Edges(one->box), threshold) ||
             (one->cut && is_piece_of(*one, *other, threshold));
    });
    if (!dropped) kept.push_back(one);
  }
  std::vector<Instance> instances;
  for (const PackedInstance* one : kept) instances.push_back(unpack(*one));
  return instances;
}

MaskCrop united_mask(const Group& members) {
  MaskCrop united;
  for (const PackedInstance* one : members) {
    if (!one->region.empty()) united.region |= one->region;
  }
  united.pixels = cv::Mat::zeros(united.region.size(), CV_8UC1);
  for (const PackedInstance* one : members) {
    const MaskCrop mask = unpack(*one).mask;
    if (mask.region.empty()) continue;
    cv::Mat part = united.pixels(mask.region - united.region.tl());
    cv::bitwise_or(part, mask.pixels, part);
  }
  return united;
}

Instance united(const Group& members) {
  if (members.size() == 1) return unpack(*members.front());
  Edges edges(members.front()->box);
  for (const PackedInstance* one : members) {
    const Edges more(one->box);
    edges.left = std::min(edges.left, more.left);
    edges.top = std::min(edges.top, more.top);
    edges.right = std::max(edges.right, more.right);
    edges.bottom = std::max(edges.bottom, more.bottom);
  }
  Instance instance;
  instance.box = edges.box();
  for (const PackedInstance* one : members) instance.score = std::max(instance.score, one->score);
  instance.label = members.front()->label;
  if (can_have_mask(instance.box)) instance.mask = united_mask(members);
  return instance;
}

// Takes the best of the group, and what matches it, out of the group.
Instance unite_with_best(Group& group, double threshold) {
  const Edges best(group.front()->box);
  Edges grown = best;
  Group members, rest;
  for (const PackedInstance* one : group) {
    const Edges edges(one->box);
    if (one != group.front() && !matches_by_smaller(best, edges, threshold)) {
      rest.push_back(one);
    } else if (one == group.front() || matches_by_smaller(grown, edges, threshold)) {
      members.push_back(one);
      grown.left = std::min(grown.left, edges.left);
      grown.top = std::min(grown.top, edges.top);
      grown.right = std::max(grown.right, edges.right);
      grown.bottom = std::max(grown.bottom, edges.bottom);
    }
  }
  group = std::move(rest);
  return united(members);
}

std::vector<Instance> unite(Group group, double threshold) {
  std::vector<Instance> instances;
  while (!group.empty()) instances.push_back(unite_with_best(group, threshold));
  return instances;
}

std::vector<Instance> merge(Group group, MergeRule rule, double threshold) {
  sort_by_rank(group);
  std::vector<Instance> merged =
      rule == MergeRule::kNms ? suppress(group, threshold) : unite(std::move(group), threshold);
  std::stable_sort(merged.begin(), merged.end(),
                   [](const Instance& a, const Instance& b) { return a.score > b.score; });
  return merged;
}

size_t root_of(std::vector<size_t>& parents, size_t i) {
  while (parents[i] != i) i = parents[i] = parents[parents[i]];
  return i;
}

// What matches, directly or through others. A sweep from left to right finds the pairs.
std::vector<Group> groups_of(const std::vector<PackedInstance>& found, double threshold) {
  std::vector<size_t> order(found.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return found[a].box.x < found[b].box.x; });
  std::vector<size_t> parents(found.size());
  std::iota(parents.begin(), parents.end(), size_t{0});
  for (size_t i = 0; i < order.size(); ++i) {
    const PackedInstance& one = found[order[i]];
    const Edges edges(one.box);
    for (size_t k = i + 1; k < order.size() && found[order[k]].box.x < edges.right; ++k) {
      const PackedInstance& other = found[order[k]];
      if (other.label == one.label && matches_by_smaller(edges, Edges(other.box), threshold)) {
        parents[root_of(parents, order[k])] = root_of(parents, order[i]);
      }
    }
  }
  std::map<size_t, Group> groups;
  for (size_t i = 0; i < found.size(); ++i) groups[root_of(parents, i)].push_back(&found[i]);
  std::vector<Group> list;
  for (auto& [root, group] : groups) list.push_back(std::move(group));
  return list;
}

double bottom_of(const Group& group) {
  double bottom = 0;
  for (const PackedInstance* one : group) bottom = std::max(bottom, Edges(one->box).bottom);
  return bottom;
}

int first_row_of(const PackedInstance& one) {
  const int top = cvFloor(one.box.y);
  return one.region.empty() ? top : std::min(top, one.region.y);
}

// By their first row, then their best score, then from left to right.
void sort_by_place(std::vector<Group>& groups) {
  const auto place = [](const Group& group) {
    auto place = std::make_tuple(std::numeric_limits<int>::max(), 0.0f,
                                 std::numeric_limits<float>::max(), 0);
    for (const PackedInstance* one : group) {
      std::get<0>(place) = std::min(std::get<0>(place), first_row_of(*one));
      std::get<1>(place) = std::min(std::get<1>(place), -one->score);
      std::get<2>(place) = std::min(std::get<2>(place), one->box.x);
      std::get<3>(place) = one->label;
    }
    return place;
  };
  std::stable_sort(groups.begin(), groups.end(),
                   [&](const Group& a, const Group& b) { return place(a) < place(b); });
}

}  // namespace

MergeRule parse_merge_rule(const std::string& text) {
  if (text == "nms") return MergeRule::kNms;
  if (text == "ios") return MergeRule::kIos;
  throw Error(ErrorCode::kUsage, "--merge " + text + ": expected nms or ios");
}

PackedInstance pack(const Instance& instance, bool cut) {
  PackedInstance packed{instance.box, instance.score, instance.label, cut, {}, {}};
  const MaskCrop& mask = instance.mask;
  if (mask.region.empty() || !can_have_mask(instance.box)) return packed;
  packed.region = mask.region;
  const MaskCrop in_region = {cv::Rect({}, mask.region.size()), mask.pixels};
  packed.runs = run_lengths(in_region, mask.region.size());
  packed.runs.shrink_to_fit();
  return packed;
}

Instance unpack(const PackedInstance& packed) {
  Instance instance;
  instance.box = packed.box;
  instance.score = packed.score;
  instance.label = packed.label;
  if (packed.region.empty()) return instance;
  instance.mask = from_run_lengths(packed.runs, packed.region.size());
  instance.mask.region += packed.region.tl();
  return instance;
}

std::vector<Instance> DetectionPool::take_final(int row) {
  std::vector<Group> final_groups;
  std::vector<bool> stays(waiting_.size(), false);
  for (Group& group : groups_of(waiting_, threshold_)) {
    if (bottom_of(group) <= row) {
      final_groups.push_back(std::move(group));
    } else {
      for (const PackedInstance* one : group) stays[one - waiting_.data()] = true;
    }
  }
  sort_by_place(final_groups);
  std::vector<Instance> merged;
  for (Group& group : final_groups) {
    for (Instance& instance : merge(std::move(group), rule_, threshold_)) {
      merged.push_back(std::move(instance));
    }
  }
  std::vector<PackedInstance> rest;
  for (size_t i = 0; i < waiting_.size(); ++i) {
    if (stays[i]) rest.push_back(std::move(waiting_[i]));
  }
  waiting_ = std::move(rest);
  return merged;
}

int DetectionPool::first_row(int row) const {
  for (const PackedInstance& one : waiting_) row = std::min(row, first_row_of(one));
  return row;
}

std::vector<Instance> merge_detections(std::vector<PackedInstance> found, MergeRule rule,
                                       double threshold) {
  DetectionPool pool(rule, threshold);
  for (PackedInstance& one : found) pool.add(std::move(one));
  return pool.take_final(std::numeric_limits<int>::max());
}

}  // namespace hornet
