// Which bands of a dataset are its picture, and how their values become 8-bit BGR.
#pragma once

#include <hornet/pipelines/internal/gdal_support.h>

#include <array>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

namespace hornet::internal {

// Chosen once for a file; throws Error(kInput) that begins with `name` where nothing fits.
struct RasterBands {
  enum class Kind { kGray, kTable, kColor, kCmyk };

  RasterBands(GDALDataset& dataset, const RasterOptions& options, const std::string& name);

  // Reads the window into `bgr`, and sets `valid` (255 before) to 0 where there is no data. False
  // if GDAL fails.
  bool read(const cv::Rect& window, cv::Mat bgr, cv::Mat valid) const;

  // Whether `valid` can become 0 anywhere.
  bool may_lack_data() const { return !masks.empty() || holds_nan || !table_valid.empty(); }

  // Windows are read in parts of this size, which begin at its multiples: whole blocks of the file,
  // few enough to stay in GDAL's cache while bands and mask are read one after the other.
  cv::Size part_size() const;

  GDALDataset* dataset;
  Kind kind = Kind::kGray;
  std::vector<int> numbers;                        // gray; blue, green, red; or C, M, Y, K
  std::optional<std::pair<double, double>> range;  // values that become 0 and 255
  GDALDataType read_as = GDT_Byte;                 // before the range is applied
  cv::Mat table;                                   // kTable: 1 x 256 of BGR
  cv::Mat table_valid;                             // 1 x 256; empty: all colours are data
  cv::Mat stretch;                                 // 1 x 256 of the channels; empty: as they are
  std::vector<GDALRasterBand*> masks;              // a pixel has data where any of them is not 0
  bool empty_is_no_data = false;                   // blocks that the file lacks
  bool holds_nan = false;
  std::vector<std::string> warnings;

 private:
  void choose(const std::vector<int>& wanted, const std::string& name);
  void choose_four(const std::string& name);
  void check_types(const std::string& name);
  void check_blocks(const std::string& name) const;
  void choose_table();
  void choose_stretch();
  void choose_masks();
  GDALRasterBand* band(int index) const { return dataset->GetRasterBand(numbers[index]); }
  bool is_empty(const cv::Rect& window) const;
  bool read_channels(const cv::Rect& window, cv::Mat channels, cv::Mat& valid) const;
  bool read_masks(const cv::Rect& window, cv::Mat& valid) const;
};

}  // namespace hornet::internal
