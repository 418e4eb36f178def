// GDAL as this library uses it: registered once, its cache bounded, its messages in our errors and
// not on stderr, no sidecar files written, nothing fetched from a network because a file asks for
// it.
#pragma once

#include <gdal_priv.h>
#include <hornet/pipelines/raster_reader.h>

#include <filesystem>
#include <memory>
#include <string>

namespace hornet::internal {

// Registers GDAL's drivers. Every use of GDAL comes after it.
void register_gdal();

// While it lives, this thread's GDAL messages go here.
class GdalMessages {
 public:
  GdalMessages();
  ~GdalMessages();
  GdalMessages(const GdalMessages&) = delete;
  GdalMessages& operator=(const GdalMessages&) = delete;

  bool failed() const { return failed_; }
  // The first line of the last failure, "" if there was none.
  const std::string& failure() const { return failure_; }

 private:
  static void CPL_STDCALL keep(CPLErr severity, CPLErrorNum number, const char* message);

  bool failed_ = false;
  std::string failure_;
};

struct CloseDataset {
  void operator()(GDALDataset* dataset) const;
};
using DatasetPtr = std::unique_ptr<GDALDataset, CloseDataset>;

// The file's name in the form that no driver takes for anything but a file: absolute.
std::string gdal_name(const std::filesystem::path& path);

// Opens an existing regular file for reading, with what a .aux.xml beside it says, or nullptr.
DatasetPtr open_for_reading(const std::filesystem::path& path);

// What libjpeg says about a JPEG that is cut off or damaged; "" for one that is whole, and for what
// GDAL does not take for a JPEG.
std::string jpeg_damage(const std::filesystem::path& path);

Georeference georeference_of(GDALDataset& dataset);
// False if GDAL refuses a part of it.
bool set_georeference(GDALDataset& dataset, const Georeference& georeference);

// "16-bit unsigned"
std::string type_name(GDALDataType type);

}  // namespace hornet::internal
