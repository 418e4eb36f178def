// Lists, label rules, the cache, class weights.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/training/samples.h>

#include <opencv2/imgcodecs.hpp>

#include "tests/pipelines/temporary_folder.h"
#include "tests/training/scenes.h"

namespace hornet {
namespace {

using testing::expect_contains;
using testing::kSceneIgnore;

class Samples : public TemporaryFolder {
 protected:
  std::string sample_error(const LabelledImages& images, size_t index) {
    return testing::error_of([&] { images.read(index); }, ErrorCode::kInput);
  }
};

TEST_F(Samples, AreReadOnceWhileThereIsRoom) {
  const auto list = read_sample_list(testing::write_scenes(path(""), 2, {40, 32}));
  const int64_t bytes = 40 * 32 * 4;
  const LabelledImages images(list, {3, kSceneIgnore}, bytes + bytes / 2);
  const LabelledImage first = images.read(0), second = images.read(1);
  EXPECT_EQ(cv::norm(first.labels, testing::scene_with_labels({40, 32}, 0).labels, cv::NORM_INF),
            0);
  std::filesystem::remove(path("0.png"));
  std::filesystem::remove(path("1.png"));
  EXPECT_EQ(images.read(0).bgr.data, first.bgr.data);
  expect_contains(sample_error(images, 1), "1.png: no such file");
}

TEST_F(Samples, LabelsMustBeClassesOfTheImagesPixels) {
  const auto list = read_sample_list(testing::write_scenes(path(""), 3, {40, 32}));
  const LabelledImages strict(list, {3, 255}, 0);
  expect_contains(sample_error(strict, 0), "0_labels.png: has label 9, expected 0 to 2");
  const LabelledImages images(list, {3, kSceneIgnore}, 0);
  cv::imwrite(path("0_labels.png").string(), cv::Mat::zeros(32, 41, CV_8UC1));
  expect_contains(sample_error(images, 0), "labels 41x32 pixels, but its image has 40x32");
  cv::imwrite(path("1_labels.png").string(), cv::Mat::zeros(32, 40, CV_8UC3));
  expect_contains(sample_error(images, 1), "one band");
  write_file(path("2.png"), "no image");
  expect_contains(sample_error(images, 2), "2.png");
  cv::imwrite(path("0_labels.png").string(), cv::Mat(32, 40, CV_16UC1, cv::Scalar(300)));
  EXPECT_EQ(LabelledImages(list, {301, 9999}, 0).read(0).labels.at<uint16_t>(3, 3), 300);
}

TEST_F(Samples, LabelsMayCountFromOne) {
  const auto list = read_sample_list(testing::write_scenes(path(""), 1, {40, 32}));
  const LabelledImages images(list, {9, 255, /*reduce_zero=*/true}, 0);
  const cv::Mat labels = images.read(0).labels,
                stored = testing::scene_with_labels({40, 32}, 0).labels;
  EXPECT_EQ(cv::countNonZero(labels == 255), cv::countNonZero(stored == 0));
  EXPECT_EQ(cv::countNonZero(labels == 0), cv::countNonZero(stored == 1));
  EXPECT_EQ(cv::countNonZero(labels == 8), cv::countNonZero(stored == 9));
}

TEST_F(Samples, AnIgnoredLabelOf16BitsFindsRoom) {
  const auto list = read_sample_list(testing::write_scenes(path(""), 1, {40, 32}));
  const cv::Mat labels = LabelledImages(list, {9, 65535, /*reduce_zero=*/true}, 0).read(0).labels,
                stored = testing::scene_with_labels({40, 32}, 0).labels;
  ASSERT_EQ(labels.depth(), CV_16U);
  EXPECT_EQ(cv::countNonZero(labels == 65535), cv::countNonZero(stored == 0));
  EXPECT_EQ(LabelledImages(list, {256, 300}, 0).read(0).labels.depth(), CV_16U);
}

TEST(BalancedWeights, AreThoseOfENetWithAMeanOfOne) {
  const auto weights = balanced_weights({900, 100, 0});
  const double common = 1 / std::log(1.92), rare = 1 / std::log(1.12);
  const double mean = 0.9 * common + 0.1 * rare;
  EXPECT_NEAR(weights[0], common / mean, 1e-12);
  EXPECT_NEAR(weights[1], rare / mean, 1e-12);
  EXPECT_EQ(weights[2], 0);
  EXPECT_EQ(balanced_weights({0, 0}), (std::vector<double>{0, 0}));
  const auto milder = balanced_weights({900, 100, 0}, 0.5);
  EXPECT_NEAR(milder[1] / milder[0], std::sqrt(rare / common), 1e-12);
  EXPECT_NEAR(0.9 * milder[0] + 0.1 * milder[1], 1, 1e-12);
  EXPECT_EQ(milder[2], 0);
}

TEST_F(Samples, ClassFoldersAreSorted) {
  for (const char* name : {"train/dog/1.jpg", "train/dog/0.PNG", "train/cat/9.webp",
                           "train/cat/notes.txt", "train/readme"}) {
    std::filesystem::create_directories(path(name).parent_path());
    write_file(path(name), "");
  }
  const auto classes = read_class_folders(path("train"));
  ASSERT_EQ(classes.size(), 2);
  EXPECT_EQ(classes[0].name, "cat");
  EXPECT_EQ(classes[0].images.size(), 1);
  EXPECT_EQ(classes[1].images[0].filename(), "0.PNG");
  std::filesystem::create_directories(path("train/eel"));
  EXPECT_THROW(read_class_folders(path("train")), Error);
  EXPECT_THROW(read_class_folders(path("train/dog")), Error);
  EXPECT_THROW(read_class_folders(path("none")), Error);
}

}  // namespace
}  // namespace hornet
