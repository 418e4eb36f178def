#include <hornet/training/augment.h>
#include <hornet/training/internal/crop_window.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <opencv2/imgproc.hpp>

namespace hornet {
namespace {

using internal::CropWindow;

constexpr int kAttempts = 10;

CropWindow draw_scale(cv::Size image, const AugmentOptions& options, Random& random) {
  const double base = options.box ? internal::scale_into(image, *options.box) : 1;
  const double scale = base * random.uniform(options.min_scale, options.max_scale);
  CropWindow window;
  window.set_scales(image, scale, scale);
  return window;
}

cv::Mat warp(const cv::Mat& image, const CropWindow& window, cv::Size crop, int interpolation,
             int border, const cv::Scalar& value) {
  cv::Mat out;
  cv::warpAffine(image, out, window.to_image(crop.width), crop,
                 interpolation | cv::WARP_INVERSE_MAP, border, value);
  return out;
}

template <typename Label>
std::vector<int64_t> count_labels(const cv::Mat& labels) {
  std::vector<int64_t> pixels(std::numeric_limits<Label>::max() + size_t{1});
  for (int y = 0; y < labels.rows; ++y) {
    const Label* row = labels.ptr<Label>(y);
    for (int x = 0; x < labels.cols; ++x) ++pixels[row[x]];
  }
  return pixels;
}

// How much of the labelled pixels the commonest class takes.
double largest_share(const cv::Mat& labels, int ignore) {
  auto pixels =
      labels.depth() == CV_8U ? count_labels<uint8_t>(labels) : count_labels<uint16_t>(labels);
  if (static_cast<size_t>(ignore) < pixels.size()) pixels[static_cast<size_t>(ignore)] = 0;
  const int64_t all = std::accumulate(pixels.begin(), pixels.end(), int64_t{0});
  const int64_t most = *std::max_element(pixels.begin(), pixels.end());
  return all > 0 ? static_cast<double>(most) / static_cast<double>(all) : 1;
}

void shift_saturation_and_hue(cv::Mat& bgr, bool saturation, bool hue, Random& random) {
  if (!saturation && !hue) return;
  cv::Mat hsv;
  cv::cvtColor(bgr, hsv, cv::COLOR_BGR2HSV);
  const double factor = saturation ? random.uniform(0.5, 1.5) : 1;
  constexpr int kHues = 180, kShift = 18;  // OpenCV's hues are steps of two degrees
  const int shift = hue ? static_cast<int>(random.between(-kShift, kShift)) : 0;
  for (int y = 0; y < hsv.rows; ++y) {
    for (cv::Vec3b *pixel = hsv.ptr<cv::Vec3b>(y), *end = pixel + hsv.cols; pixel < end; ++pixel) {
      (*pixel)[0] = static_cast<uint8_t>(((*pixel)[0] + shift + kHues) % kHues);
      (*pixel)[1] = cv::saturate_cast<uint8_t>((*pixel)[1] * factor);
    }
  }
  cv::cvtColor(hsv, bgr, cv::COLOR_HSV2BGR);
}

}  // namespace

LabelledImage augment(const LabelledImage& sample, const AugmentOptions& options, int ignore,
                      Random& random) {
  CropWindow window = draw_scale(sample.bgr.size(), options, random);
  window.flip = options.flip && random.chance(0.5);
  LabelledImage out;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    window.offset = {internal::draw_offset(window.scaled.width, options.crop.width, random),
                     internal::draw_offset(window.scaled.height, options.crop.height, random)};
    out.labels = warp(sample.labels, window, options.crop, cv::INTER_NEAREST, cv::BORDER_CONSTANT,
                      cv::Scalar::all(ignore));
    if (options.max_class_share >= 1) break;
    if (largest_share(out.labels, ignore) <= options.max_class_share) break;
  }
  cv::Mat shown =
      warp(sample.bgr, window, options.crop, cv::INTER_LINEAR, cv::BORDER_REPLICATE, {});
  if (options.recolour) shown = recolour(shown, random);
  const cv::Rect covered = window.covered(options.crop);
  out.bgr = cv::Mat(options.crop, CV_8UC3, internal::kMeanColour);
  shown(covered).copyTo(out.bgr(covered));
  return out;
}

cv::Mat augment_for_classification(const cv::Mat& bgr, const AugmentOptions& options,
                                   Random& random) {
  cv::Rect part({0, 0}, bgr.size());
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const double area = bgr.size().area() * random.uniform(0.08, 1);
    const double aspect = std::exp(random.uniform(std::log(3.0 / 4), std::log(4.0 / 3)));
    const int width = static_cast<int>(std::lround(std::sqrt(area * aspect)));
    const int height = static_cast<int>(std::lround(std::sqrt(area / aspect)));
    if (width < 1 || height < 1 || width > bgr.cols || height > bgr.rows) continue;
    part = {static_cast<int>(random.between(0, bgr.cols - width)),
            static_cast<int>(random.between(0, bgr.rows - height)), width, height};
    break;
  }
  cv::Mat out;
  cv::resize(bgr(part), out, options.crop, 0, 0,
             part.area() > options.crop.area() ? cv::INTER_AREA : cv::INTER_LINEAR);
  if (options.flip && random.chance(0.5)) cv::flip(out, out, 1);
  return options.recolour ? recolour(out, random) : out;
}

cv::Mat recolour(const cv::Mat& bgr, Random& random) {
  cv::Mat out = bgr.clone();
  if (random.chance(0.5)) out.convertTo(out, -1, 1, random.uniform(-32, 32));
  const bool contrast = random.chance(0.5), contrast_first = random.chance(0.5);
  const double factor = random.uniform(0.5, 1.5);
  if (contrast && contrast_first) out.convertTo(out, -1, factor);
  const bool saturation = random.chance(0.5), hue = random.chance(0.5);
  shift_saturation_and_hue(out, saturation, hue, random);
  if (contrast && !contrast_first) out.convertTo(out, -1, factor);
  return out;
}

}  // namespace hornet
