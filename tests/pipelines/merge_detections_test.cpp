#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/merge_detections.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>

namespace hornet {
namespace {

using nlohmann::json;
using Row = std::array<double, 6>;  // left, top, right, bottom, score, label

const json& sahi() {
  static const json kDocument = [] {
    std::ifstream stream(std::string(HORNET_TEST_DATA) + "/sahi_merge.json");
    return json::parse(stream);
  }();
  return kDocument;
}

Instance instance(const Row& row) {
  Instance instance;
  instance.box = cv::Rect2f(cv::Point2f(static_cast<float>(row[0]), static_cast<float>(row[1])),
                            cv::Point2f(static_cast<float>(row[2]), static_cast<float>(row[3])));
  instance.score = static_cast<float>(row[4]);
  instance.label = static_cast<int>(row[5]);
  return instance;
}

// Scores as in float, so that they can be compared.
Row row_of(const Instance& instance) {
  return {instance.box.x,      instance.box.y, instance.box.br().x,
          instance.box.br().y, instance.score, static_cast<double>(instance.label)};
}

std::vector<Row> sorted(const std::vector<Instance>& instances) {
  std::vector<Row> rows;
  for (const Instance& one : instances) rows.push_back(row_of(one));
  std::sort(rows.begin(), rows.end());
  return rows;
}

std::vector<PackedInstance> packed(const std::vector<Row>& rows) {
  std::vector<PackedInstance> list;
  for (const Row& row : rows) list.push_back(pack(instance(row)));
  return list;
}

std::vector<Row> in_float(const std::vector<Row>& rows) {
  std::vector<Instance> instances;
  for (const Row& row : rows) instances.push_back(instance(row));
  return sorted(instances);
}

// One object of this box, all of it mask.
PackedInstance object(const cv::Rect& box, float score, int label = 0, bool cut = false) {
  Instance instance;
  instance.box = box;
  instance.score = score;
  instance.label = label;
  instance.mask = {box, cv::Mat::ones(box.size(), CV_8UC1)};
  return pack(instance, cut);
}

cv::Mat canvas_of(const MaskCrop& mask, cv::Size image) {
  cv::Mat canvas = cv::Mat::zeros(image, CV_8UC1);
  mask.pixels.copyTo(canvas(mask.region));
  return canvas;
}

TEST(MergeDetections, ByIouKeepsWhatSahiKeeps) {
  ASSERT_GE(sahi()["cases"].size(), 10u);
  for (const json& one : sahi()["cases"]) {
    const auto boxes = one["boxes"].get<std::vector<Row>>();
    std::vector<Row> kept;
    for (size_t index : one["nms"]) kept.push_back(boxes[index]);
    ASSERT_LT(kept.size(), boxes.size());
    EXPECT_EQ(sorted(merge_detections(packed(boxes), MergeRule::kNms, one["threshold"])),
              in_float(kept));
  }
}

TEST(MergeDetections, ByIosUnitesWhatSahiUnites) {
  for (const json& one : sahi()["cases"]) {
    const auto merged = merge_detections(packed(one["boxes"]), MergeRule::kIos, one["threshold"]);
    EXPECT_EQ(sorted(merged), in_float(one["ios"]));
  }
}

TEST(MergeDetections, DoNotDependOnTheOrderInWhichTheyWereFound) {
  for (const MergeRule rule : {MergeRule::kNms, MergeRule::kIos}) {
    for (const json& one : sahi()["cases"]) {
      auto boxes = one["boxes"].get<std::vector<Row>>();
      const auto forwards = merge_detections(packed(boxes), rule, one["threshold"]);
      std::reverse(boxes.begin(), boxes.end());
      const auto backwards = merge_detections(packed(boxes), rule, one["threshold"]);
      ASSERT_EQ(forwards.size(), backwards.size());
      for (size_t i = 0; i < forwards.size(); ++i) {
        EXPECT_EQ(row_of(forwards[i]), row_of(backwards[i]));
      }
    }
  }
}

TEST(MergeDetections, DropAPieceForTheWholeEvenIfThePieceScoresHigher) {
  const cv::Rect whole(100, 100, 60, 40);
  const cv::Rect piece(140, 100, 20, 40);
  const auto merged =
      merge_detections({object(piece, 0.9f, 0, true), object(whole, 0.6f)}, MergeRule::kNms, 0.5);
  ASSERT_EQ(merged.size(), 1u);
  EXPECT_EQ(merged[0].box, cv::Rect2f(whole));
  // Where no border cuts it, the smaller box is an object of its own.
  EXPECT_EQ(
      merge_detections({object(piece, 0.9f), object(whole, 0.6f)}, MergeRule::kNms, 0.5).size(),
      2u);
}

TEST(MergeDetections, KeepALargePieceAroundASmallWhole) {
  const auto merged =
      merge_detections({object({0, 0, 200, 300}, 0.9f, 0, true), object({50, 50, 30, 30}, 0.5f)},
                       MergeRule::kNms, 0.5);
  EXPECT_EQ(merged.size(), 2u);
}

TEST(MergeDetections, KeepOneOfTwoPiecesThatShareMostOfTheSmaller) {
  const auto merged = merge_detections(
      {object({100, 0, 100, 20}, 0.7f, 0, true), object({180, 0, 30, 20}, 0.8f, 0, true)},
      MergeRule::kNms, 0.5);
  ASSERT_EQ(merged.size(), 1u);
  EXPECT_FLOAT_EQ(merged[0].score, 0.8f);
}

TEST(MergeDetections, NeverMixClasses) {
  for (const MergeRule rule : {MergeRule::kNms, MergeRule::kIos}) {
    const cv::Rect box(10, 10, 30, 30);
    EXPECT_EQ(
        merge_detections({object(box, 0.9f, 1), object(box, 0.8f, 2, true)}, rule, 0.1).size(), 2u);
  }
}

TEST(MergeDetections, NeverMatchWhatOnlyTouchesOrIsEmpty) {
  for (const MergeRule rule : {MergeRule::kNms, MergeRule::kIos}) {
    EXPECT_EQ(merge_detections(packed({{0, 0, 10, 10, 0.9, 0},
                                       {10, 0, 20, 10, 0.8, 0},
                                       {5, 5, 5, 9, 0.7, 0},
                                       {5, 5, 5, 9, 0.6, 0}}),
                               rule, 0.0)
                  .size(),
              4u);
  }
}

TEST(MergeDetections, UniteMasksPixelByPixel) {
  const cv::Size image(100, 80);
  PackedInstance left = object({10, 20, 30, 30}, 0.7f);
  Instance hole = unpack(object({30, 10, 40, 35}, 0.9f));
  hole.mask.pixels(cv::Rect(0, 0, 25, 12)).setTo(0);
  const auto merged = merge_detections({left, pack(hole)}, MergeRule::kIos, 0.2);
  ASSERT_EQ(merged.size(), 1u);
  EXPECT_EQ(merged[0].box, cv::Rect2f(10, 10, 60, 40));
  EXPECT_FLOAT_EQ(merged[0].score, 0.9f);
  const cv::Mat expected = canvas_of(unpack(left).mask, image) | canvas_of(hole.mask, image);
  EXPECT_EQ(cv::norm(canvas_of(merged[0].mask, image), expected, cv::NORM_INF), 0);
  EXPECT_EQ((merged[0].mask.region & cv::Rect(10, 10, 60, 40)), merged[0].mask.region);
}

TEST(MergeDetections, LeaveOutMasksOfBoxesThatAreTooLarge) {
  PackedInstance wide = object({0, 0, 40000, 1}, 0.9f);
  PackedInstance high = object({0, 0, 1, 40000}, 0.8f);
  wide.box = {0, 0, 40000, 4000};
  high.box = {0, 0, 4000, 40000};
  const auto merged = merge_detections({wide, high}, MergeRule::kIos, 0.1);
  ASSERT_EQ(merged.size(), 1u);
  EXPECT_TRUE(merged[0].mask.region.empty());
}

TEST(PackedInstance, UnpacksToTheSameObject) {
  Instance before = unpack(object({7, 9, 12, 5}, 0.25f, 3));
  before.mask.pixels.row(0).setTo(0);
  before.mask.pixels.at<uint8_t>(2, 4) = 0;
  const Instance after = unpack(pack(before));
  EXPECT_EQ(row_of(after), row_of(before));
  const cv::Size image(40, 20);
  EXPECT_EQ(cv::norm(canvas_of(after.mask, image), canvas_of(before.mask, image), cv::NORM_INF), 0);
  EXPECT_EQ(after.mask.region, cv::Rect(7, 10, 12, 4));
}

TEST(DetectionPool, HandsOutGroupsThatNothingCanTouchAnyMore) {
  DetectionPool pool(MergeRule::kNms, 0.5);
  pool.add(object({0, 0, 10, 10}, 0.9f));
  pool.add(object({50, 40, 20, 60}, 0.8f));  // matches the next one, which goes on below row 100
  pool.add(object({50, 45, 20, 60}, 0.7f));
  pool.add(object({0, 80, 10, 20}, 0.6f));   // ends at row 100
  pool.add(object({66, 60, 20, 40}, 0.5f));  // touches the pair, but does not match it
  const auto first = pool.take_final(100);
  ASSERT_EQ(first.size(), 3u);
  EXPECT_FLOAT_EQ(first[0].score, 0.9f);
  EXPECT_FLOAT_EQ(first[1].score, 0.5f);
  EXPECT_FLOAT_EQ(first[2].score, 0.6f);
  EXPECT_EQ(pool.size(), 2u);
  EXPECT_EQ(pool.first_row(100), 40);
  EXPECT_EQ(pool.first_row(30), 30);
  const auto second = pool.take_final(105);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_FLOAT_EQ(second[0].score, 0.8f);
  EXPECT_EQ(pool.first_row(105), 105);
}

TEST(DetectionPool, GivesTheSameObjectsTakenRowByRowOrAtOnce) {
  for (const MergeRule rule : {MergeRule::kNms, MergeRule::kIos}) {
    for (const json& one : sahi()["cases"]) {
      auto boxes = one["boxes"].get<std::vector<Row>>();
      std::sort(boxes.begin(), boxes.end(), [](const Row& a, const Row& b) { return a[1] < b[1]; });
      DetectionPool pool(rule, one["threshold"]);
      std::vector<Instance> streamed;
      for (const Row& row : boxes) {
        for (Instance& done : pool.take_final(static_cast<int>(row[1]))) streamed.push_back(done);
        pool.add(pack(instance(row)));
      }
      ASSERT_FALSE(streamed.empty());
      for (Instance& done : pool.take_final(2000)) streamed.push_back(done);
      EXPECT_EQ(sorted(streamed), sorted(merge_detections(packed(boxes), rule, one["threshold"])));
    }
  }
}

TEST(MergeRule, IsNmsOrIos) {
  EXPECT_EQ(parse_merge_rule("nms"), MergeRule::kNms);
  EXPECT_EQ(parse_merge_rule("ios"), MergeRule::kIos);
  EXPECT_THROW(parse_merge_rule("soft"), Error);
}

}  // namespace
}  // namespace hornet
