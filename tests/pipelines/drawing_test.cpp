#include <gtest/gtest.h>
#include <hornet/pipelines/drawing.h>

#include <algorithm>
#include <opencv2/imgproc.hpp>

namespace hornet {
namespace {

Instance instance_at(cv::Rect box, int label = 0) {
  Instance instance;
  instance.box = cv::Rect2f(box);
  instance.score = 0.9f;
  instance.label = label;
  return instance;
}

// The rectangle outside of which `after` equals `before`.
cv::Rect changed(const cv::Mat& before, const cv::Mat& after) {
  cv::Mat points;
  cv::Mat difference;
  cv::absdiff(before, after, difference);
  cv::findNonZero(difference.reshape(1, 0).reshape(1, difference.rows) != 0, points);
  if (points.empty()) return {};
  const cv::Rect in_channels = cv::boundingRect(points);
  const int right = in_channels.br().x;
  return {cv::Point(in_channels.x / 3, in_channels.y),
          cv::Point((right + 2) / 3, in_channels.br().y)};
}

const cv::Mat& gray() {
  static const cv::Mat kGray(480, 640, CV_8UC3, cv::Scalar(90, 90, 90));
  return kGray;
}

const ClassTable& coco() {
  static const ClassTable kTable = ClassTable::from_names({}, 80);
  return kTable;
}

TEST(ClassColor, IsFarFromItsNeighbours) {
  for (int label = 0; label < 80; ++label) {
    for (int other = std::max(0, label - 4); other < label; ++other) {
      EXPECT_GT(cv::norm(class_color(label), class_color(other)), 60) << label << " " << other;
    }
  }
}

TEST(ClassColor, IsAColor) {
  for (int label = 0; label < 1000; ++label) {
    for (int channel = 0; channel < 3; ++channel) {
      EXPECT_GE(class_color(label)[channel], 0);
      EXPECT_LE(class_color(label)[channel], 255);
    }
  }
}

TEST(Draw, BlendsTheMaskAndNothingElse) {
  cv::Mat frame = gray().clone();
  Instance instance = instance_at({100, 100, 20, 30});
  instance.mask = {{100, 100, 20, 30}, cv::Mat::ones(30, 20, CV_8UC1)};
  instance.mask.pixels.row(0).setTo(0);
  DrawOptions options;
  options.mask_opacity = 0.5;
  options.outlines = options.boxes = options.labels = false;
  draw(frame, {instance}, coco(), options);
  EXPECT_EQ(changed(gray(), frame), cv::Rect(100, 101, 20, 29));
  const cv::Vec3b pixel = frame.at<cv::Vec3b>(110, 110);
  for (int channel = 0; channel < 3; ++channel) {
    EXPECT_NEAR(pixel[channel], (90 + class_color(0)[channel]) / 2, 1);
  }
}

TEST(Draw, DrawsABoxInTheColorOfItsClass) {
  cv::Mat frame = gray().clone();
  DrawOptions options;
  options.labels = false;
  draw(frame, {instance_at({50, 60, 40, 20}, 3)}, coco(), options);
  EXPECT_EQ(changed(gray(), frame), cv::Rect(49, 59, 43, 23));
  EXPECT_EQ(frame.at<cv::Vec3b>(70, 50), cv::Vec3b(cv::saturate_cast<uint8_t>(class_color(3)[0]),
                                                   cv::saturate_cast<uint8_t>(class_color(3)[1]),
                                                   cv::saturate_cast<uint8_t>(class_color(3)[2])));
}

// A frame is drawn inside a larger canvas: what the label needs must have room in the frame.
TEST(Draw, KeepsWholeLabelsInsideTheFrame) {
  const int label = 11;  // "stop sign"
  DrawOptions options;
  options.boxes = false;
  cv::Mat centre = gray().clone();
  draw(centre, {instance_at({300, 200, 40, 40}, label)}, coco(), options);
  const cv::Size whole = changed(gray(), centre).size();
  EXPECT_GT(whole.area(), 0);
  for (const cv::Point corner : {cv::Point(0, 0), cv::Point(-30, -20), cv::Point(635, 0),
                                 cv::Point(0, 478), cv::Point(635, 478), cv::Point(700, 500)}) {
    cv::Mat frame = gray().clone();
    draw(frame, {instance_at(cv::Rect(corner, cv::Size(40, 40)), label)}, coco(), options);
    EXPECT_EQ(changed(gray(), frame).size(), whole) << corner;
  }
}

TEST(Draw, LettersGrowWithTheFrame) {
  DrawOptions options;
  options.boxes = false;
  const auto label_height = [&](cv::Size size) {
    const cv::Mat before(size, CV_8UC3, cv::Scalar(90, 90, 90));
    cv::Mat frame = before.clone();
    draw(frame, {instance_at({size.width / 2, size.height / 2, 9, 9})}, coco(), options);
    return changed(before, frame).height;
  };
  const int small = label_height({640, 480});
  EXPECT_GE(small, 13);
  EXPECT_NEAR(label_height({3840, 2160}), 4.5 * small, small);
}

TEST(Draw, SurvivesTinyFramesAndMasksBeyondThem) {
  for (const cv::Size size : {cv::Size(1, 1), cv::Size(7, 5), cv::Size(64, 3)}) {
    cv::Mat frame(size, CV_8UC3, cv::Scalar::all(0));
    Instance instance = instance_at({-5, -5, 90, 90});
    instance.mask = {{0, 0, 80, 80}, cv::Mat::ones(80, 80, CV_8UC1)};
    draw(frame, {instance, instance_at({0, 0, 0, 0})}, coco());
    EXPECT_EQ(frame.size(), size);
  }
}

TEST(Draw, SizesLettersByTheReferenceSide) {
  DrawOptions options;
  options.boxes = false;
  options.reference_side = 1440;
  cv::Mat frame = gray().clone();
  draw(frame, {instance_at({300, 200, 40, 40})}, coco(), options);
  cv::Mat large(1440, 1440, CV_8UC3, cv::Scalar(90, 90, 90));
  const cv::Mat before = large.clone();
  options.reference_side = 0;
  draw(large, {instance_at({300, 200, 40, 40})}, coco(), options);
  EXPECT_EQ(changed(gray(), frame).size(), changed(before, large).size());
}

// Ellipses of all sizes, many of them across the borders of strips, from top to bottom.
std::vector<Instance> ellipses(cv::Size image, int count) {
  cv::RNG rng(5);
  std::vector<Instance> list;
  for (int i = 0; i < count; ++i) {
    const cv::Size size(rng.uniform(4, 120), rng.uniform(4, i % 5 == 0 ? 250 : 60));
    const int y = i * (image.height - 1) / (count - 1);
    const cv::Rect box = cv::Rect({rng.uniform(0, image.width), y}, size) & cv::Rect({}, image);
    Instance one = instance_at(box, i % 80);
    one.score = 0.2f + 0.001f * static_cast<float>(rng.uniform(0, 800));
    if (i % 3 == 0 && box.height > 1) one.box += cv::Point2f(0, 0.5f), one.box.height -= 0.5f;
    one.mask = {box, cv::Mat::zeros(box.size(), CV_8UC1)};
    cv::ellipse(one.mask.pixels, {cv::Point2f(box.size()) / 2, cv::Size2f(box.size()), 0}, 1, -1);
    list.push_back(one);
  }
  return list;
}

TEST(StripPainter, PaintsThePixelsOfTheWholeImage) {
  cv::Mat image(1100, 321, CV_8UC3);
  cv::randu(image, 0, 256);
  const std::vector<Instance> objects = ellipses(image.size(), 80);
  for (const int strip : {64, 256, 2000}) {
    for (const int side : {0, 700}) {
      DrawOptions options;
      options.reference_side = side;
      cv::Mat expected = image.clone();
      draw(expected, objects, coco(), options);
      cv::Mat painted(image.size(), CV_8UC3, cv::Scalar::all(0));
      int next = 0;
      StripPainter painter(window_source(image), coco(), options, strip,
                           [&](const cv::Rect& where, const cv::Mat& bgr) {
                             EXPECT_EQ(where.y, next);
                             EXPECT_EQ(where.height, std::min(strip, image.rows - next));
                             next = where.br().y;
                             bgr.copyTo(painted(where));
                           });
      for (size_t i = 0; i < objects.size(); ++i) {
        painter.add({objects[i]}, i + 1 < objects.size() ? objects[i + 1].mask.region.y : 1100);
      }
      EXPECT_EQ(next, image.rows);
      EXPECT_EQ(cv::norm(painted, expected, cv::NORM_INF), 0) << strip << " " << side;
    }
  }
}

}  // namespace
}  // namespace hornet
