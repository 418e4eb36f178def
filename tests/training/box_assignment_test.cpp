// Which boxes are to find which objects, case by case and against the definition.
#include <gtest/gtest.h>
#include <hornet/training/box_assignment.h>

#include <algorithm>

#include "tests/modules.h"

namespace hornet {
namespace {

using testing::expect_identical;
using torch::Tensor;

Tensor boxes_of(const std::vector<std::vector<float>>& rows) {
  Tensor boxes = torch::empty({static_cast<int64_t>(rows.size()), 4});
  for (size_t i = 0; i < rows.size(); ++i) boxes[static_cast<int64_t>(i)] = torch::tensor(rows[i]);
  return boxes;
}

Tensor indices(const std::vector<int64_t>& values) { return torch::tensor(values, torch::kLong); }

AssignRules without_low_quality() {
  AssignRules rules;
  rules.low_quality = false;
  return rules;
}

TEST(AssignBoxes, GoesByTheLargestIou) {
  const Tensor objects = boxes_of({{0, 0, 10, 10}, {0, 0, 10, 20}});
  const Tensor boxes = boxes_of({{0, 0, 10, 10},      // 1 and 0.5
                                 {0, 0, 10, 16},      // 0.625 and 0.8
                                 {0, 0, 10, 7},       // 0.7: just enough
                                 {0, 0, 10, 6.9f},    // 0.69
                                 {0, 0, 3, 10},       // 0.3 is no background
                                 {0, 0, 2.9f, 10},    // 0.29
                                 {50, 50, 60, 60}});  // 0
  expect_identical(assign_boxes(boxes, objects, {}, without_low_quality()),
                   indices({0, 1, 0, kNeither, kNeither, kBackground, kBackground}));
}

TEST(AssignBoxes, LowQualityIsForAllBestBoxesOfAnObject) {
  const Tensor objects = boxes_of({{0, 0, 10, 10}, {20, 0, 30, 10}, {60, 0, 70, 10}});
  const Tensor boxes = boxes_of({{0, 0, 5, 10},  // 0.5, as the next one
                                 {5, 0, 10, 10},
                                 {0, 0, 4, 10},      // 0.4 is not the best
                                 {20, 0, 23, 10},    // 0.3 is the best that there is
                                 {60, 0, 62, 10}});  // 0.2 is too little
  expect_identical(assign_boxes(boxes, objects, {}, {}), indices({0, 0, kNeither, 1, kBackground}));
  expect_identical(assign_boxes(boxes, objects, {}, without_low_quality()),
                   indices({kNeither, kNeither, kNeither, kNeither, kBackground}));
}

TEST(AssignBoxes, TheLastOfTheObjectsThatShareABoxHasIt) {
  const Tensor objects = boxes_of({{0, 0, 10, 10}, {0, 0, 10, 5}});
  const Tensor box = boxes_of({{0, 0, 10, 9}});  // 0.9 and 0.56, the best of both
  expect_identical(assign_boxes(box, objects, {}, {}), indices({1}));
  expect_identical(assign_boxes(box, objects, {}, without_low_quality()), indices({0}));
}

TEST(AssignBoxes, InACrowdNothingIsBackground) {
  const Tensor objects = boxes_of({{0, 0, 10, 10}});
  const Tensor crowds = boxes_of({{0, 0, 20, 20}, {40, 40, 60, 60}});
  const Tensor boxes = boxes_of({{0, 0, 10, 10},    // found all the same
                                 {12, 12, 18, 18},  // inside the crowd
                                 {35, 40, 45, 60},  // half of it inside
                                 {34, 40, 45, 60},  // less
                                 {80, 80, 90, 90}});
  const Tensor expected = indices({0, kNeither, kNeither, kBackground, kBackground});
  expect_identical(assign_boxes(boxes, objects, crowds, {}), expected);
  expect_identical(assign_boxes(boxes.slice(0, 1), torch::empty({0, 4}), crowds, {}),
                   expected.slice(0, 1));
}

TEST(AssignBoxes, TakesNothing) {
  const Tensor none = torch::empty({0, 4}), two = boxes_of({{0, 0, 1, 1}, {2, 2, 2, 2}});
  expect_identical(assign_boxes(two, none, none, {}), indices({kBackground, kBackground}));
  expect_identical(assign_boxes(none, two, none, {}), indices({}));
  expect_identical(assign_boxes(none, none, {}, {}), indices({}));
}

TEST(AssignBoxes, BoxesThatAreNotNumbersAreNeither) {
  const Tensor boxes = boxes_of({{0, 0, NAN, 1}, {0, 0, 1, 1}});
  expect_identical(assign_boxes(boxes, boxes_of({{0, 0, 1, 1}}), {}, without_low_quality()),
                   indices({kNeither, 0}));
}

float iou_of(const float* a, const float* b) {
  const float w = std::max(std::min(a[2], b[2]) - std::max(a[0], b[0]), 0.f);
  const float h = std::max(std::min(a[3], b[3]) - std::max(a[1], b[1]), 0.f);
  const float areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]);
  return w * h / std::max(areas - w * h, 1e-6f);
}

