#include <hornet/backbone/error.h>
#include <hornet/pipelines/internal/fail_input.h>
#include <hornet/pipelines/internal/gdal_support.h>
#include <hornet/pipelines/preprocess.h>
#include <torch/nn/functional/upsampling.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <string>
#include <vector>

namespace hornet {
namespace {

constexpr std::array<double, 3> kMean255 = {123.675, 116.28, 103.53};
constexpr std::array<double, 3> kStd255 = {58.395, 57.12, 57.375};
constexpr std::array<double, 3> kMean = {0.485, 0.456, 0.406};
constexpr std::array<double, 3> kStd = {0.229, 0.224, 0.225};

constexpr int kWarpFrom = 384;  // classification from this size on does not crop
constexpr double kCropPart = 224 / 256.0;

// Pillow's fixed point: 32 bits less 8 of the pixel and 2 for over- and undershoot.
constexpr int kBicubicBits = 22;
constexpr double kBicubicSupport = 2;

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// The source pixels from `begin` on that make one pixel of the result.
struct Taps {
  int begin = 0;
  std::vector<int32_t> weights;
};

Taps bicubic_taps(int source, int target, int index) {
  const double scale = static_cast<double>(source) / target;
  const double stretch = std::max(scale, 1.0);
  const double support = kBicubicSupport * stretch;
  const double inverse = 1 / stretch;
  const double center = (index + 0.5) * scale;
  Taps taps;
  taps.begin = std::max(static_cast<int>(center - support + 0.5), 0);
  const int end = std::min(static_cast<int>(center + support + 0.5), source);

  std::vector<double> exact;
  double sum = 0;
  for (int x = taps.begin; x < end; ++x) {
    exact.push_back(bicubic((x - center + 0.5) * inverse));
    sum += exact.back();
  }
  for (double weight : exact) {
    if (sum != 0) weight /= sum;
    taps.weights.push_back(
        static_cast<int32_t>(weight * (1 << kBicubicBits) + (weight < 0 ? -0.5 : 0.5)));
  }
  return taps;
}

cv::Vec3b weighted_sum(const cv::Vec3b* pixels, const std::vector<int32_t>& weights) {
  int32_t sum[3];
  std::fill_n(sum, 3, 1 << (kBicubicBits - 1));
  for (size_t i = 0; i < weights.size(); ++i) {
    for (int c = 0; c < 3; ++c) sum[c] += pixels[i][c] * weights[i];
  }
  cv::Vec3b result;
  for (int c = 0; c < 3; ++c) result[c] = cv::saturate_cast<uchar>(sum[c] >> kBicubicBits);
  return result;
}

// Resamples rows: the pixels `window` of rows that are scaled to `width` pixels.
cv::Mat resample_rows(const cv::Mat& image, int width, cv::Range window) {
  std::vector<Taps> taps;
  for (int x = window.start; x < window.end; ++x) {
    taps.push_back(bicubic_taps(image.cols, width, x));
  }
  cv::Mat result(image.rows, window.size(), CV_8UC3);
  for (int y = 0; y < result.rows; ++y) {
    const cv::Vec3b* source = image.ptr<cv::Vec3b>(y);
    cv::Vec3b* target = result.ptr<cv::Vec3b>(y);
    for (const Taps& t : taps) *target++ = weighted_sum(source + t.begin, t.weights);
  }
  return result;
}

// What becomes of the 256 values of a channel, in the arithmetic of the originals: mmcv subtracts
// in float32 and multiplies by 1/std in double, torchvision divides in float32 throughout.
std::array<float, 256> normalized_values(const PreprocessOptions& options, int channel) {
  const double mean = options.mean[channel], stddev = options.stddev[channel];
  std::array<float, 256> values;
  for (int x = 0; x < 256; ++x) {
    if (options.kind != PreprocessOptions::Kind::kDense) {
      const float unit = static_cast<float>(x) / 255.0f;
      values[x] = (unit - static_cast<float>(mean)) / static_cast<float>(stddev);
    } else {
      const float centered = static_cast<float>(x) - static_cast<float>(mean);
      values[x] = static_cast<float>(centered * (1 / stddev));
    }
  }
  return values;
}

int round_up(int size, int divisor) { return (size + divisor - 1) / divisor * divisor; }

cv::Mat decode(const std::string& path) {
  try {
    return cv::imread(path, cv::IMREAD_COLOR | cv::IMREAD_ANYDEPTH);
  } catch (const cv::Exception& e) {
    if (e.err.find("CV_IO_MAX_IMAGE") == std::string::npos)
      internal::fail_input(path + ": " + e.err);
    internal::fail_input(
        path +
        ": the image has more pixels than OpenCV accepts (2^30, and 2^20 a side); split it, or "
        "set OPENCV_IO_MAX_IMAGE_PIXELS, ..._WIDTH and ..._HEIGHT to larger numbers");
  }
}

std::string depth_name(int depth) {
  static const char* const kNames[] = {"uint8", "int8",    "uint16",  "int16",
                                       "int32", "float32", "float64", "float16"};
  return kNames[depth];
}

// Normalised at its own size, then scaled.
Preprocessed torchvision_preprocess(const cv::Mat& bgr, const PreprocessOptions& options) {
  namespace F = torch::nn::functional;
  cv::Mat rgb;
  cv::cvtColor(bgr, rgb, cv::COLOR_BGR2RGB);
  PreprocessOptions unpadded = options;
  unpadded.pad_divisor = 1;
  Preprocessed result;
  result.original_size = bgr.size();
  result.image_size = torchvision_size(bgr.size(), options.scale);
  const std::vector<int64_t> size = {result.image_size.height, result.image_size.width};
  const auto bilinear =
      F::InterpolateFuncOptions().size(size).mode(torch::kBilinear).align_corners(false);
  const torch::Tensor scaled = F::interpolate(normalize(rgb, unpadded), bilinear);
  result.input = torch::zeros({1, 3, round_up(result.image_size.height, options.pad_divisor),
                               round_up(result.image_size.width, options.pad_divisor)});
  result.input.narrow(2, 0, size[0]).narrow(3, 0, size[1]).copy_(scaled);
  return result;
}

}  // namespace

PreprocessOptions detection_preprocess(cv::Size scale) {
  return {PreprocessOptions::Kind::kDense, scale, 32, kMean255, kStd255};
}

PreprocessOptions torchvision_detection_preprocess(cv::Size scale) {
  return {PreprocessOptions::Kind::kTorchvisionDetection, scale, 32, kMean, kStd};
}

PreprocessOptions segmentation_preprocess(cv::Size scale) {
  return {PreprocessOptions::Kind::kDense, scale, 1, kMean255, kStd255};
}

PreprocessOptions classification_preprocess(int size) {
  return {PreprocessOptions::Kind::kClassification, {size, size}, 1, kMean, kStd};
}

Preprocessed preprocess(const cv::Mat& image, const PreprocessOptions& options) {
  const cv::Mat bgr = to_bgr8(image);
  if (options.kind == PreprocessOptions::Kind::kTorchvisionDetection) {
    return torchvision_preprocess(bgr, options);
  }
  const cv::Mat resized = options.kind == PreprocessOptions::Kind::kClassification
                              ? resize_for_classification(bgr, options.scale.width)
                              : resize_keep_ratio(bgr, options.scale);
  Preprocessed result;
  cv::cvtColor(resized, result.resized_rgb, cv::COLOR_BGR2RGB);
  result.input = normalize(result.resized_rgb, options);
  result.image_size = resized.size();
  result.original_size = image.size();
  return result;
}

cv::Mat load_image(const std::filesystem::path& path) {
  const std::string name = path.string();
  std::error_code error;
  if (!std::filesystem::exists(path, error)) internal::fail_input(name + ": no such file");
  if (std::filesystem::is_directory(path, error))
    internal::fail_input(name + ": expected an image, found a folder");
  if (std::filesystem::file_size(path, error) == 0 && !error)
    internal::fail_input(name + ": the file is empty");
  // OpenCV would fill what is missing with gray.
  const std::string damage = internal::jpeg_damage(path);
  if (!damage.empty())
    internal::fail_input(name + ": the JPEG is damaged or cut off (" + damage + ")");
  const cv::Mat image = decode(name);
  if (image.empty()) {
    internal::fail_input(
        name +
        ": expected an image (JPEG, PNG, TIFF, ...), found a file that is damaged, not "
        "readable, or of another kind");
  }
  try {
    return to_bgr8(image);
  } catch (const Error& e) {
    internal::fail_input(name + ": " + e.what());
  }
}

cv::Mat to_bgr8(const cv::Mat& image) {
  if (image.empty()) internal::fail_input("expected an image, found one without pixels");
  if (image.depth() != CV_8U) {
    internal::fail_input("expected an image with 8 bits a channel, found " +
                         depth_name(image.depth()) + "; scale its values to 0..255 first");
  }
  cv::Mat bgr;
  switch (image.channels()) {
    case 1:
      cv::cvtColor(image, bgr, cv::COLOR_GRAY2BGR);
      return bgr;
    case 3:
      return image;
    case 4:
      cv::cvtColor(image, bgr, cv::COLOR_BGRA2BGR);
      return bgr;
    default:
      internal::fail_input("expected an image with 1, 3 or 4 channels, found " +
                           std::to_string(image.channels()));
  }
}

cv::Size keep_ratio_size(cv::Size image, cv::Size scale) {
  const auto [image_short, image_long] = std::minmax(image.width, image.height);
  const auto [scale_short, scale_long] = std::minmax(scale.width, scale.height);
  const double factor = std::min(static_cast<double>(scale_long) / image_long,
                                 static_cast<double>(scale_short) / image_short);
  const auto scaled = [factor](int side) {
    return std::max(static_cast<int>(side * factor + 0.5), 1);
  };
  return {scaled(image.width), scaled(image.height)};
}

cv::Size torchvision_size(cv::Size image, cv::Size scale) {
  const auto [image_short, image_long] = std::minmax(image.width, image.height);
  const auto [scale_short, scale_long] = std::minmax(scale.width, scale.height);
  const double factor = std::min(static_cast<double>(scale_short) / image_short,
                                 static_cast<double>(scale_long) / image_long);
  const auto scaled = [factor](int side) { return std::max(static_cast<int>(side * factor), 1); };
  return {scaled(image.width), scaled(image.height)};
}

cv::Mat resize_keep_ratio(const cv::Mat& image, cv::Size scale) {
  cv::Mat resized;
  cv::resize(image, resized, keep_ratio_size(image.size(), scale), 0, 0, cv::INTER_LINEAR);
  return resized;
}

cv::Mat resize_bicubic(const cv::Mat& image, cv::Size size, cv::Rect window) {
  CV_Assert(image.type() == CV_8UC3);
  CV_Assert((window & cv::Rect({0, 0}, size)) == window);
  cv::Mat columns = resample_rows(image, size.width, {window.x, window.br().x});
  cv::transpose(columns, columns);
  cv::Mat rows = resample_rows(columns, size.height, {window.y, window.br().y});
  cv::transpose(rows, rows);
  return rows;
}

cv::Mat resize_for_classification(const cv::Mat& image, int size) {
  if (size >= kWarpFrom) return resize_bicubic(image, {size, size}, {0, 0, size, size});
  const int short_side = static_cast<int>(size / kCropPart);
  const auto [image_short, image_long] = std::minmax(image.cols, image.rows);
  const int long_side =
      static_cast<int>(static_cast<double>(short_side) * image_long / image_short);
  const cv::Size scaled =
      image.cols <= image.rows ? cv::Size(short_side, long_side) : cv::Size(long_side, short_side);
  return resize_bicubic(image, scaled, center_crop(scaled, size));
}

cv::Rect center_crop(cv::Size image, int size) {
  const auto offset = [size](int side) {
    return static_cast<int>(std::lrint((side - size) / 2.0));
  };
  return {offset(image.width), offset(image.height), size, size};
}

torch::Tensor normalize(const cv::Mat& rgb, const PreprocessOptions& options) {
  CV_Assert(rgb.type() == CV_8UC3);
  const int height = round_up(rgb.rows, options.pad_divisor);
  const int width = round_up(rgb.cols, options.pad_divisor);
  torch::Tensor input = torch::empty({1, 3, height, width}, torch::kFloat32);
  float* row = input.data_ptr<float>();
  for (int c = 0; c < 3; ++c) {
    const std::array<float, 256> values = normalized_values(options, c);
    for (int y = 0; y < height; ++y, row += width) {
      const int columns = y < rgb.rows ? rgb.cols : 0;
      const cv::Vec3b* pixels = columns > 0 ? rgb.ptr<cv::Vec3b>(y) : nullptr;
      for (int x = 0; x < columns; ++x) row[x] = values[pixels[x][c]];
      std::fill(row + columns, row + width, 0.0f);
    }
  }
  return input;
}

}  // namespace hornet
