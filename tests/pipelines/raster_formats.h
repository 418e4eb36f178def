// The formats that RasterWriter's tests write, and pixels for them.
#pragma once

#include <algorithm>

#include "raster_files.h"

namespace hornet {

inline constexpr int kBlock = RasterWriter::kBlock;

inline std::vector<cv::Vec3b> some_colors(int count) {
  std::vector<cv::Vec3b> colors;
  for (int i = 0; i < count; ++i) {
    colors.emplace_back(static_cast<uchar>(i), static_cast<uchar>(255 - i), 7);
  }
  return colors;
}

// Patches of equal values, as labels are; different in every band.
inline std::vector<cv::Mat> planes_of(const RasterFormat& format) {
  std::vector<cv::Mat> planes;
  for (int band = 0; band < format.bands; ++band) {
    cv::Mat patches(format.size.height / 16 + 1, format.size.width / 16 + 1, CV_16UC1);
    cv::RNG random(band + 1);
    random.fill(patches, cv::RNG::UNIFORM, 0, 150);
    cv::Mat plane(format.size, CV_16UC1);
    for (int y = 0; y < plane.rows; ++y) {
      for (int x = 0; x < plane.cols; ++x) {
        plane.at<uint16_t>(y, x) = patches.at<uint16_t>(y / 16, x / 16);
      }
    }
    plane.convertTo(plane, format.depth, format.depth == CV_32F ? 1 / 149.0 : 1);
    planes.push_back(plane);
  }
  return planes;
}

inline cv::Rect row_of_blocks(const RasterFormat& format, int row) {
  const int top = row * kBlock;
  return {0, top, format.size.width, std::min(kBlock, format.size.height - top)};
}

inline int rows_of_blocks(const RasterFormat& format) {
  return (format.size.height + kBlock - 1) / kBlock;
}

inline void write_row(RasterWriter& writer, const RasterFormat& format,
                      const std::vector<cv::Mat>& planes, int row) {
  const cv::Rect where = row_of_blocks(format, row);
  std::vector<cv::Mat> parts;
  for (const cv::Mat& plane : planes) parts.push_back(plane(where));
  writer.write(where, parts);
}

inline Georeference utm() {
  Georeference result;
  OGRSpatialReference projection;
  projection.importFromEPSG(32633);
  char* text = nullptr;
  projection.exportToWkt(&text);
  result.projection = text;
  CPLFree(text);
  result.geo_transform = {399960, 0.1, 0, 5800020, 0, -0.1};
  return result;
}

inline cv::Mat read_band(GDALDataset& dataset, int number, cv::Rect window = {}) {
  GDALRasterBand& band = *dataset.GetRasterBand(number);
  if (window.empty()) window = {0, 0, band.GetXSize(), band.GetYSize()};
  const GDALDataType type = band.GetRasterDataType();
  cv::Mat pixels(window.size(), type == GDT_Byte     ? CV_8UC1
                                : type == GDT_UInt16 ? CV_16UC1
                                                     : CV_32FC1);
  EXPECT_EQ(band.RasterIO(GF_Read, window.x, window.y, window.width, window.height, pixels.data,
                          window.width, window.height, type, 0, 0, nullptr),
            CE_None);
  return pixels;
}

inline void write_file_of(const std::filesystem::path& path, const RasterFormat& format,
                          const std::vector<cv::Mat>& planes,
                          const Georeference& georeference = {}) {
  RasterWriter writer(path, format, georeference);
  for (int row = 0; row < rows_of_blocks(format); ++row) write_row(writer, format, planes, row);
  writer.close();
}

inline const RasterFormat kLabels = {{1000, 1500}, 1, CV_8U, 255.0, some_colors(150), {}};
inline const RasterFormat kWideLabels = {{1000, 1500}, 1, CV_16U, 65535.0, {}, {}};
inline const RasterFormat kProbabilities = {{700, 900}, 3,  CV_32F,
                                            -1.0,       {}, {"wall", "floor & <roof>", "sky"}};
inline const RasterFormat kOverlay = {{700, 900}, 3, CV_8U, {}, {}, {}};
inline const RasterFormat kLarge = {{70000, 70000}, 1, CV_8U, 255.0, some_colors(19), {}};

}  // namespace hornet
