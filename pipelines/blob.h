// From an image to a network's input as cv::dnn::blobFromImage does it, for programs that have
// their numbers for it already:
//
//   value of channel c = scale[c] * (resized pixel - mean[c])
//
// Channels of scale and mean are counted in the input: R, G, B after swap_rb of a BGR image. The
// image is resized to `size` without regard for its aspect ratio, or, with crop, until it covers
// `size`, of which then the centre is taken. The official preprocessing in these terms
// (preprocess.h keeps the aspect ratio besides):
//
//   hornet::BlobOptions options;
//   options.scale = {1 / 58.395, 1 / 57.12, 1 / 57.375};
//   options.mean = {123.675, 116.28, 103.53};
//   options.swap_rb = true;
//   options.size = {1024, 768};
//   auto found = detector.run({hornet::blob_input(image, options)});
#pragma once

#include <hornet/pipelines/preprocess.h>

namespace hornet {

struct BlobOptions {
  cv::Scalar scale = cv::Scalar::all(1);
  cv::Size size = {};  // empty: the image's own
  cv::Scalar mean = {};
  bool swap_rb = false;
  bool crop = false;
};

// Zeros are added at the right and the bottom up to a multiple of pad_divisor. `resized_rgb` stays
// empty. Images are those of preprocess(), with its errors.
Preprocessed blob_input(const cv::Mat& image, const BlobOptions& options, int pad_divisor = 32);

}  // namespace hornet
