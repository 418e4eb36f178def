// Images, boxes and masks under random scale, crop and flip; pasted objects and what they hide.
#include <gtest/gtest.h>
#include <hornet/training/detection_augment.h>

#include <opencv2/imgproc.hpp>
#include <set>

namespace hornet {
namespace {

const cv::Scalar kMean(104, 116, 124);

// A rectangle of the image with a mask of all its pixels.
AnnotatedObject solid(int label, const cv::Rect& box) {
  return {label, cv::Rect2d(box), MaskCrop{box, cv::Mat::ones(box.size(), CV_8UC1)}, false};
}

AnnotatedObject only_box(int label, const cv::Rect& box) {
  return {label, cv::Rect2d(box), std::nullopt, false};
}

AnnotatedObject crowd(const cv::Rect& box) { return {0, cv::Rect2d(box), std::nullopt, true}; }

// Each object in its own colour, on black.
cv::Scalar colour_of(int label) { return {250, 40.0 + 60 * label, 250.0 - 60 * label}; }

AnnotatedImage drawn(cv::Size size, std::vector<AnnotatedObject> objects) {
  AnnotatedImage image{cv::Mat(size, CV_8UC3, cv::Scalar::all(0)), std::move(objects)};
  for (const AnnotatedObject& object : image.objects) {
    image.bgr(cv::Rect(object.box)).setTo(colour_of(object.label));
  }
  return image;
}

// Every pixel says where it is, in green and red.
AnnotatedImage positions(cv::Size size, std::vector<AnnotatedObject> objects) {
  AnnotatedImage image{cv::Mat(size, CV_8UC3), std::move(objects)};
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) {
      image.bgr.at<cv::Vec3b>(y, x) = {0, static_cast<uint8_t>(x), static_cast<uint8_t>(y)};
    }
  }
  return image;
}

DetectionAugment only_crop(cv::Size crop) {
  DetectionAugment options;
  options.crop = crop;
  options.min_scale = options.max_scale = 1;
  options.flip = options.recolour = false;
  return options;
}

cv::Mat canvas_of(const AnnotatedObject& object, cv::Size size) {
  cv::Mat canvas = cv::Mat::zeros(size, CV_8UC1);
  if (object.mask && !object.mask->region.empty()) {
    object.mask->pixels.copyTo(canvas(object.mask->region));
  }
  return canvas != 0;
}

// Where an object makes up at least half of the colour: all have the same blue, on none.
cv::Mat pixels_of(int label, const cv::Mat& bgr) {
  const cv::Scalar colour = colour_of(label);
  cv::Mat found = cv::Mat::zeros(bgr.size(), CV_8UC1);
  for (int y = 0; y < bgr.rows; ++y) {
    for (int x = 0; x < bgr.cols; ++x) {
      const cv::Vec3b pixel = bgr.at<cv::Vec3b>(y, x);
      const double share = pixel[0] / colour[0];
      const double off =
          std::abs(pixel[1] - share * colour[1]) + std::abs(pixel[2] - share * colour[2]);
      if (share >= 0.5 && off < 20) found.at<uint8_t>(y, x) = 255;
    }
  }
  return found;
}

double overlap(const cv::Mat& a, const cv::Mat& b) {
  return static_cast<double>(cv::countNonZero(a & b)) / std::max(1, cv::countNonZero(a | b));
}

bool equal(const cv::Mat& a, const cv::Mat& b) {
  return a.size() == b.size() && a.type() == b.type() &&
         (a.empty() || cv::norm(a, b, cv::NORM_INF) == 0);
}

void expect_box(const cv::Rect2d& box, const cv::Rect2d& expected, double tolerance = 1e-9) {
  EXPECT_NEAR(box.x, expected.x, tolerance);
  EXPECT_NEAR(box.y, expected.y, tolerance);
  EXPECT_NEAR(box.x + box.width, expected.x + expected.width, tolerance);
  EXPECT_NEAR(box.y + box.height, expected.y + expected.height, tolerance);
}

