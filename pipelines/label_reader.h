// Label rasters, read by windows as what they hold: class indices, not colours.
//
//   LabelReader labels("labels.tif");                 // .png, .vrt, ...
//   cv::Mat part = labels.read({0, 0, 512, 512});     // CV_8UC1 or CV_16UC1
//
// Errors: hornet::Error(kInput) that names the file.
#pragma once

#include <hornet/pipelines/raster_writer.h>

#include <filesystem>
#include <memory>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

namespace hornet {

class LabelReader {
 public:
  explicit LabelReader(const std::filesystem::path& path);
  ~LabelReader();
  LabelReader(const LabelReader&) = delete;
  LabelReader& operator=(const LabelReader&) = delete;

  cv::Size size() const;
  cv::Mat read(const cv::Rect& window);  // inside the raster

  // Throws Error(kInput) with the file's name before `what`.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One label raster of parts that each cover a rectangle of it, in their order. Parts begin at
// multiples of RasterWriter::kBlock.
void merge_labels(const std::filesystem::path& target, const RasterFormat& format,
                  const Georeference& georeference, const std::vector<RasterPart>& parts);

}  // namespace hornet
