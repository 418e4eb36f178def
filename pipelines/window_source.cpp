#include <hornet/backbone/error.h>
#include <hornet/pipelines/window_source.h>

#include <opencv2/imgproc.hpp>
#include <string>

namespace hornet {
namespace {

WindowPixels read_window(const cv::Mat& image, const cv::Rect& window) {
  CV_Assert((window & cv::Rect({}, image.size())) == window);
  const cv::Mat part = image(window);
  WindowPixels pixels;
  switch (image.channels()) {
    case 1:
      cv::cvtColor(part, pixels.bgr, cv::COLOR_GRAY2BGR);
      break;
    case 3:
      pixels.bgr = part;
      break;
    default:
      cv::cvtColor(part, pixels.bgr, cv::COLOR_BGRA2BGR);
      cv::extractChannel(part, pixels.valid, 3);
      pixels.valid = pixels.valid != 0;
      if (cv::countNonZero(pixels.valid) == static_cast<int64_t>(part.total())) {
        pixels.valid.release();
      } else {
        pixels.bgr.setTo(cv::Scalar::all(0), pixels.valid == 0);
      }
  }
  return pixels;
}

}  // namespace

WindowSource window_source(const cv::Mat& image) {
  const int type = image.type();
  if (image.empty() || image.dims != 2 || (type != CV_8UC1 && type != CV_8UC3 && type != CV_8UC4)) {
    throw Error(ErrorCode::kInput,
                "expected an image of 8 bits and 1, 3 or 4 channels, found " +
                    (image.empty() ? std::string("one without pixels") : cv::typeToString(type)) +
                    "; convert it first");
  }
  return {image.size(), [image](const cv::Rect& window) { return read_window(image, window); }};
}

}  // namespace hornet
