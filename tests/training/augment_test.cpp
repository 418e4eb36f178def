// Images and label maps under random scale, crop, flip and colours.
#include <gtest/gtest.h>
#include <hornet/training/augment.h>

#include <opencv2/imgproc.hpp>

namespace hornet {
namespace {

constexpr int kIgnore = 255;

// Every pixel says where it is, in the image's green and red and in the label.
LabelledImage positions(cv::Size size) {
  LabelledImage sample{cv::Mat(size, CV_8UC3), cv::Mat(size, CV_8UC1)};
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) {
      sample.bgr.at<cv::Vec3b>(y, x) = {0, static_cast<uint8_t>(x), static_cast<uint8_t>(y)};
      sample.labels.at<uint8_t>(y, x) = static_cast<uint8_t>((x / 4 + y / 4) % 3);
    }
  }
  return sample;
}

AugmentOptions only_crop(cv::Size crop) {
  AugmentOptions options;
  options.crop = crop;
  options.min_scale = options.max_scale = 1;
  options.flip = options.recolour = false;
  return options;
}

bool equal(const cv::Mat& a, const cv::Mat& b) {
  return a.size() == b.size() && a.type() == b.type() && cv::norm(a, b, cv::NORM_INF) == 0;
}

TEST(Augment, ACropIsAPartOfTheImage) {
  const LabelledImage sample = positions({101, 67});
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    const LabelledImage crop = augment(sample, only_crop({32, 48}), kIgnore, random);
    const cv::Vec3b corner = crop.bgr.at<cv::Vec3b>(0, 0);
    const cv::Rect where(corner[1], corner[2], 32, 48);
    ASSERT_EQ(where & cv::Rect({0, 0}, sample.bgr.size()), where);
    EXPECT_TRUE(equal(crop.bgr, sample.bgr(where)));
    EXPECT_TRUE(equal(crop.labels, sample.labels(where)));
  }
}

TEST(Augment, AFlipMirrorsImageAndLabelsAlike) {
  const LabelledImage sample = positions({64, 40});
  AugmentOptions options = only_crop({64, 40});
  options.flip = true;
  int flipped = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Random random(seed);
    const LabelledImage crop = augment(sample, options, kIgnore, random);
    if (crop.bgr.at<cv::Vec3b>(0, 0)[1] == 0) {
      EXPECT_TRUE(equal(crop.bgr, sample.bgr));
      continue;
    }
    ++flipped;
    cv::Mat image, labels;
    cv::flip(sample.bgr, image, 1);
    cv::flip(sample.labels, labels, 1);
    EXPECT_TRUE(equal(crop.bgr, image));
    EXPECT_TRUE(equal(crop.labels, labels));
  }
  EXPECT_GT(flipped, 10);
  EXPECT_LT(flipped, 30);
}

TEST(Augment, WhatTheImageDoesNotCoverHasNoClass) {
  const LabelledImage sample = positions({20, 30});
  AugmentOptions options = only_crop({48, 40});
  options.recolour = options.flip = true;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    Random random(seed);
    const LabelledImage crop = augment(sample, options, kIgnore, random);
    const cv::Mat outside = crop.labels == kIgnore;
    EXPECT_EQ(cv::countNonZero(outside), 48 * 40 - 20 * 30);
    cv::Mat colours;
    crop.bgr.copyTo(colours, outside);
    colours.setTo(cv::Scalar(104, 116, 124), crop.labels != kIgnore);
    EXPECT_EQ(cv::norm(colours, cv::Mat(crop.bgr.size(), CV_8UC3, cv::Scalar(104, 116, 124)),
                       cv::NORM_INF),
              0);
  }
}

TEST(Augment, ScalesImageAndLabelsTogether) {
  const LabelledImage sample = positions({60, 60});
  AugmentOptions options = only_crop({120, 120});
  options.min_scale = options.max_scale = 2;
  Random random(1);
  const LabelledImage crop = augment(sample, options, kIgnore, random);
  for (int y = 2; y < 118; ++y) {
    for (int x = 2; x < 118; ++x) {
      const cv::Vec3b pixel = crop.bgr.at<cv::Vec3b>(y, x);
      EXPECT_NEAR(pixel[1], (x + 0.5) / 2 - 0.5, 0.51);
      EXPECT_NEAR(pixel[2], (y + 0.5) / 2 - 0.5, 0.51);
    }
  }
}

