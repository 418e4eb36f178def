#include "tests/demos/rasters.h"

#include <gdal_priv.h>
#include <gtest/gtest.h>
#include <ogr_spatialref.h>

#include <memory>

#include "tests/demos/samples.h"

namespace hornet::testing {
namespace {

struct Close {
  void operator()(GDALDataset* dataset) const { GDALClose(dataset); }
};
using Dataset = std::unique_ptr<GDALDataset, Close>;

GDALDataType gdal_type(int depth) {
  if (depth == CV_8U) return GDT_Byte;
  return depth == CV_16U ? GDT_UInt16 : GDT_Float32;
}

void set_place(GDALDataset& dataset) {
  double transform[6] = {500000, 0.5, 0, 4600000, 0, -0.5};
  OGRSpatialReference reference;
  reference.importFromEPSG(32631);
  dataset.SetGeoTransform(transform);
  dataset.SetSpatialRef(&reference);
}

}  // namespace

RasterFacts read_raster(const std::filesystem::path& file) {
  GDALAllRegister();
  RasterFacts facts;
  const Dataset dataset(GDALDataset::Open(file.c_str(), GDAL_OF_RASTER | GDAL_OF_READONLY));
  EXPECT_TRUE(dataset) << file;
  if (!dataset) return facts;
  GDALRasterBand& band = *dataset->GetRasterBand(1);
  const cv::Size size(dataset->GetRasterXSize(), dataset->GetRasterYSize());
  const GDALDataType type = band.GetRasterDataType() == GDT_UInt16 ? GDT_UInt16 : GDT_Byte;
  facts.labels.create(size, type == GDT_Byte ? CV_8UC1 : CV_16UC1);
  EXPECT_EQ(band.RasterIO(GF_Read, 0, 0, size.width, size.height, facts.labels.data, size.width,
                          size.height, type, 0, 0, nullptr),
            CE_None);
  facts.bands = dataset->GetRasterCount();
  facts.overviews = band.GetOverviewCount();
  int width = 0, height = 0;
  band.GetBlockSize(&width, &height);
  facts.tiled = width == 256 && height == 256;
  facts.has_colors = band.GetColorTable() != nullptr;
  facts.nodata = band.GetNoDataValue();
  double transform[6];
  if (dataset->GetGeoTransform(transform) == CE_None) {
    facts.geo_transform.assign(transform, transform + 6);
  }
  facts.projection = dataset->GetProjectionRef();
  return facts;
}

void write_raster(const std::filesystem::path& file, cv::Size size, const RasterLook& look) {
  GDALAllRegister();
  GDALDriver* driver = GetGDALDriverManager()->GetDriverByName("GTiff");
  const char* options[] = {"TILED=YES", "COMPRESS=DEFLATE", nullptr};
  const Dataset dataset(driver->Create(file.c_str(), size.width, size.height, look.bands,
                                       gdal_type(look.depth), const_cast<char**>(options)));
  ASSERT_TRUE(dataset) << file;
  if (look.georeferenced) set_place(*dataset);
  cv::Mat image(size, CV_8UC3);
  const cv::Mat tile = scene({std::min(size.width, 256), std::min(size.height, 256)}, 11);
  for (int y = 0; y < size.height; y += tile.rows) {
    for (int x = 0; x < size.width; x += tile.cols) {
      const cv::Rect where(x, y, std::min(tile.cols, size.width - x),
                           std::min(tile.rows, size.height - y));
      tile({0, 0, where.width, where.height}).copyTo(image(where));
    }
  }
  cv::max(image, cv::Scalar::all(1), image);
  if (!look.hole.empty()) image(look.hole).setTo(0);
  for (int band = 1; band <= look.bands; ++band) {
    cv::Mat plane, values;
    cv::extractChannel(image, plane, band <= 3 ? 3 - band : 0);
    plane.convertTo(values, look.depth, look.depth == CV_8U ? 1 : 16);
    if (!look.hole.empty()) dataset->GetRasterBand(band)->SetNoDataValue(0);
    EXPECT_EQ(dataset->GetRasterBand(band)->RasterIO(GF_Write, 0, 0, size.width, size.height,
                                                     values.data, size.width, size.height,
                                                     gdal_type(look.depth), 0, 0, nullptr),
              CE_None);
  }
}

}  // namespace hornet::testing
