// Rasters for the program to read, and what it made of them, through GDAL alone.
#pragma once

#include <filesystem>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

namespace hornet::testing {

struct RasterFacts {
  cv::Mat labels;  // the first band, CV_8UC1 or CV_16UC1
  int bands = 0;
  int overviews = 0;
  bool tiled = false;
  bool has_colors = false;
  double nodata = -1;
  std::vector<double> geo_transform;  // empty without one
  std::string projection;
};
RasterFacts read_raster(const std::filesystem::path& file);

struct RasterLook {
  int depth = CV_8U;  // CV_8U, CV_16U or CV_32F
  int bands = 3;
  bool georeferenced = false;
  cv::Rect hole;  // without data: nodata is 0
};
// A GeoTIFF of scenes (samples.h), repeated over its size; 16-bit and float values are 16 times the
// 8-bit ones.
void write_raster(const std::filesystem::path& file, cv::Size size, const RasterLook& look = {});

}  // namespace hornet::testing