void expect_same(const AnnotatedImage& a, const AnnotatedImage& b) {
  EXPECT_TRUE(equal(a.bgr, b.bgr));
  ASSERT_EQ(a.objects.size(), b.objects.size());
  for (size_t i = 0; i < a.objects.size(); ++i) {
    EXPECT_EQ(a.objects[i].label, b.objects[i].label);
    EXPECT_EQ(a.objects[i].box, b.objects[i].box);
    EXPECT_EQ(a.objects[i].ignored, b.objects[i].ignored);
    EXPECT_TRUE(
        equal(canvas_of(a.objects[i], a.bgr.size()), canvas_of(b.objects[i], b.bgr.size())));
  }
}

TEST(DetectionAugment, ACropShiftsBoxesAndMasks) {
  const cv::Rect box(40, 20, 20, 30);
  const AnnotatedImage image = positions({101, 67}, {solid(1, box)});
  DetectionAugment options = only_crop({48, 40});
  options.least_visible = 0;
  int cut = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    const AnnotatedImage crop = augment(image, options, random);
    const cv::Vec3b corner = crop.bgr.at<cv::Vec3b>(0, 0);
    const cv::Rect where(corner[1], corner[2], 48, 40);
    ASSERT_TRUE(equal(crop.bgr, image.bgr(where)));
    if ((box & where).empty()) {
      EXPECT_TRUE(crop.objects.empty());
      continue;
    }
    cut += (box & where) != box;
    ASSERT_EQ(crop.objects.size(), 1);
    const AnnotatedObject& object = crop.objects[0];
    const cv::Rect expected = (box & where) - where.tl();
    EXPECT_EQ(object.box, cv::Rect2d(expected));
    EXPECT_EQ(object.label, 1);
    const bool tiny = expected.width < 2 || expected.height < 2 || expected.area() < 8;
    EXPECT_EQ(object.ignored, tiny);
    EXPECT_EQ(object.mask.has_value(), !tiny);
    if (tiny) continue;
    cv::Mat mask = cv::Mat::zeros(crop.bgr.size(), CV_8UC1);
    mask(expected) = 255;
    EXPECT_TRUE(equal(canvas_of(object, crop.bgr.size()), mask));
  }
  EXPECT_GT(cut, 10);
}

TEST(DetectionAugment, AFlipMirrorsBoxesAndMasks) {
  const cv::Rect box(4, 10, 20, 8);
  const AnnotatedImage image = positions({64, 40}, {solid(0, box)});
  DetectionAugment options = only_crop({64, 40});
  options.flip = true;
  int flipped = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    const AnnotatedImage crop = augment(image, options, random);
    const bool mirrored = crop.bgr.at<cv::Vec3b>(0, 0)[1] != 0;
    const cv::Rect expected = mirrored ? cv::Rect(40, 10, 20, 8) : box;
    flipped += mirrored;
    EXPECT_EQ(crop.objects.at(0).box, cv::Rect2d(expected));
    EXPECT_EQ(cv::boundingRect(canvas_of(crop.objects[0], {64, 40})), expected);
  }
  EXPECT_GT(flipped, 3);
  EXPECT_LT(flipped, 17);
}

TEST(DetectionAugment, AScaleScalesBoxesAndMasks) {
  const AnnotatedImage image = drawn({60, 40}, {solid(0, {10, 8, 21, 15})});
  DetectionAugment options = only_crop({120, 80});
  options.min_scale = options.max_scale = 2;
  Random random(1);
  const AnnotatedImage twice = augment(image, options, random);
  EXPECT_EQ(twice.objects.at(0).box, cv::Rect2d(20, 16, 42, 30));
  EXPECT_EQ(cv::boundingRect(canvas_of(twice.objects[0], {120, 80})), cv::Rect(20, 16, 42, 30));
  options.min_scale = options.max_scale = 1;
  options.crop = {30, 20};
  options.box = cv::Size(30, 30);
  options.least_visible = 0.7;
  const AnnotatedImage half = augment(image, options, random);
  EXPECT_FALSE(half.objects.at(0).ignored);  // all that there is at this scale
  EXPECT_EQ(half.objects.at(0).box, cv::Rect2d(5, 4, 10.5, 7.5));
}

