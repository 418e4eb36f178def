#include <hornet/pipelines/blob.h>
#include <hornet/pipelines/runtime.h>

#include <algorithm>
#include <opencv2/dnn.hpp>

namespace hornet {
namespace {

// OpenCV 4.6 has one scale for all channels; further ones are applied afterwards.
bool is_uniform(const cv::Scalar& scale) { return scale[0] == scale[1] && scale[1] == scale[2]; }

// [1,3,H,W] of float32, padded.
torch::Tensor to_input(const cv::Mat& blob, const cv::Scalar& scale, int pad_divisor) {
  const int height = blob.size[2], width = blob.size[3];
  const auto padded = [pad_divisor](int side) {
    return (side + pad_divisor - 1) / pad_divisor * pad_divisor;
  };
  torch::Tensor input = torch::zeros({1, 3, padded(height), padded(width)}, torch::kFloat32);
  for (int c = 0; c < 3; ++c) {
    cv::Mat plane(padded(height), padded(width), CV_32F, input[0][c].data_ptr<float>());
    cv::Mat target = plane({0, 0, width, height});
    const cv::Mat source(height, width, CV_32F, const_cast<float*>(blob.ptr<float>(0, c)));
    source.convertTo(target, CV_32F, scale[c]);
  }
  return input;
}

// As blobFromImage scales before it crops, in float32.
cv::Size covering_size(cv::Size image, cv::Size target) {
  const float factor =
      std::max(static_cast<float>(target.width) / static_cast<float>(image.width),
               static_cast<float>(target.height) / static_cast<float>(image.height));
  return {cvRound(image.width * static_cast<double>(factor)),
          cvRound(image.height * static_cast<double>(factor))};
}

}  // namespace

Preprocessed blob_input(const cv::Mat& image, const BlobOptions& options, int pad_divisor) {
  const cv::Mat bgr = to_bgr8(image);
  const cv::Size size = options.size.empty() ? bgr.size() : options.size;
  const bool uniform = is_uniform(options.scale);
  cv::Mat blob;
  translate_errors([&] {
    cv::dnn::blobFromImage(bgr, blob, uniform ? options.scale[0] : 1.0, size, options.mean,
                           options.swap_rb, options.crop);
  });
  Preprocessed result;
  result.input = to_input(blob, uniform ? cv::Scalar::all(1) : options.scale, pad_divisor);
  result.image_size = size;
  result.original_size = bgr.size();
  if (options.crop) {
    result.scaled_size = covering_size(bgr.size(), size);
    result.crop_origin = {(result.scaled_size.width - size.width) / 2,
                          (result.scaled_size.height - size.height) / 2};
  }
  return result;
}

}  // namespace hornet
