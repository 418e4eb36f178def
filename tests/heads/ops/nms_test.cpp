#include "heads/ops/nms.h"

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <limits>
#include <numeric>

namespace hornet::ops {
namespace {

using torch::Tensor;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The definition, in plain loops.
std::vector<int64_t> reference_nms(const Tensor& boxes, const Tensor& scores, float threshold) {
  const auto box = boxes.accessor<float, 2>();
  const auto score = scores.accessor<float, 1>();
  const auto area = [&](int64_t i) { return (box[i][2] - box[i][0]) * (box[i][3] - box[i][1]); };
  const auto iou = [&](int64_t i, int64_t j) {
    const float w = std::min(box[i][2], box[j][2]) - std::max(box[i][0], box[j][0]);
    const float h = std::min(box[i][3], box[j][3]) - std::max(box[i][1], box[j][1]);
    const float common = std::max(w, 0.f) * std::max(h, 0.f);
    return common / (area(i) + area(j) - common);
  };
  std::vector<int64_t> order(boxes.size(0)), kept;
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t i, int64_t j) { return score[i] > score[j]; });
  for (const int64_t i : order) {
    const bool suppressed =
        std::any_of(kept.begin(), kept.end(), [&](int64_t j) { return iou(j, i) > threshold; });
    if (!suppressed) kept.push_back(i);
  }
  return kept;
}

std::vector<int64_t> as_vector(const Tensor& indices) {
  EXPECT_EQ(indices.scalar_type(), torch::kLong);
  EXPECT_EQ(indices.dim(), 1);
  const Tensor values = indices.cpu().contiguous();
  return {values.const_data_ptr<int64_t>(), values.const_data_ptr<int64_t>() + values.numel()};
}

Tensor random_boxes(int64_t n, double image_size = 100, double box_size = 40) {
  const Tensor corners = torch::rand({n, 2}) * image_size;
  return torch::cat({corners, corners + torch::rand({n, 2}) * box_size}, 1);
}

// Few distinct values, so that there are ties.
Tensor random_scores(int64_t n) { return torch::randint(0, 50, {n}).to(torch::kFloat) / 50; }

using Indices = std::vector<int64_t>;

TEST(Nms, KeepsTheBestOfTwoThatOverlap) {
  const Tensor boxes =
      torch::tensor({{0., 0., 10., 10.}, {20., 20., 30., 30.}, {1., 1., 11., 11.}}, torch::kFloat);
  const Tensor scores = torch::tensor({.5, .6, .9});
  EXPECT_EQ(as_vector(nms(boxes, scores, 0.68)), (Indices{2, 1}));  // IoU 81/119 = 0.6807
  EXPECT_EQ(as_vector(nms(boxes, scores, 0.69)), (Indices{2, 1, 0}));
}

TEST(Nms, SuppressesOnlyAboveTheThreshold) {
  const Tensor boxes = torch::tensor({{0., 0., 1., 1.}, {0., 0., 2., 1.}}, torch::kFloat);
  const Tensor scores = torch::tensor({.9, .8});
  EXPECT_EQ(as_vector(nms(boxes, scores, 0.5)), (Indices{0, 1}));  // IoU exactly 1/2
  EXPECT_EQ(as_vector(nms(boxes, scores, 0.499)), (Indices{0}));
}

TEST(Nms, ComparesInFloat32) {
  // The IoU is float32(0.7), which is less than the double 0.7, but not greater than itself.
  const Tensor boxes = torch::tensor({{0., 0., 7., 1.}, {0., 0., 10., 1.}}, torch::kFloat);
  EXPECT_EQ(as_vector(nms(boxes, torch::tensor({.9, .8}), 0.7)), (Indices{0, 1}));
}

TEST(Nms, SuppressedBoxesSuppressNothing) {
  const Tensor boxes =
      torch::tensor({{0., 0., 10., 1.}, {4., 0., 14., 1.}, {8., 0., 18., 1.}}, torch::kFloat);
  EXPECT_EQ(as_vector(nms(boxes, torch::tensor({.9, .8, .7}), 0.3)), (Indices{0, 2}));
}

