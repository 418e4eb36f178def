// A picture and a small detector for the tests of what is built on one.
#pragma once

#include <hornet/pipelines/detector.h>

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>
#include <string>
#include <vector>

namespace hornet::testing {

inline const std::string kDetector =
    std::string(HORNET_TEST_DATA) + "/fixtures/cascade_mask_rcnn_hornet_tiny_gf_s2/model.pth";

// Shapes on a gradient: something for random weights to look at.
inline cv::Mat scene(cv::Size size, int seed) {
  cv::Mat image(size, CV_8UC3);
  cv::RNG rng(seed);
  rng.fill(image, cv::RNG::UNIFORM, 0, 60);
  for (int i = 0; i < 6; ++i) {
    const cv::Point centre(rng.uniform(0, size.width), rng.uniform(0, size.height));
    cv::circle(image, centre, rng.uniform(8, 30), cv::Scalar(rng.uniform(0, 255), 200, 90), -1);
  }
  return image;
}

// Whether there is an equal instance, up to float32; neighbours in the order may swap places.
inline bool contains(const std::vector<Instance>& instances, const Instance& wanted) {
  return std::any_of(instances.begin(), instances.end(), [&](const Instance& other) {
    const cv::Point2f shift = other.box.tl() - wanted.box.tl();
    return other.label == wanted.label && std::abs(other.score - wanted.score) < 1e-3f &&
           std::max(std::abs(shift.x), std::abs(shift.y)) < 0.05f;
  });
}

}  // namespace hornet::testing
