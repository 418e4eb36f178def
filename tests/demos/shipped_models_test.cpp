// The models that are shipped: small, and used as they were trained without being told.
#include <gtest/gtest.h>
#include <hornet/pipelines/detector.h>
#include <hornet/pipelines/segmentor.h>

#include <filesystem>

namespace hornet {
namespace {

constexpr uintmax_t kLargest = 10'000'000;

std::filesystem::path shipped(const std::string& name) {
  return std::filesystem::path(HORNET_SHIPPED_MODELS) / name;
}

void expect_card_and_size(const std::string& name) {
  EXPECT_LE(std::filesystem::file_size(shipped(name + ".safetensors")), kLargest);
  EXPECT_TRUE(std::filesystem::is_regular_file(shipped(name + ".md")));
}

TEST(ShippedModels, PedestriansAreFoundAtTheSizeOfTheirTraining) {
  expect_card_and_size("pedestrians");
  Detector detect(shipped("pedestrians.safetensors"), {"cpu", "fp32"});
  EXPECT_EQ(detect.classes().names, std::vector<std::string>{"person"});
  EXPECT_EQ(detect.size(), cv::Size(512, 384));
  EXPECT_EQ(detect.architecture().neck->levels(), 4);
  EXPECT_TRUE(detect(cv::Mat(240, 320, CV_8UC3, cv::Scalar(90, 100, 110))).empty());
}

TEST(ShippedModels, StreetsAreSegmentedAsAWhole) {
  expect_card_and_size("street");
  Segmentor segment(shipped("street.safetensors"), {"cpu", "fp32"});
  EXPECT_TRUE(segment.takes_whole_images());
  EXPECT_EQ(segment.options().whole, true);
  EXPECT_EQ(segment.options().size, cv::Size(768, 576));
  EXPECT_EQ(segment.ignore_label(), 11);
  EXPECT_EQ(segment.palette().names,
            (std::vector<std::string>{"sky", "building", "pole", "road", "pavement", "tree", "sign",
                                      "fence", "car", "pedestrian", "bicyclist"}));
  // A bright upper and a dark lower half: not much of a street, but its sky is above, its road
  // below.
  constexpr int kSky = 0, kRoad = 3;
  cv::Mat image(360, 480, CV_8UC3, cv::Scalar(235, 220, 200));
  image.rowRange(180, 360).setTo(cv::Scalar(80, 80, 85));
  const cv::Mat labels = segment(image);
  ASSERT_EQ(labels.size(), image.size());
  const cv::Mat upper = labels.rowRange(0, 180), lower = labels.rowRange(180, 360);
  const auto share = [](const cv::Mat& part, int label) {
    return cv::countNonZero(part == label) / static_cast<double>(part.total());
  };
  EXPECT_GT(share(upper, kSky), 0.8);
  EXPECT_LT(share(upper, kRoad), 0.01);
  EXPECT_GT(share(lower, kRoad), 0.2);
  EXPECT_LT(share(lower, kSky), 0.5);
}

TEST(ShippedModels, StreetsOfAnotherSizeAreStillSegmentedAsAWhole) {
  SegmentorOptions options;
  options.size = cv::Size(320, 240);
  const Segmentor smaller(shipped("street.safetensors"), {"cpu", "fp32"}, options);
  EXPECT_EQ(smaller.options().whole, true);
  EXPECT_EQ(smaller.options().size, cv::Size(320, 240));
  options.size.reset();
  options.tile = 256;
  const Segmentor windows(shipped("street.safetensors"), {"cpu", "fp32"}, options);
  EXPECT_FALSE(windows.takes_whole_images());
}

}  // namespace
}  // namespace hornet