TEST(Nms, TiesKeepTheLowerIndex) {
  const Tensor boxes = torch::tensor({{0., 0., 4., 4.}}).to(torch::kFloat).repeat({40, 1});
  EXPECT_EQ(as_vector(nms(boxes, torch::full({40}, 0.5), 0.5)), (Indices{0}));
  Indices all(40);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(as_vector(nms(boxes, torch::full({40}, 0.5), 1.0)), all);
}

TEST(Nms, AcceptsNothing) {
  EXPECT_EQ(as_vector(nms(torch::empty({0, 4}), torch::empty({0}), 0.5)), Indices{});
  EXPECT_EQ(as_vector(batched_nms(torch::empty({0, 4}), torch::empty({0}),
                                  torch::empty({0}, torch::kLong), 0.5)),
            Indices{});
}

TEST(Nms, BoxesOfNoAreaAndNanBoxesSuppressNothing) {
  const Tensor boxes = torch::tensor({{3.f, 3.f, 3.f, 3.f},
                                      {3.f, 3.f, 3.f, 3.f},
                                      {0.f, kNan, 9.f, 9.f},
                                      {0.f, 0.f, 9.f, 9.f},
                                      {kNan, kNan, kNan, kNan},
                                      {0.f, 0.f, 9.f, 8.f}});
  const Tensor scores = torch::tensor({.9, .8, .7, .6, .5, .4});
  EXPECT_EQ(as_vector(nms(boxes, scores, 0.5)), (Indices{0, 1, 2, 3, 4}));
}

TEST(Nms, EqualsTheReference) {
  torch::manual_seed(1);
  for (const int64_t n : {1, 2, 7, 63, 64, 65, 129, 1000}) {
    const Tensor boxes = random_boxes(n), scores = random_scores(n);
    for (const float threshold : {0.f, 0.3f, 0.5f, 0.7f, 1.f}) {
      EXPECT_EQ(as_vector(nms(boxes, scores, threshold)), reference_nms(boxes, scores, threshold))
          << n << " boxes, threshold " << threshold;
    }
  }
}

TEST(Nms, AcceptsAnyLayoutAndType) {
  torch::manual_seed(2);
  const Tensor boxes = random_boxes(65).to(torch::kHalf).to(torch::kFloat);
  const Tensor scores = random_scores(65).to(torch::kHalf).to(torch::kFloat);
  const auto expected = reference_nms(boxes, scores, 0.5f);
  EXPECT_EQ(as_vector(nms(boxes.t().contiguous().t(), scores, 0.5)), expected);
  const Tensor every_other = torch::stack({scores, -scores}, 1).select(1, 0);
  EXPECT_EQ(as_vector(nms(boxes, every_other, 0.5)), expected);
  EXPECT_EQ(as_vector(nms(boxes.to(torch::kHalf), scores.to(torch::kHalf), 0.5)), expected);
  EXPECT_EQ(as_vector(nms(boxes.to(torch::kDouble), scores, 0.5)), expected);
}

TEST(Nms, NamesWhatIsWrong) {
  try {
    nms(torch::zeros({3, 5}), torch::zeros({3}), 0.5);
    FAIL() << "expected an exception";
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what()).find("boxes must be [n, 4], found [3, 5]"),
              std::string::npos);
  }
  EXPECT_THROW(nms(torch::zeros({3, 4}), torch::zeros({2}), 0.5), c10::Error);
  EXPECT_THROW(batched_nms(torch::zeros({3, 4}), torch::zeros({3}), torch::zeros({2}), 0.5),
               c10::Error);
}

TEST(BatchedNms, SeparatesClasses) {
  const Tensor boxes = torch::tensor({{0., 0., 9., 9.}}).to(torch::kFloat).repeat({4, 1});
  const Tensor scores = torch::tensor({.6, .7, .8, .9});
  const Tensor classes = torch::tensor({5, 0, 5, 79}, torch::kLong);
  EXPECT_EQ(as_vector(batched_nms(boxes, scores, classes, 0.5)), (Indices{3, 2, 1}));
}