// The pixels of an object's colour, its mask and its box all say the same.
TEST(DetectionAugment, BoxesMasksAndPixelsAgree) {
  const cv::Size crop(96, 80);
  const AnnotatedImage image =
      drawn({150, 110},
            {solid(0, {10, 20, 40, 33}), solid(1, {70, 5, 25, 60}), solid(2, {60, 70, 81, 35})});
  DetectionAugment options;
  options.crop = crop;
  options.recolour = false;
  options.aspect = 0.12;
  int compared = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed);
    if (seed % 2 == 1) options.object_height = {20, 60};
    const AnnotatedImage out = augment(image, options, random);
    ASSERT_EQ(out.bgr.size(), crop);
    for (const AnnotatedObject& object : out.objects) {
      if (object.ignored || object.box.area() < 200) continue;
      const cv::Mat mask = canvas_of(object, crop);
      EXPECT_GT(overlap(mask, pixels_of(object.label, out.bgr)), 0.95) << seed;
      expect_box(cv::Rect2d(cv::boundingRect(mask)), object.box, 1);
      ++compared;
    }
  }
  EXPECT_GT(compared, 200);
}

TEST(DetectionAugment, CropsShowAnObjectAtTheHeightAskedFor) {
  const AnnotatedImage image =
      drawn({400, 300}, {only_box(0, {300, 40, 30, 60}), crowd({0, 0, 9, 9})});
  DetectionAugment options;
  options.crop = {128, 128};
  options.object_height = {30, 90};
  std::set<int> heights, places;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    const AnnotatedImage out = augment(image, options, random);
    ASSERT_FALSE(out.objects.empty());
    const AnnotatedObject& object = out.objects[0];
    EXPECT_GT(object.box.height, 29.5);
    EXPECT_LT(object.box.height, 90.5);
    EXPECT_NEAR(object.box.width / object.box.height, 0.5, 0.02);  // all of it is in the crop
    EXPECT_FALSE(object.ignored);
    heights.insert(cvRound(object.box.height / 10));
    places.insert(cvRound(object.box.x / 10));
  }
  EXPECT_GE(heights.size(), 6);
  EXPECT_GE(places.size(), 5);
}

TEST(DetectionAugment, ScalesForObjectsStayWithinBounds) {
  DetectionAugment options = only_crop({64, 64});
  options.object_height = {50, 60};
  Random random(1);
  const AnnotatedImage small =
      augment(drawn({64, 64}, {only_box(0, {30, 30, 5, 5})}), options, random);
  EXPECT_EQ(small.objects.at(0).box.height, 20);  // four times
  options.object_height = {4, 5};
  const AnnotatedImage large =
      augment(drawn({640, 640}, {only_box(0, {20, 20, 600, 600})}), options, random);
  EXPECT_NEAR(large.objects.at(0).box.height, 60, 1e-9);  // a tenth
  options.least_side = 0.5;
  const AnnotatedImage half =
      augment(drawn({128, 64}, {only_box(0, {4, 4, 120, 40})}), options, random);
  EXPECT_NEAR(half.objects.at(0).box.width, 30, 1e-9);  // 128 pixels become 32
  options.object_height = {100, 100};                   // larger than the crop: filled by it
  const AnnotatedImage filled =
      augment(drawn({200, 200}, {only_box(0, {50, 50, 100, 100})}), options, random);
  expect_box(filled.objects.at(0).box, {0, 0, 64, 64});
}

TEST(DetectionAugment, WhatIsHardlyVisibleIsIgnored) {
  const AnnotatedImage image =
      drawn({100, 40}, {solid(0, {0, 0, 100, 20}), only_box(1, {0, 20, 40, 9}),
                        solid(2, {90, 30, 1, 9}), only_box(2, {95, 30, 3, 2})});
  DetectionAugment options = only_crop({100, 40});
  Random random(1);
  const auto all = augment(image, options, random).objects;
  ASSERT_EQ(all.size(), 4);
  EXPECT_FALSE(all[0].ignored);
  EXPECT_FALSE(all[1].ignored);
  EXPECT_TRUE(all[2].ignored);  // one pixel wide
  EXPECT_FALSE(all[2].mask);
  EXPECT_TRUE(all[3].ignored);  // six pixels
  options.crop = {20, 40};
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random draws(seed);
    const auto objects = augment(image, options, draws).objects;
    EXPECT_TRUE(objects[0].ignored);  // a fifth of it
    EXPECT_FALSE(objects[0].mask);
    EXPECT_EQ(objects[0].box, cv::Rect2d(0, 0, 20, 20));
    if (objects.size() < 2 || objects[1].label != 1) continue;
    EXPECT_EQ(objects[1].ignored, objects[1].box.width < 10);
  }
}

