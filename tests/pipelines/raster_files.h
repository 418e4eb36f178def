// Rasters for tests: made and read through GDAL itself.
#pragma once

#include <cpl_string.h>
#include <gdal_priv.h>
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/raster_reader.h>
#include <hornet/pipelines/raster_writer.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <opencv2/imgproc.hpp>
#include <string>
#include <vector>

namespace hornet {

inline void expect_error(ErrorCode code, const std::function<void()>& action,
                         const std::vector<std::string>& parts) {
  try {
    action();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    const std::string what = error.what();
    for (const std::string& part : parts) EXPECT_NE(what.find(part), std::string::npos) << what;
    EXPECT_EQ(what.find('\n'), std::string::npos) << what;
  }
}

inline void expect_input_error(const std::function<void()>& action,
                               const std::vector<std::string>& parts) {
  expect_error(ErrorCode::kInput, action, parts);
}

inline void expect_output_error(const std::function<void()>& action,
                                const std::vector<std::string>& parts) {
  expect_error(ErrorCode::kOutput, action, parts);
}

inline bool equal(const cv::Mat& a, const cv::Mat& b) {
  return a.size() == b.size() && a.type() == b.type() && cv::norm(a, b, cv::NORM_INF) == 0;
}

inline cv::Mat noise(cv::Size size, int type) {
  cv::Mat image(size, type);
  cv::RNG random(size.width * 31 + size.height);
  random.fill(image, cv::RNG::UNIFORM, 0, 256);
  return image;
}

// Something with edges and shades, as photographs have.
inline cv::Mat picture(cv::Size size) {
  cv::Mat image = noise({size.width / 8 + 2, size.height / 8 + 2}, CV_8UC3);
  cv::resize(image, image, size, 0, 0, cv::INTER_CUBIC);
  return image;
}

using Describe = std::function<void(GDALDataset&)>;

inline GDALDataType gdal_type(int depth) {
  static const GDALDataType kTypes[] = {GDT_Byte,  GDT_Byte,    GDT_UInt16, GDT_Int16,
                                        GDT_Int32, GDT_Float32, GDT_Float64};
  return kTypes[depth];
}

// A file of these bands, in the driver's order.
inline void make_raster(const std::filesystem::path& path, const std::vector<cv::Mat>& bands,
                        const std::vector<const char*>& options = {},
                        const Describe& describe = {}) {
  GDALAllRegister();
  CPLStringList list;
  for (const char* option : options) list.AddString(option);
  GDALDriver* driver = GetGDALDriverManager()->GetDriverByName("GTiff");
  GDALDataset* dataset =
      driver->Create(path.c_str(), bands[0].cols, bands[0].rows, static_cast<int>(bands.size()),
                     gdal_type(bands[0].depth()), list.List());
  ASSERT_NE(dataset, nullptr);
  if (describe) describe(*dataset);
  for (size_t i = 0; i < bands.size(); ++i) {
    cv::Mat band = bands[i].clone();
    ASSERT_EQ(dataset->GetRasterBand(static_cast<int>(i) + 1)
                  ->RasterIO(GF_Write, 0, 0, band.cols, band.rows, band.data, band.cols, band.rows,
                             gdal_type(band.depth()), 0, 0, nullptr),
              CE_None);
  }
  GDALClose(dataset);
}

inline std::vector<cv::Mat> rgb_bands(const cv::Mat& bgr) {
  std::vector<cv::Mat> bands;
  cv::split(bgr, bands);
  std::swap(bands[0], bands[2]);
  return bands;
}

inline cv::Rect everything(const RasterReader& reader) { return {{}, reader.size()}; }

inline WindowPixels read_all(const std::filesystem::path& path, const RasterOptions& options = {}) {
  RasterReader reader(path, options);
  return reader.read(everything(reader));
}

inline cv::Mat gray_as_bgr(const cv::Mat& gray) {
  cv::Mat bgr;
  cv::cvtColor(gray, bgr, cv::COLOR_GRAY2BGR);
  return bgr;
}

struct CloseDataset {
  void operator()(GDALDataset* dataset) const { GDALClose(dataset); }
};
using DatasetPtr = std::unique_ptr<GDALDataset, CloseDataset>;

inline DatasetPtr open(const std::filesystem::path& path) {
  GDALAllRegister();
  return DatasetPtr(static_cast<GDALDataset*>(GDALOpen(path.c_str(), GA_ReadOnly)));
}

}  // namespace hornet