TEST(BatchedNms, EqualsNmsOfEachClassMergedByScore) {
  torch::manual_seed(3);
  const int64_t n = 500;
  const Tensor boxes = random_boxes(n).round();  // exact after the shift as well
  const Tensor scores = torch::rand({n});
  const Tensor classes = torch::randint(0, 5, {n});
  std::vector<int64_t> expected;
  for (int64_t c = 0; c < 5; ++c) {
    const Tensor members = (classes == c).nonzero().squeeze(1);
    for (const int64_t i : reference_nms(boxes.index({members}), scores.index({members}), 0.4f)) {
      expected.push_back(members[i].item<int64_t>());
    }
  }
  const auto score = scores.accessor<float, 1>();
  std::sort(expected.begin(), expected.end(),
            [&](int64_t i, int64_t j) { return score[i] > score[j]; });
  EXPECT_EQ(as_vector(batched_nms(boxes, scores, classes, 0.4)), expected);
}

TEST(BatchedNms, OfManyBoxesGoesClassByClassWithoutRounding) {
  torch::manual_seed(6);
  const int64_t n = 400;
  const Tensor boxes = random_boxes(n), scores = random_scores(n);
  const Tensor classes = torch::randint(0, 4, {n}) * 1000000;  // a shift would swallow the boxes
  std::vector<int64_t> expected;
  for (const int64_t c : {0, 1, 2, 3}) {
    const Tensor members = (classes == c * 1000000).nonzero().squeeze(1);
    for (const int64_t i : reference_nms(boxes.index({members}), scores.index({members}), 0.4f)) {
      expected.push_back(members[i].item<int64_t>());
    }
  }
  std::sort(expected.begin(), expected.end());  // equal scores stay in this order
  const auto score = scores.accessor<float, 1>();
  std::stable_sort(expected.begin(), expected.end(),
                   [&](int64_t i, int64_t j) { return score[i] > score[j]; });
  EXPECT_EQ(as_vector(batched_nms(boxes, scores, classes, 0.4, n - 1)), expected);
  EXPECT_NE(as_vector(batched_nms(boxes, scores, classes, 0.4, n)), expected);
  EXPECT_EQ(as_vector(batched_nms(torch::empty({0, 4}), torch::empty({0}),
                                  torch::empty({0}, torch::kLong), 0.5, 0)),
            Indices{});
}

TEST(BatchedNms, ShiftsInFloat32) {
  torch::manual_seed(4);
  const Tensor boxes = random_boxes(300, 1300), scores = random_scores(300);
  const Tensor classes = torch::randint(70, 80, {300});
  const Tensor shifted = boxes + (classes.to(torch::kFloat) * (boxes.max() + 1)).unsqueeze(1);
  EXPECT_EQ(as_vector(batched_nms(boxes, scores, classes, 0.5)),
            reference_nms(shifted, scores, 0.5f));
}

TEST(BatchedNms, OneNanBoxChangesNothingForTheOthers) {
  const Tensor boxes = torch::tensor(
      {{0.f, 0.f, 9.f, 9.f}, {kNan, 0.f, 9.f, 9.f}, {0.f, 0.f, 9.f, 8.f}, {0.f, 0.f, 9.f, 9.f}});
  const Tensor classes = torch::tensor({1, 1, 1, 2}, torch::kLong);
  EXPECT_EQ(as_vector(batched_nms(boxes, torch::tensor({.9, .8, .7, .6}), classes, 0.5)),
            (Indices{0, 1, 3}));
}

TEST(NmsCuda, EqualsTheCpu) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  torch::manual_seed(5);
  for (const int64_t n : {0, 1, 63, 64, 65, 1000, 4096, 4097, 9000}) {  // 4096 boxes at a time
    const Tensor boxes = random_boxes(n, 400), scores = random_scores(n);
    const Tensor classes = torch::randint(0, 3, {n});
    const Tensor on_cpu = batched_nms(boxes, scores, classes, 0.5);
    const Tensor on_gpu = batched_nms(boxes.cuda(), scores.cuda(), classes.cuda(), 0.5);
    EXPECT_TRUE(on_gpu.is_cuda());
    EXPECT_EQ(as_vector(on_gpu), as_vector(on_cpu)) << n << " boxes";
  }
}

}  // namespace
}  // namespace hornet::ops