TEST(DetectionAugment, VisibilityCountsTheMasksPixels) {
  AnnotatedObject object = solid(0, {0, 0, 100, 20});
  object.mask = MaskCrop{{0, 0, 20, 20}, cv::Mat::ones(20, 20, CV_8UC1)};  // all at the left
  const AnnotatedImage image = positions({100, 20}, {object});
  DetectionAugment options = only_crop({20, 20});
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    const AnnotatedImage out = augment(image, options, random);
    const int left = out.bgr.at<cv::Vec3b>(0, 0)[1];
    EXPECT_EQ(out.objects.at(0).ignored, left > 15) << left;
  }
}

TEST(DetectionAugment, WhatTheImageDoesNotCoverHasTheMeanColour) {
  const AnnotatedImage image = drawn({20, 30}, {solid(0, {0, 0, 20, 30})});
  DetectionAugment options = only_crop({48, 40});
  options.recolour = options.flip = options.degrade = true;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    Random random(seed);
    const AnnotatedImage out = augment(image, options, random);
    const cv::Rect covered(out.objects.at(0).box);
    EXPECT_EQ(covered.size(), cv::Size(20, 30));
    cv::Mat outside = out.bgr.clone();
    outside(covered) = kMean;
    EXPECT_TRUE(equal(outside, cv::Mat(outside.size(), CV_8UC3, kMean)));
  }
}

TEST(DetectionAugment, SomeCropsAreDegraded) {
  const AnnotatedImage image = positions({64, 64}, {});
  DetectionAugment options = only_crop({64, 64});
  options.degrade = true;
  int changed = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    const cv::Mat bgr = augment(image, options, random).bgr;
    changed += !equal(bgr, image.bgr);
    EXPECT_LT(cv::norm(bgr, image.bgr, cv::NORM_L1) / (64 * 64 * 3), 20);
  }
  EXPECT_GT(changed, 15);  // of 29 that are expected
  EXPECT_LT(changed, 45);
}

TEST(DetectionAugment, ImagesWithoutObjectsAreFine) {
  DetectionAugment options;
  options.crop = {32, 32};
  options.object_height = {10, 20};
  options.degrade = true;
  Random random(3);
  const AnnotatedImage out = augment(positions({90, 70}, {}), options, random);
  EXPECT_EQ(out.bgr.size(), options.crop);
  EXPECT_TRUE(out.objects.empty());
}

TEST(DetectionAugment, CrowdsAreIgnoredOrGrey) {
  AnnotatedObject masked = crowd({30, 30, 20, 20});
  masked.mask = MaskCrop{{30, 30, 20, 10}, cv::Mat::ones(10, 20, CV_8UC1)};
  const AnnotatedImage image =
      drawn({64, 64}, {solid(1, {10, 10, 10, 10}), crowd({5, 5, 20, 10}), masked});
  DetectionAugment options = only_crop({64, 64});
  Random random(1);
  const AnnotatedImage kept = augment(image, options, random);
  ASSERT_EQ(kept.objects.size(), 3);
  EXPECT_TRUE(equal(kept.bgr, image.bgr));
  EXPECT_EQ(kept.objects[2].box, cv::Rect2d(30, 30, 20, 20));
  EXPECT_TRUE(kept.objects[2].ignored);
  EXPECT_FALSE(kept.objects[2].mask);

  options.grey_crowds = true;
  const AnnotatedImage grey = augment(image, options, random);
  ASSERT_EQ(grey.objects.size(), 1);
  cv::Mat expected = image.bgr.clone();
  expected(cv::Rect(5, 5, 20, 10)) = kMean;
  image.bgr(cv::Rect(10, 10, 10, 10)).copyTo(expected(cv::Rect(10, 10, 10, 10)));
  expected(cv::Rect(30, 30, 20, 10)) = kMean;
  EXPECT_TRUE(equal(grey.bgr, expected));
}

