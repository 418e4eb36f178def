#include <hornet/backbone/error.h>
#include <hornet/pipelines/internal/fail_input.h>
#include <hornet/pipelines/internal/raster_bands.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <opencv2/imgproc.hpp>

namespace hornet::internal {
namespace {

using Interpretations = std::vector<GDALColorInterp>;

constexpr int64_t kMaxBlockBytes = int64_t{256} << 20;
constexpr int64_t kPartPixels = int64_t{1} << 20;
constexpr int kPartWidth = 1024;

Interpretations interpretations_of(GDALDataset& dataset) {
  Interpretations result;
  for (int i = 1; i <= dataset.GetRasterCount(); ++i) {
    result.push_back(dataset.GetRasterBand(i)->GetColorInterpretation());
  }
  return result;
}

// The bands of these interpretations, in this order; empty unless all are there.
std::vector<int> find_bands(const Interpretations& bands, const Interpretations& wanted) {
  std::vector<int> numbers;
  for (GDALColorInterp interpretation : wanted) {
    const auto found = std::find(bands.begin(), bands.end(), interpretation);
    if (found == bands.end()) return {};
    numbers.push_back(static_cast<int>(found - bands.begin()) + 1);
  }
  return numbers;
}

std::vector<int> find_colors(const Interpretations& bands) {
  return find_bands(bands, {GCI_BlueBand, GCI_GreenBand, GCI_RedBand});
}

[[noreturn]] void fail_count(int count, const std::string& found, const std::string& name) {
  if (count == 0) {
    internal::fail_input(
        name + ": holds no image of its own; extract one of its subdatasets with gdal_translate");
  }
  internal::fail_input(
      name + ": expected 1 band (gray), 3 (red, green, blue), or these and an alpha band, found " +
      std::to_string(count) + found + "; pass --bands R,G,B with the numbers of three bands, or " +
      "--bands N with one");
}

const char* image_structure(GDALMajorObject& object, const char* key) {
  const char* value = object.GetMetadataItem(key, "IMAGE_STRUCTURE");
  return value == nullptr ? "" : value;
}

// 255 * (value - low) / (high - low), rounded. Not-a-number clears `valid`.
template <typename T>
void scale(const cv::Mat& values, std::pair<double, double> range, cv::Mat channels,
           cv::Mat& valid) {
  const auto [low, high] = range;
  const double factor = 255 / (high - low);
  const int count = channels.channels();
  for (int y = 0; y < values.rows; ++y) {
    const T* source = values.ptr<T>(y);
    uint8_t* target = channels.ptr<uint8_t>(y);
    uint8_t* has_data = valid.empty() ? nullptr : valid.ptr<uint8_t>(y);
    for (int64_t i = 0; i < int64_t{values.cols} * count; ++i) {
      if (std::isnan(source[i])) {
        target[i] = 0;
        if (has_data != nullptr) has_data[i / count] = 0;
        continue;
      }
      const double value = (static_cast<double>(source[i]) - low) * factor;
      target[i] = static_cast<uint8_t>(std::round(std::clamp(value, 0.0, 255.0)));
    }
  }
}

// Without the ink's profile.
void cmyk_to_bgr(const cv::Mat& cmyk, cv::Mat& bgr) {
  const auto light = [](int ink, int black) {
    return static_cast<uint8_t>(((255 - ink) * (255 - black) + 127) / 255);
  };
  for (int y = 0; y < cmyk.rows; ++y) {
    const cv::Vec4b* source = cmyk.ptr<cv::Vec4b>(y);
    cv::Vec3b* target = bgr.ptr<cv::Vec3b>(y);
    for (int x = 0; x < cmyk.cols; ++x) {
      const cv::Vec4b& ink = source[x];
      target[x] = {light(ink[2], ink[3]), light(ink[1], ink[3]), light(ink[0], ink[3])};
    }
  }
}

bool read_raster(GDALDataset& dataset, const cv::Rect& window, std::vector<int> bands,
                 GDALDataType type, cv::Mat target) {
  const GSpacing sample = GDALGetDataTypeSizeBytes(type);
  const int count = static_cast<int>(bands.size());
  return dataset.RasterIO(GF_Read, window.x, window.y, window.width, window.height, target.data,
                          window.width, window.height, type, count, bands.data(), sample * count,
                          static_cast<GSpacing>(target.step[0]), sample, nullptr) == CE_None;
}

}  // namespace

RasterBands::RasterBands(GDALDataset& source, const RasterOptions& options, const std::string& name)
    : dataset(&source), range(options.range) {
  if (range && !(std::isfinite(range->first) && std::isfinite(range->second) &&
                 range->first < range->second)) {
    internal::fail_input(name + ": --range LOW,HIGH: LOW must be less than HIGH, and both finite");
  }
  choose(options.bands, name);
  check_types(name);
  check_blocks(name);
  if (kind == Kind::kGray && !range) choose_table();
  if (!range) choose_stretch();
  choose_masks();
  if (kind == Kind::kCmyk || EQUAL(image_structure(*dataset, "SOURCE_COLOR_SPACE"), "CMYK")) {
    warnings.push_back(name +
                       ": CMYK is converted to RGB without its colour profile; colours are "
                       "approximate");
  }
}

void RasterBands::choose(const std::vector<int>& wanted, const std::string& name) {
  const int count = dataset->GetRasterCount();
  if (!wanted.empty()) {
    if (wanted.size() != 1 && wanted.size() != 3) {
      internal::fail_input(name + ": --bands takes 1 or 3 numbers, found " +
                           std::to_string(wanted.size()));
    }
    for (int number : wanted) {
      if (number < 1 || number > count) {
        internal::fail_input(name + ": --bands: there is no band " + std::to_string(number) +
                             "; the file has bands 1 to " + std::to_string(count));
      }
    }
    numbers.assign(wanted.rbegin(), wanted.rend());
  } else if (count == 1) {
    numbers = {1};
  } else if (count == 3) {
    numbers = find_colors(interpretations_of(*dataset));
    if (numbers.empty()) numbers = {3, 2, 1};
  } else if (count == 2 && interpretations_of(*dataset)[1] == GCI_AlphaBand) {
    numbers = {1};
  } else if (count == 4) {
    return choose_four(name);
  } else {
    fail_count(count, count == 2 ? " (the second is not alpha)" : "", name);
  }
  kind = numbers.size() == 1 ? Kind::kGray : Kind::kColor;
}

void RasterBands::choose_four(const std::string& name) {
  const Interpretations bands = interpretations_of(*dataset);
  numbers = find_bands(bands, {GCI_CyanBand, GCI_MagentaBand, GCI_YellowBand, GCI_BlackBand});
  kind = Kind::kCmyk;
  if (!numbers.empty()) return;
  if (bands[3] != GCI_AlphaBand) {
    fail_count(4, " (the fourth is neither alpha nor the black of CMYK)", name);
  }
  numbers = find_colors(bands);
  if (numbers.empty()) numbers = {3, 2, 1};
  kind = Kind::kColor;
}

void RasterBands::check_types(const std::string& name) {
  for (int i = 0; i < static_cast<int>(numbers.size()); ++i) {
    const GDALDataType type = band(i)->GetRasterDataType();
    const bool is_signed_byte =
        type == GDT_Byte && EQUAL(image_structure(*band(i), "PIXELTYPE"), "SIGNEDBYTE");
    if (GDALDataTypeIsComplex(type) || is_signed_byte) {
      internal::fail_input(name + ": expected real pixels, found " +
                           (is_signed_byte ? "8-bit signed" : type_name(type)) +
                           " ones; convert them with gdal_translate");
    }
    if (type == GDT_Byte && !range) continue;
    if (!range) {
      internal::fail_input(name + ": expected 8-bit unsigned pixels, found " + type_name(type) +
                           " ones; pass --range LOW,HIGH, the values that become 0 and 255");
    }
    // float32 holds every value of 16 bits.
    const bool exact = GDALDataTypeUnion(type, GDT_Float32) == GDT_Float32;
    if (read_as != GDT_Float64) read_as = exact ? GDT_Float32 : GDT_Float64;
    holds_nan = holds_nan || GDALDataTypeIsFloating(type);
  }
}

void RasterBands::check_blocks(const std::string& name) const {
  const bool interleaved = EQUAL(image_structure(*dataset, "INTERLEAVE"), "PIXEL");
  int64_t bands = static_cast<int64_t>(numbers.size());
  if (interleaved) bands = dataset->GetRasterCount();
  int width = 0, height = 0;
  band(0)->GetBlockSize(&width, &height);
  const int64_t sample = GDALGetDataTypeSizeBytes(band(0)->GetRasterDataType()) * bands;
  if (sample == 0) internal::fail_input(name + ": its pixels have no type that GDAL knows");
  if (int64_t{width} * height > kMaxBlockBytes / sample) {
    internal::fail_input(
        name + ": is stored in blocks of " + std::to_string(width) + "x" + std::to_string(height) +
        " pixels, which are too large to be read in parts (256 MB); convert it with "
        "gdal_translate -co TILED=YES");
  }
}

void RasterBands::choose_table() {
  const GDALColorTable* colors = band(0)->GetColorTable();
  if (colors == nullptr) return;
  kind = Kind::kTable;
  table = cv::Mat::zeros(1, 256, CV_8UC3);
  cv::Mat has_data(1, 256, CV_8UC1, cv::Scalar(255));
  for (int value = 0; value < 256; ++value) {
    GDALColorEntry entry;
    if (value >= colors->GetColorEntryCount() || !colors->GetColorEntryAsRGB(value, &entry)) {
      continue;
    }
    table.at<cv::Vec3b>(value) = {static_cast<uint8_t>(entry.c3), static_cast<uint8_t>(entry.c2),
                                  static_cast<uint8_t>(entry.c1)};
    if (entry.c4 == 0) has_data.at<uint8_t>(value) = 0;
  }
  if (cv::countNonZero(has_data) < 256) table_valid = has_data;
}

// Samples of fewer than 8 bits span the whole range from 0 to 255, too.
void RasterBands::choose_stretch() {
  if (kind == Kind::kTable) return;
  const int count = static_cast<int>(numbers.size());
  bool needed = false;
  cv::Mat values(256, count, CV_8UC1);
  for (int i = 0; i < count; ++i) {
    const int bits = std::atoi(image_structure(*band(i), "NBITS"));
    const bool few = bits >= 1 && bits <= 7;
    const int largest = few ? (1 << bits) - 1 : 255;
    for (int value = 0; value < 256; ++value) {
      values.at<uint8_t>(value, i) = static_cast<uint8_t>(std::min(255, value * 255 / largest));
    }
    needed = needed || few;
  }
  if (needed) stretch = values.reshape(count, 1);
}

void RasterBands::choose_masks() {
  bool with_nodata = true;
  for (int i = 0; i < static_cast<int>(numbers.size()); ++i) {
    const int flags = band(i)->GetMaskFlags();
    if (flags & (GMF_ALPHA | GMF_PER_DATASET)) {
      masks = {band(i)->GetMaskBand()};
      return;
    }
    if (flags & GMF_ALL_VALID) with_nodata = false;
    masks.push_back(band(i)->GetMaskBand());
  }
  if (!with_nodata) masks.clear();
  empty_is_no_data = with_nodata;
}

cv::Size RasterBands::part_size() const {
  int width = 0, height = 0;
  band(0)->GetBlockSize(&width, &height);
  const int64_t columns = std::min<int64_t>(int64_t{width} * std::max(1, kPartWidth / width),
                                            dataset->GetRasterXSize());
  const int64_t rows = std::min<int64_t>(
      height * std::max<int64_t>(1, kPartPixels / columns / height), dataset->GetRasterYSize());
  return {static_cast<int>(columns), static_cast<int>(rows)};
}

bool RasterBands::is_empty(const cv::Rect& window) const {
  if (!empty_is_no_data) return false;
  for (int i = 0; i < static_cast<int>(numbers.size()); ++i) {
    if (band(i)->GetDataCoverageStatus(window.x, window.y, window.width, window.height,
                                       GDAL_DATA_COVERAGE_STATUS_DATA,
                                       nullptr) != GDAL_DATA_COVERAGE_STATUS_EMPTY) {
      return false;
    }
  }
  return true;
}

bool RasterBands::read_channels(const cv::Rect& window, cv::Mat channels, cv::Mat& valid) const {
  if (!range) return read_raster(*dataset, window, numbers, GDT_Byte, channels);
  const bool wide = read_as == GDT_Float64;
  cv::Mat values(window.size(), CV_MAKETYPE(wide ? CV_64F : CV_32F, channels.channels()));
  if (!read_raster(*dataset, window, numbers, read_as, values)) return false;
  (wide ? scale<double> : scale<float>)(values, *range, channels, valid);
  return true;
}

bool RasterBands::read_masks(const cv::Rect& window, cv::Mat& valid) const {
  cv::Mat any, mask(window.size(), CV_8UC1);
  for (GDALRasterBand* band : masks) {
    if (band->RasterIO(GF_Read, window.x, window.y, window.width, window.height, mask.data,
                       window.width, window.height, GDT_Byte, 1,
                       static_cast<GSpacing>(mask.step[0]), nullptr) != CE_None) {
      return false;
    }
    if (any.empty()) {
      any = mask.clone();
    } else {
      cv::bitwise_or(any, mask, any);
    }
  }
  valid.setTo(0, any == 0);
  return true;
}

bool RasterBands::read(const cv::Rect& window, cv::Mat bgr, cv::Mat valid) const {
  if (is_empty(window)) {
    bgr.setTo(cv::Scalar::all(0));
    valid.setTo(0);
    return true;
  }
  const int count = static_cast<int>(numbers.size());
  cv::Mat channels = count == 3 ? bgr : cv::Mat(window.size(), CV_8UC(count));
  if (!read_channels(window, channels, valid)) return false;
  if (!stretch.empty()) cv::LUT(channels, stretch, channels);
  if (!masks.empty() && !read_masks(window, valid)) return false;
  if (!table_valid.empty()) {
    cv::Mat has_data;
    cv::LUT(channels, table_valid, has_data);
    valid.setTo(0, has_data == 0);
  }
  if (kind == Kind::kCmyk) cmyk_to_bgr(channels, bgr);
  if (kind == Kind::kGray || kind == Kind::kTable) cv::cvtColor(channels, bgr, cv::COLOR_GRAY2BGR);
  if (kind == Kind::kTable) cv::LUT(bgr, table, bgr);
  if (!valid.empty()) bgr.setTo(cv::Scalar::all(0), valid == 0);
  return true;
}

}  // namespace hornet::internal
