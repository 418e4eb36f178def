// Images that can be augmented.
#pragma once

#include <hornet/backbone/error.h>
#include <hornet/pipelines/preprocess.h>

#include <algorithm>
#include <filesystem>
#include <opencv2/core.hpp>
#include <string>

namespace hornet::internal {

// load_image(), and an Error(kInput) for one with more columns or rows than OpenCV can warp.
inline cv::Mat load_training_image(const std::filesystem::path& path) {
  constexpr int kLongest = 32766;
  cv::Mat bgr = load_image(path);
  if (std::max(bgr.cols, bgr.rows) > kLongest) {
    throw Error(ErrorCode::kInput, path.string() + ": has " + std::to_string(bgr.cols) + "x" +
                                       std::to_string(bgr.rows) +
                                       " pixels, but training takes sides of up to " +
                                       std::to_string(kLongest) + ": cut it into parts");
  }
  return bgr;
}

}  // namespace hornet::internal