Tensor iou_table(const Tensor& boxes, const Tensor& objects) {
  Tensor table = torch::empty({boxes.size(0), objects.size(0)});
  auto iou = table.accessor<float, 2>();
  for (int64_t k = 0; k < boxes.size(0); ++k) {
    for (int64_t i = 0; i < objects.size(0); ++i) {
      iou[k][i] =
          iou_of(boxes.const_data_ptr<float>() + 4 * k, objects.const_data_ptr<float>() + 4 * i);
    }
  }
  return table;
}

// The definition, object by object.
Tensor reference_assign(const Tensor& boxes, const Tensor& objects, const AssignRules& rules) {
  const Tensor table = iou_table(boxes, objects);
  const auto iou = table.accessor<float, 2>();
  const int64_t n = boxes.size(0);
  std::vector<int64_t> assigned(static_cast<size_t>(n), kBackground);
  for (int64_t k = 0; k < n; ++k) {
    int64_t best = 0;
    for (int64_t i = 0; i < objects.size(0); ++i) {
      if (iou[k][i] > iou[k][best]) best = i;
    }
    auto& own = assigned[static_cast<size_t>(k)];
    if (iou[k][best] >= static_cast<float>(rules.negative_iou)) own = kNeither;
    if (iou[k][best] >= static_cast<float>(rules.positive_iou)) own = best;
  }
  for (int64_t i = 0; rules.low_quality && i < objects.size(0); ++i) {
    float top = 0;
    for (int64_t k = 0; k < n; ++k) top = std::max(top, iou[k][i]);
    for (int64_t k = 0; k < n && top >= static_cast<float>(rules.least_iou); ++k) {
      if (iou[k][i] == top) assigned[static_cast<size_t>(k)] = i;
    }
  }
  return torch::tensor(assigned, torch::kLong);
}

// On whole pixels, where many are equal.
Tensor random_boxes(int64_t n, int64_t range) {
  const Tensor corners = torch::randint(0, range, {n, 2});
  return torch::cat({corners, corners + torch::randint(1, range, {n, 2})}, 1).to(torch::kFloat32);
}

TEST(AssignBoxes, AgreesWithTheDefinition) {
  torch::manual_seed(3);
  for (const int64_t range : {4, 9, 40}) {
    for (const bool low_quality : {false, true}) {
      AssignRules rules;
      rules.low_quality = low_quality;
      const Tensor boxes = random_boxes(211, range), objects = random_boxes(13, range);
      expect_identical(assign_boxes(boxes, objects, {}, rules),
                       reference_assign(boxes, objects, rules));
    }
  }
}

TEST(AssignBoxes, AgreesWithTheDefinitionWhenAllPairsAreTooManyAtOnce) {
  torch::manual_seed(4);
  const Tensor boxes = random_boxes(43'001, 300), objects = random_boxes(101, 300);
  expect_identical(assign_boxes(boxes, objects, {}, {}), reference_assign(boxes, objects, {}));
}

TEST(SampleBoxes, TakesAShareOfPositivesAndFillsUpWithBackground) {
  torch::manual_seed(5);
  Tensor assigned = torch::full({1000}, kBackground, torch::kLong);
  assigned.slice(0, 100, 300).fill_(7);
  assigned.slice(0, 500, 900).fill_(kNeither);
  const BoxSamples samples = sample_boxes(assigned, {101, 0.25});
  EXPECT_EQ(samples.positive.size(0), 25);
  EXPECT_EQ(samples.negative.size(0), 76);
  EXPECT_TRUE((assigned.index_select(0, samples.positive) == 7).all().item<bool>());
  EXPECT_TRUE((assigned.index_select(0, samples.negative) == kBackground).all().item<bool>());
  for (const Tensor& rows : {samples.positive, samples.negative}) {
    EXPECT_TRUE((rows.diff() > 0).all().item<bool>()) << "sorted, and none twice";
  }
}

TEST(SampleBoxes, TakesAllWhereThereAreFew) {
  const Tensor assigned = indices({kBackground, 3, kNeither, 0, kBackground});
  const BoxSamples samples = sample_boxes(assigned, {256, 0.5});
  expect_identical(samples.positive, indices({1, 3}));
  expect_identical(samples.negative, indices({0, 4}));
  const BoxSamples none = sample_boxes(indices({}), {256, 0.5});
  EXPECT_EQ(none.positive.size(0) + none.negative.size(0), 0);
}

TEST(SampleBoxes, IsRandomAndRepeatable) {
  const Tensor assigned = torch::full({1000}, kBackground, torch::kLong);
  const auto draw = [&](uint64_t seed) {
    torch::manual_seed(seed);
    return sample_boxes(assigned, {100, 0.5}).negative;
  };
  expect_identical(draw(1), draw(1));
  EXPECT_FALSE(draw(1).equal(draw(2)));
  EXPECT_NEAR(draw(1).to(torch::kFloat32).mean().item<float>(), 500, 100);
}

}  // namespace
}  // namespace hornet