// Of a pixel in the middle between two, either.
bool has_label_near(const cv::Mat& labels, double x, double y, int label) {
  constexpr double kReach = 0.51;
  for (int row = cvCeil(y - kReach); row <= cvFloor(y + kReach); ++row) {
    for (int column = cvCeil(x - kReach); column <= cvFloor(x + kReach); ++column) {
      if (labels.at<uint8_t>(row, column) == label) return true;
    }
  }
  return false;
}

TEST(Augment, LabelsAreThoseOfTheNearestPixels) {
  LabelledImage sample = positions({60, 60});
  for (int y = 0; y < 60; ++y) {
    for (int x = 0; x < 60; ++x) sample.labels.at<uint8_t>(y, x) = (7 * x + 31 * y) % 250;
  }
  AugmentOptions options = only_crop({90, 90});
  options.min_scale = options.max_scale = 1.5;
  options.flip = true;
  int flipped = 0;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    Random random(seed);
    const LabelledImage crop = augment(sample, options, kIgnore, random);
    const bool flip = crop.bgr.at<cv::Vec3b>(0, 0)[1] > 30;
    flipped += flip;
    for (int y = 1; y < 89; ++y) {
      for (int x = 1; x < 89; ++x) {
        const int from_left = flip ? 89 - x : x;
        ASSERT_TRUE(has_label_near(sample.labels, (from_left + 0.5) / 1.5 - 0.5,
                                   (y + 0.5) / 1.5 - 0.5, crop.labels.at<uint8_t>(y, x)))
            << x << ' ' << y;
      }
    }
  }
  EXPECT_GT(flipped, 0);
  EXPECT_LT(flipped, 8);
}

TEST(Augment, ScalesIntoABoxFirst) {
  const LabelledImage sample = positions({80, 40});
  AugmentOptions options = only_crop({40, 20});
  options.box = cv::Size(40, 40);
  Random random(1);
  const LabelledImage crop = augment(sample, options, kIgnore, random);
  EXPECT_EQ(cv::countNonZero(crop.labels == kIgnore), 0);
  EXPECT_NEAR(crop.bgr.at<cv::Vec3b>(19, 39)[1], 78.5, 1);
}

TEST(Augment, AvoidsCropsOfOneClass) {
  LabelledImage sample{cv::Mat(200, 200, CV_8UC3, cv::Scalar::all(9)),
                       cv::Mat(200, 200, CV_16UC1, cv::Scalar(300))};
  sample.labels(cv::Rect(0, 0, 200, 60)) = 2;  // a crop of one class is four times as likely
  AugmentOptions options = only_crop({40, 40});
  int mixed = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Random random(seed);
    const cv::Mat labels = augment(sample, options, kIgnore, random).labels;
    const double share = cv::countNonZero(labels == 2) / 1600.0;
    mixed += share >= 0.25 && share <= 0.75;
  }
  EXPECT_GT(mixed, 20);
}

TEST(Augment, FollowsFromTheGenerator) {
  const LabelledImage sample = positions({90, 70});
  AugmentOptions options;
  options.crop = {64, 64};
  Random first(5), again(5), other(6);
  const LabelledImage a = augment(sample, options, kIgnore, first);
  const LabelledImage b = augment(sample, options, kIgnore, again);
  EXPECT_TRUE(equal(a.bgr, b.bgr));
  EXPECT_TRUE(equal(a.labels, b.labels));
  EXPECT_FALSE(equal(a.bgr, augment(sample, options, kIgnore, other).bgr));
  EXPECT_TRUE(equal(sample.bgr, positions({90, 70}).bgr));  // it only reads
}

TEST(Recolour, ChangesColoursWithinBounds) {
  const cv::Mat gray(8, 8, CV_8UC3, cv::Scalar::all(100));
  int changed = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    const cv::Mat out = recolour(gray, random);
    const cv::Vec3b pixel = out.at<cv::Vec3b>(3, 3);
    // (100 +- 32) x 0.5 to 1.5; gray has no saturation and no hue.
    EXPECT_GE(pixel[0], 33);
    EXPECT_LE(pixel[0], 199);
    EXPECT_LE(std::abs(pixel[0] - pixel[2]), 1);
    changed += pixel[0] != 100;
  }
  EXPECT_GT(changed, 30);
  EXPECT_LT(changed, 60);
}

TEST(AugmentForClassification, GivesTheCropsSize) {
  const cv::Mat image = positions({90, 31}).bgr;
  AugmentOptions options;
  options.crop = {48, 48};
  options.recolour = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    const cv::Mat out = augment_for_classification(image, options, random);
    EXPECT_EQ(out.size(), options.crop);
    Random again(seed);
    EXPECT_TRUE(equal(out, augment_for_classification(image, options, again)));
  }
}

}  // namespace
}  // namespace hornet
