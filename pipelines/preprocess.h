// From an image to a network's input, bit for bit as the official test pipelines do it.
//
// Dense tasks scale the image into a box with its aspect ratio kept (bilinear, in OpenCV's fixed
// point) and subtract the mean; detection then pads right and bottom with zeros, because a feature
// pyramid wants sizes that its strides divide. Classification scales the short side with Pillow's
// antialiased bicubic filter and crops the centre, or warps to a square from 384 pixels on.
// torchvision's detectors normalise first and scale then, in float32.
//
//   hornet::Preprocessed p = hornet::preprocess(hornet::load_image("street.jpg"),
//                                               hornet::detection_preprocess());
//   p.input        // float32 [1,3,H,W], RGB, normalised, padded
//   p.image_size   // the part of it that is image: boxes are clipped to this size
//
// Images are what OpenCV hands out: 8 bits a channel, BGR (gray is repeated, alpha is dropped).
// What is not an image, or has more than 8 bits, is a hornet::Error(kInput).
#pragma once

#include <torch/types.h>

#include <array>
#include <filesystem>
#include <opencv2/core.hpp>

namespace hornet {

struct PreprocessOptions {
  enum class Kind { kDense, kClassification, kTorchvisionDetection };

  Kind kind = Kind::kDense;
  cv::Size scale;                   // the box, in either orientation; classification: of the crop
  int pad_divisor = 1;              // the input's height and width are multiples of it
  std::array<double, 3> mean = {};  // RGB; dense: of values 0..255, else of 0..1
  std::array<double, 3> stddev = {};
};

// The official options of each task. UPerNet on HorNet-L takes segmentation at 2560x640.
PreprocessOptions detection_preprocess(cv::Size scale = {1333, 800});
PreprocessOptions torchvision_detection_preprocess(cv::Size scale = {1333, 800});
PreprocessOptions segmentation_preprocess(cv::Size scale = {2048, 512});
PreprocessOptions classification_preprocess(int size = 224);

struct Preprocessed {
  cv::Mat resized_rgb;     // CV_8UC3, after resizing and cropping, before normalisation; empty
                           // for torchvision's detectors, which never have that
  torch::Tensor input;     // float32 [1,3,H,W]
  cv::Size image_size;     // of the image in `input`, which may be larger by its padding
  cv::Size original_size;  // of the image that came in

  // Where dense input shows only a part of the image (blob.h): the size of the whole image after
  // scaling, and the pixel of it that the part begins with. Otherwise empty and 0, 0.
  cv::Size scaled_size;
  cv::Point crop_origin;
};

// All steps below, in the order of the task.
Preprocessed preprocess(const cv::Mat& image, const PreprocessOptions& options);

// Reads an image file as BGR and turns it upright as its EXIF orientation says.
// Throws hornet::Error(kInput), naming the file, if it is missing, empty, no image, too large for
// OpenCV (2^30 pixels) or deeper than 8 bits.
cv::Mat load_image(const std::filesystem::path& path);

// Gray, BGR or BGRA of 8 bits, as BGR. Other depths and empty images are errors.
cv::Mat to_bgr8(const cv::Mat& image);

// The largest size with the aspect ratio of `image` that fits into `scale`, long side to long
// side; both sides are rounded to the nearest and at least 1.
cv::Size keep_ratio_size(cv::Size image, cv::Size scale);

// The same as torchvision rounds it: down.
cv::Size torchvision_size(cv::Size image, cv::Size scale);

// Bilinear without antialiasing, to keep_ratio_size(). Any number of channels.
cv::Mat resize_keep_ratio(const cv::Mat& image, cv::Size scale);

// Pillow's bicubic (a = -1/2), whose support widens with the reduction; rounds to 8 bits between
// the horizontal and the vertical pass, in this order (Pillow before 13). Only `window`, a part of
// the result, is computed. CV_8UC3.
cv::Mat resize_bicubic(const cv::Mat& image, cv::Size size, cv::Rect window);

// Sizes below 384: short side to size * 256 / 224, centre crop. Otherwise a warp to the square.
cv::Mat resize_for_classification(const cv::Mat& image, int size);

// The window of `size` x `size` in the middle; half a pixel is rounded to the even offset.
cv::Rect center_crop(cv::Size image, int size);

// RGB, CV_8UC3, to float32 [1,3,H,W]: (x - mean) / std in the task's own arithmetic, then zeros at
// the right and the bottom up to a multiple of pad_divisor.
torch::Tensor normalize(const cv::Mat& rgb, const PreprocessOptions& options);

}  // namespace hornet
