// Inputs made as cv::dnn::blobFromImage makes them, held against it.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/blob.h>
#include <torch/types.h>

#include <opencv2/dnn.hpp>
#include <opencv2/imgproc.hpp>

#include "tests/pipelines/scene.h"

namespace hornet {
namespace {

using testing::scene;

// OpenCV's blob as a tensor of its own.
torch::Tensor to_tensor(const cv::Mat& blob) {
  return torch::from_blob(const_cast<float*>(blob.ptr<float>()),
                          {blob.size[0], blob.size[1], blob.size[2], blob.size[3]})
      .clone();
}

// The part of the input that is image, and whether the rest is zeros.
torch::Tensor image_part(const Preprocessed& made) {
  const int64_t height = made.image_size.height, width = made.image_size.width;
  EXPECT_EQ(made.input.slice(2, height).abs().sum().item<double>(), 0);
  EXPECT_EQ(made.input.slice(3, width).abs().sum().item<double>(), 0);
  return made.input.slice(2, 0, height).slice(3, 0, width);
}

TEST(BlobInput, IsBlobFromImageBitForBit) {
  for (const cv::Size frame : {cv::Size(97, 61), cv::Size(40, 133), cv::Size(64, 64)}) {
    for (const cv::Size size : {cv::Size(64, 64), cv::Size(50, 33), cv::Size(101, 160)}) {
      for (int flags = 0; flags < 4; ++flags) {
        BlobOptions options;
        options.scale = cv::Scalar::all(1 / 57.1);
        options.size = size;
        options.mean = {123.675, 116.28, 103.53};
        options.swap_rb = (flags & 1) != 0;
        options.crop = (flags & 2) != 0;
        const cv::Mat image = scene(frame, 7);
        const Preprocessed made = blob_input(image, options);
        const cv::Mat expected = cv::dnn::blobFromImage(image, 1 / 57.1, size, options.mean,
                                                        options.swap_rb, options.crop);
        EXPECT_TRUE(torch::equal(image_part(made), to_tensor(expected)))
            << frame << " to " << size << ", flags " << flags;
        EXPECT_EQ(made.image_size, size);
        EXPECT_EQ(made.original_size, frame);
        EXPECT_EQ(made.input.size(2) % 32 + made.input.size(3) % 32, 0);
        EXPECT_LT(made.input.size(2), size.height + 32);
        EXPECT_LT(made.input.size(3), size.width + 32);
      }
    }
  }
}

TEST(BlobInput, ScalesEachChannelAfterTheSwap) {
  const cv::Mat image = scene({45, 37}, 8);
  BlobOptions options;
  options.scale = {0.5, 2, 3};
  options.mean = {1, 2, 4};
  for (const bool swap : {false, true}) {
    options.swap_rb = swap;
    const torch::Tensor made = image_part(blob_input(image, options));
    for (const auto& [y, x] : {std::pair(0, 0), std::pair(36, 44), std::pair(11, 30)}) {
      const cv::Vec3b pixel = image.at<cv::Vec3b>(y, x);
      for (int c = 0; c < 3; ++c) {
        const double value = options.scale[c] * (pixel[swap ? 2 - c : c] - options.mean[c]);
        EXPECT_NEAR(made[0][c][y][x].item<double>(), value, 1e-4);
      }
    }
  }
}

TEST(BlobInput, IsTheOfficialInputWithTheAuthorsNumbers) {
  const cv::Mat image = scene({160, 120}, 9);
  BlobOptions options;
  options.scale = {1 / 58.395, 1 / 57.12, 1 / 57.375};
  options.mean = {123.675, 116.28, 103.53};
  options.swap_rb = true;
  const torch::Tensor official = preprocess(image, detection_preprocess({160, 120})).input;
  const torch::Tensor made = blob_input(image, options).input;
  ASSERT_EQ(made.sizes(), official.sizes());
  EXPECT_LE((made - official).abs().max().item<double>(), 1e-6);
}

TEST(BlobInput, SaysWhereItsCropIs) {
  BlobOptions options;
  options.size = {60, 50};
  options.crop = true;
  const Preprocessed wide = blob_input(scene({240, 100}, 1), options);  // halved, then cut
  EXPECT_EQ(wide.scaled_size, cv::Size(120, 50));
  EXPECT_EQ(wide.crop_origin, cv::Point(30, 0));
  const Preprocessed high = blob_input(scene({30, 51}, 1), options);  // doubled
  EXPECT_EQ(high.scaled_size, cv::Size(60, 102));
  EXPECT_EQ(high.crop_origin, cv::Point(0, 26));
}

TEST(BlobInput, TakesGrayAndAlphaAndRefusesTheRest) {
  const cv::Mat bgr = scene({40, 33}, 2);
  cv::Mat gray, three, alpha;
  cv::cvtColor(bgr, gray, cv::COLOR_BGR2GRAY);
  cv::cvtColor(gray, three, cv::COLOR_GRAY2BGR);
  cv::cvtColor(bgr, alpha, cv::COLOR_BGR2BGRA);
  EXPECT_TRUE(torch::equal(blob_input(gray, {}).input, blob_input(three, {}).input));
  EXPECT_TRUE(torch::equal(blob_input(alpha, {}).input, blob_input(bgr, {}).input));
  const cv::Mat part = bgr(cv::Rect(3, 2, 35, 30));  // not contiguous
  EXPECT_TRUE(torch::equal(blob_input(part, {}).input, blob_input(part.clone(), {}).input));
  EXPECT_THROW(blob_input(cv::Mat(), {}), Error);
  EXPECT_THROW(blob_input(cv::Mat(40, 40, CV_16UC3), {}), Error);
}

}  // namespace
}  // namespace hornet