TEST(DetectionAugment, FollowsFromTheGenerator) {
  const AnnotatedImage image =
      drawn({90, 70}, {solid(0, {10, 10, 30, 40}), only_box(1, {50, 20, 20, 20})});
  const AnnotatedImage before = drawn({90, 70}, image.objects);
  DetectionAugment options;
  options.crop = {64, 64};
  options.degrade = true;
  options.paste = 0.7;
  options.pasted_height = {10, 40};
  const Donor donor = [&](Random&) { return image; };
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random first(seed), again(seed), other(seed + 1000);
    const AnnotatedImage out = augment(image, options, first, donor);
    expect_same(out, augment(image, options, again, donor));
    EXPECT_FALSE(equal(out.bgr, augment(image, options, other, donor).bgr));
  }
  expect_same(image, before);  // it only reads
}

// A donor of one object, nearly square, on a ground of its own colour: edges are those of the mask.
Donor donor_of(int label) {
  const AnnotatedImage image{cv::Mat(60, 60, CV_8UC3, colour_of(label)),
                             {solid(label, {10, 20, 20, 22})}};
  return [image](Random&) { return image; };
}

TEST(Paste, PastedObjectsHaveTheirPixelsMasksAndBoxes) {
  DetectionAugment options;
  options.recolour = false;
  options.most_pasted = 1;
  options.pasted_height = {20, 40};
  int cut = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    AnnotatedImage onto = drawn({100, 80}, {});
    Random random(seed);
    const cv::Mat pasted = paste(onto, donor_of(2), options, random);
    ASSERT_EQ(onto.objects.size(), 1);
    const AnnotatedObject& object = onto.objects[0];
    EXPECT_EQ(object.label, 2);
    ASSERT_TRUE(object.mask);
    const cv::Mat mask = canvas_of(object, onto.bgr.size());
    EXPECT_TRUE(equal(mask, pasted));
    EXPECT_GT(overlap(mask, pixels_of(2, onto.bgr)), 0.9) << seed;
    expect_box(cv::Rect2d(cv::boundingRect(mask)), object.box, 1);
    EXPECT_GT(object.box.height, 0.69 * 20 - 1);
    EXPECT_LT(object.box.height, 41);
    const cv::Rect2d& box = object.box;
    cut += box.x == 0 || box.y == 0 || box.x + box.width == 100 || box.y + box.height == 80;
  }
  EXPECT_GT(cut, 10);
  EXPECT_LT(cut, 55);
}

TEST(Paste, EdgesAreSoft) {
  DetectionAugment options = only_crop({100, 80});
  options.most_pasted = 1;
  options.pasted_height = {22, 22};
  AnnotatedImage onto = drawn({100, 80}, {});
  Random random(4);
  paste(onto, donor_of(0), options, random);
  std::set<int> blues;
  for (const auto& pixel : cv::Mat_<cv::Vec3b>(onto.bgr)) blues.insert(pixel[0]);
  EXPECT_GT(blues.size(), 2);
  EXPECT_EQ(*blues.begin(), 0);
  EXPECT_EQ(*blues.rbegin(), 250);
}

TEST(Paste, PutsTheNumberOfObjectsThatIsAskedFor) {
  DetectionAugment options;
  options.most_pasted = 3;
  options.pasted_height = {8, 12};
  std::set<size_t> counts;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    AnnotatedImage onto = drawn({200, 200}, {});
    Random random(seed);
    paste(onto, donor_of(1), options, random);
    counts.insert(onto.objects.size());
  }
  EXPECT_EQ(counts, (std::set<size_t>{1, 2, 3}));
  AnnotatedImage onto = drawn({50, 50}, {});
  Random random(1);
  const Donor none = [](Random&) { return drawn({50, 50}, {only_box(0, {1, 1, 30, 30})}); };
  EXPECT_EQ(cv::countNonZero(paste(onto, none, options, random)), 0);
  EXPECT_TRUE(onto.objects.empty());
}

