// Rasters of any format that GDAL knows, read by windows as 8-bit BGR: GeoTIFF and BigTIFF, JPEG
// 2000, PNG, JPEG, VRT, ... . Memory is that of a window and of GDAL's bounded cache, never that of
// the image.
//
//   RasterReader raster("scene.tif", {});
//   WindowPixels part = raster.read({0, 0, 512, 512});
//
// One band is gray, three are red, green and blue; an alpha band, a mask or a nodata value says
// where there is no data; palettes and CMYK are converted (CMYK without its colour profile, with a
// warning). Other numbers of bands need RasterOptions::bands, and pixels of more than 8 bits
// RasterOptions::range: nothing is scaled or dropped silently. A JPEG is turned upright as its EXIF
// data say, unless it is georeferenced.
//
// Errors: hornet::Error(kInput) that names the file, what was expected and found, and what to do.
#pragma once

#include <hornet/pipelines/window_source.h>

#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hornet {

struct RasterOptions {
  std::vector<int> bands;                          // from 1: red, green, blue; or one for gray
  std::optional<std::pair<double, double>> range;  // these values become 0 and 255
};

// Where a raster lies on the earth, to be passed on to what is made from it.
struct Georeference {
  std::string projection;                              // well-known text; may be empty
  std::optional<std::array<double, 6>> geo_transform;  // GDAL's six numbers
  // Ground control points are kept where there is no transform.
  struct ControlPoint {
    std::string id, info;
    double column, row, x, y, z;
  };
  std::vector<ControlPoint> control_points;
  std::string control_points_projection;
  bool empty() const { return projection.empty() && !geo_transform && control_points.empty(); }
};

class RasterReader {
 public:
  RasterReader(const std::filesystem::path& path, const RasterOptions& options);
  ~RasterReader();
  RasterReader(RasterReader&&) noexcept;
  RasterReader& operator=(RasterReader&&) noexcept;

  const std::string& name() const;  // the file's, as errors have it
  cv::Size size() const;
  Georeference georeference() const;
  const std::vector<std::string>& warnings() const;  // one line each, with the file's name

  // A window inside the raster. One thread at a time. Pixels without data are black, and 0 in
  // `valid`, which is empty if there are none in the window. Not-a-number is no data.
  WindowPixels read(const cv::Rect& window);

  // read() as a source; the reader must outlive it.
  WindowSource source();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether GDAL opens the file as an image. Never throws.
bool is_raster(const std::filesystem::path& path);

}  // namespace hornet
