#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/label_metrics.h>

#include <cmath>
#include <random>

namespace hornet {
namespace {

// 3x4 pixels of three classes, 255 ignored:
//
//   truth      0 0 1 255     predicted   0 1 1 2
//              2 2 1 0                   2 2 0 0
//              0 255 2 1                 0 0 1 1
//
// class   correct   predicted   true   IoU    accuracy
//   0        3          4         4    3/5      3/4
//   1        2          4         3    2/5      2/3
//   2        2          2         3    2/3      2/3
const cv::Mat_<uint8_t> kTruth =
    (cv::Mat_<uint8_t>(3, 4) << 0, 0, 1, 255, 2, 2, 1, 0, 0, 255, 2, 1);
const cv::Mat_<uint8_t> kFound = (cv::Mat_<uint8_t>(3, 4) << 0, 1, 1, 2, 2, 2, 0, 0, 0, 0, 1, 1);

cv::Mat wide(const cv::Mat& labels) {
  cv::Mat result;
  labels.convertTo(result, CV_16U);
  return result;
}

void expect_known(const LabelScores& scores) {
  ASSERT_EQ(scores.iou.size(), 3u);
  EXPECT_DOUBLE_EQ(scores.iou[0], 3 / 5.0);
  EXPECT_DOUBLE_EQ(scores.iou[1], 2 / 5.0);
  EXPECT_DOUBLE_EQ(scores.iou[2], 2 / 3.0);
  EXPECT_DOUBLE_EQ(scores.accuracy[0], 3 / 4.0);
  EXPECT_DOUBLE_EQ(scores.accuracy[1], 2 / 3.0);
  EXPECT_DOUBLE_EQ(scores.accuracy[2], 2 / 3.0);
  EXPECT_DOUBLE_EQ(scores.mean_iou, (3 / 5.0 + 2 / 5.0 + 2 / 3.0) / 3);
  EXPECT_DOUBLE_EQ(scores.mean_accuracy, (3 / 4.0 + 2 / 3.0 + 2 / 3.0) / 3);
  EXPECT_DOUBLE_EQ(scores.pixel_accuracy, 7 / 10.0);
}

// Transcribed from the definition: sets of pixels, class by class.
double reference_iou(const cv::Mat& found, const cv::Mat& truth, int label, int ignore) {
  int64_t both = 0, either = 0;
  for (int i = 0; i < static_cast<int>(truth.total()); ++i) {
    if (truth.at<uint16_t>(i) == ignore) continue;
    const bool is_found = found.at<uint16_t>(i) == label, is_true = truth.at<uint16_t>(i) == label;
    both += is_found && is_true;
    either += is_found || is_true;
  }
  return either == 0 ? std::nan("") : static_cast<double>(both) / static_cast<double>(either);
}

TEST(LabelMetrics, EqualACaseByHandInAllTypes) {
  for (const cv::Mat& truth : {cv::Mat(kTruth), wide(kTruth)}) {
    for (const cv::Mat& found : {cv::Mat(kFound), wide(kFound)}) {
      LabelMetrics metrics(3);
      metrics.add(found, truth);
      expect_known(metrics.scores());
      EXPECT_EQ(metrics.pixels(), 10);
      EXPECT_EQ(metrics.foreign_pixels(), 0);
    }
  }
}

TEST(LabelMetrics, SumOverImagesAndMerge) {
  LabelMetrics left(3), right(3);
  left.add(kFound.colRange(0, 1), kTruth.colRange(0, 1));  // parts of rows: not contiguous
  left.add(kFound.colRange(1, 3), kTruth.colRange(1, 3));
  right.add(kFound.colRange(3, 4), kTruth.colRange(3, 4));
  right.add(cv::Mat(), cv::Mat(0, 0, CV_8UC1));
  left.merge(right);
  expect_known(left.scores());
  EXPECT_EQ(left.pixels(), 10);
  LabelMetrics copy(3);
  copy.set_counts(left.counts());
  expect_known(copy.scores());
  EXPECT_EQ(copy.counts(), left.counts());
  EXPECT_EQ(copy.pixels(), 10);
  EXPECT_THROW(left.set_counts(LabelMetrics(4).counts()), Error);
  EXPECT_THROW(left.merge(LabelMetrics(4)), Error);
  EXPECT_THROW(left.merge(LabelMetrics(3, 0)), Error);
}

TEST(LabelMetrics, LeaveOutClassesThatAreNowhere) {
  LabelMetrics metrics(5);
  metrics.add(cv::Mat(2, 3, CV_8UC1, cv::Scalar(1)), cv::Mat(2, 3, CV_8UC1, cv::Scalar(3)));
  const LabelScores scores = metrics.scores();
  EXPECT_TRUE(std::isnan(scores.iou[0]));
  EXPECT_EQ(scores.iou[1], 0);
  EXPECT_TRUE(std::isnan(scores.accuracy[1]));  // predicted, never true
  EXPECT_EQ(scores.iou[3], 0);
  EXPECT_EQ(scores.accuracy[3], 0);
  EXPECT_EQ(scores.mean_iou, 0);
  EXPECT_TRUE(std::isnan(LabelMetrics(2).scores().mean_iou));
  EXPECT_TRUE(std::isnan(LabelMetrics(2).scores().pixel_accuracy));
}

TEST(LabelMetrics, LabelsOfNoClassAreWrongForTheOtherSide) {
  const cv::Mat truth = (cv::Mat_<uint8_t>(1, 4) << 0, 1, 200, 200);
  const cv::Mat found = (cv::Mat_<uint8_t>(1, 4) << 0, 255, 0, 200);
  LabelMetrics metrics(2);
  metrics.add(found, truth);
  EXPECT_EQ(metrics.pixels(), 4);
  EXPECT_EQ(metrics.foreign_pixels(), 2);
  const LabelScores scores = metrics.scores();
  EXPECT_DOUBLE_EQ(scores.iou[0], 1 / 2.0);
  EXPECT_DOUBLE_EQ(scores.iou[1], 0);
  EXPECT_DOUBLE_EQ(scores.accuracy[0], 1);
  EXPECT_DOUBLE_EQ(scores.pixel_accuracy, 1 / 2.0);
}

TEST(LabelMetrics, EqualTheDefinitionOnRandomMaps) {
  std::mt19937 random(5);
  for (const int ignore : {255, 0, 7, 65535, -1}) {
    const int classes = 1 + static_cast<int>(random() % 300);
    LabelMetrics metrics(classes, ignore);
    cv::Mat found(1, 211 * 13, CV_16UC1), truth(1, 211 * 13, CV_16UC1);
    for (cv::Mat* map : {&found, &truth}) {
      for (uint16_t& label : cv::Mat_<uint16_t>(*map)) {
        label = static_cast<uint16_t>(random() % (random() % 3 == 0 ? classes + 20 : 3));
      }
    }
    metrics.add(found, truth);
    const LabelScores scores = metrics.scores();
    for (int label = 0; label < classes; ++label) {
      const double expected = reference_iou(found, truth, label, ignore);
      ASSERT_EQ(std::isnan(scores.iou[label]), std::isnan(expected)) << label;
      if (std::isnan(expected)) continue;
      ASSERT_DOUBLE_EQ(scores.iou[label], expected);
    }
  }
}

TEST(LabelMetrics, RefuseWhatIsNoPairOfLabelMaps) {
  LabelMetrics metrics(3);
  EXPECT_THROW(metrics.add(kFound, kTruth.colRange(0, 3)), Error);
  EXPECT_THROW(metrics.add(cv::Mat(3, 4, CV_8UC3), kTruth), Error);
  EXPECT_THROW(metrics.add(kFound, cv::Mat(3, 4, CV_32SC1)), Error);
  EXPECT_THROW(LabelMetrics(0), Error);
  EXPECT_THROW(LabelMetrics(65537), Error);
}

TEST(ReduceZeroLabel, MakesTheFirstClassZero) {
  const cv::Mat labels = (cv::Mat_<uint8_t>(1, 5) << 0, 1, 150, 254, 255);
  const cv::Mat expected = (cv::Mat_<uint8_t>(1, 5) << 255, 0, 149, 253, 255);
  EXPECT_EQ(cv::countNonZero(reduce_zero_label(labels) != expected), 0);
  EXPECT_EQ(cv::countNonZero(reduce_zero_label(wide(labels)) != wide(expected)), 0);
  EXPECT_EQ(labels.at<uint8_t>(0), 0);
  const cv::Mat far = reduce_zero_label(labels, 300);  // for which 8 bits have no room
  EXPECT_EQ(cv::countNonZero(far != (cv::Mat_<uint16_t>(1, 5) << 300, 0, 149, 253, 254)), 0);
  EXPECT_THROW(reduce_zero_label(cv::Mat(2, 2, CV_8UC3)), Error);
}

}  // namespace
}  // namespace hornet