TEST(Paste, HugeObjectsAreScaledIntoTheImage) {
  DetectionAugment options;
  options.most_pasted = 1;
  options.pasted_height = {1000, 1000};
  AnnotatedImage onto = drawn({30, 90}, {});
  Random random(1);
  paste(onto, donor_of(1), options, random);
  EXPECT_LE(onto.objects.at(0).box.width, 30);
}

// The objects below lose what is hidden; their boxes follow when more than half is gone.
TEST(Paste, HidesWhatIsBelow) {
  DetectionAugment options;
  options.recolour = false;
  options.most_pasted = 2;
  options.pasted_height = {30, 60};
  const cv::Rect below(30, 20, 40, 40);
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    AnnotatedImage onto = drawn({100, 80}, {solid(0, below), only_box(1, {30, 60, 40, 15})});
    Random random(seed);
    const cv::Mat pasted = paste(onto, donor_of(3), options, random);
    const double hidden = cv::countNonZero(pasted(below)) / 1600.0;
    const AnnotatedObject& object = onto.objects[0];
    EXPECT_EQ(object.ignored, hidden > 0.8) << hidden;
    EXPECT_EQ(object.mask.has_value(), hidden <= 0.8);
    if (object.mask) {
      const cv::Mat mask = canvas_of(object, onto.bgr.size());
      cv::Mat expected = cv::Mat::zeros(onto.bgr.size(), CV_8UC1);
      expected(below) = 255;
      expected.setTo(0, pasted);
      EXPECT_TRUE(equal(mask, expected));
      EXPECT_EQ(object.box, cv::Rect2d(hidden > 0.5 ? cv::boundingRect(mask) : below)) << hidden;
    }
    const double covered = cv::countNonZero(pasted(cv::Rect(30, 60, 40, 15))) / 600.0;
    EXPECT_EQ(onto.objects[1].ignored, covered > 0.6) << covered;
    EXPECT_EQ(onto.objects[1].box, cv::Rect2d(30, 60, 40, 15));
    seen.insert(object.ignored ? "ignored"
                : hidden > 0.5 ? "tight"
                : hidden > 0   ? "hidden"
                               : "free");
    if (onto.objects[1].ignored) seen.insert("covered");
  }
  EXPECT_EQ(seen.size(), 5);
}

TEST(Paste, LaterObjectsHideEarlierOnes) {
  DetectionAugment options;
  options.most_pasted = 6;
  options.pasted_height = {30, 60};
  for (uint64_t seed = 0; seed < 20; ++seed) {
    AnnotatedImage onto = drawn({80, 80}, {});
    Random random(seed);
    paste(onto, donor_of(3), options, random);
    cv::Mat taken = cv::Mat::zeros(onto.bgr.size(), CV_8UC1);
    for (const AnnotatedObject& object : onto.objects) {
      const cv::Mat mask = canvas_of(object, onto.bgr.size());
      EXPECT_EQ(cv::countNonZero(mask & taken), 0);
      taken |= mask;
    }
  }
}

TEST(Paste, IsPartOfAugmentation) {
  DetectionAugment options;
  options.crop = {80, 80};
  options.recolour = false;
  options.paste = 0.5;
  options.pasted_height = {20, 30};
  const AnnotatedImage image = drawn({40, 40}, {});
  int with = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    const AnnotatedImage out = augment(image, options, random, donor_of(1));
    with += !out.objects.empty();
    for (const AnnotatedObject& object : out.objects) {  // beyond the image, too
      if (!object.mask || cv::countNonZero(object.mask->pixels) < 300) continue;
      const cv::Mat found = pixels_of(1, out.bgr);
      EXPECT_GT(cv::countNonZero(found & canvas_of(object, out.bgr.size())), 150) << seed;
    }
  }
  EXPECT_GT(with, 15);
  EXPECT_LT(with, 45);
}

}  // namespace
}  // namespace hornet
