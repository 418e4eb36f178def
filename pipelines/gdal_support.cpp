#include <cpl_conv.h>
#include <cpl_string.h>
#include <hornet/pipelines/internal/gdal_support.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <system_error>
#include <vector>

namespace hornet::internal {
namespace {

constexpr int64_t kCacheBytes = int64_t{32} << 20;

// Drivers of services. A small file (GDAL_WMS, WCS_GDAL, a VRT's source) is enough to call them.
constexpr const char* kServices =
    "HTTP WMS WCS WMTS PLMOSAIC PLSCENES DAAS EEDA EEDAI NGW OGCAPI STACTA STACIT PostGISRaster";

void configure() {
  CPLSetConfigOption("GDAL_PAM_ENABLED", "NO");  // what is written has no .aux.xml
  // A JPEG that ends early would pass as gray from there on.
  CPLSetConfigOption("GDAL_ERROR_ON_LIBJPEG_WARNING", "TRUE");
  // Images come from strangers: a VRT runs no Python, and /vsicurl/ and its kin open no name but
  // this one.
  CPLSetConfigOption("GDAL_VRT_ENABLE_PYTHON", "NO");
  CPLSetConfigOption("CPL_VSIL_CURL_ALLOWED_FILENAME", "/none");
  if (CPLGetConfigOption("GDAL_SKIP", nullptr) == nullptr) {
    CPLSetConfigOption("GDAL_SKIP", kServices);
  }
  if (CPLGetConfigOption("GDAL_CACHEMAX", nullptr) == nullptr) GDALSetCacheMax64(kCacheBytes);
}

std::vector<GDAL_GCP> to_gdal(const std::vector<Georeference::ControlPoint>& points) {
  std::vector<GDAL_GCP> gcps;
  for (const Georeference::ControlPoint& point : points) {
    GDAL_GCP gcp{};
    gcp.pszId = const_cast<char*>(point.id.c_str());
    gcp.pszInfo = const_cast<char*>(point.info.c_str());
    gcp.dfGCPPixel = point.column;
    gcp.dfGCPLine = point.row;
    gcp.dfGCPX = point.x;
    gcp.dfGCPY = point.y;
    gcp.dfGCPZ = point.z;
    gcps.push_back(gcp);
  }
  return gcps;
}

std::string text_of(const char* text) { return text == nullptr ? "" : text; }

}  // namespace

void register_gdal() {
  static std::once_flag once;
  std::call_once(once, [] {
    const GdalMessages quiet;
    configure();
    GDALAllRegister();
  });
}

GdalMessages::GdalMessages() {
  CPLErrorReset();
  CPLPushErrorHandlerEx(&GdalMessages::keep, this);
}

GdalMessages::~GdalMessages() { CPLPopErrorHandler(); }

void GdalMessages::keep(CPLErr severity, CPLErrorNum, const char* message) {
  if (severity < CE_Failure) return;
  auto* self = static_cast<GdalMessages*>(CPLGetErrorHandlerUserData());
  self->failed_ = true;
  const std::string text = text_of(message);
  self->failure_ = text.substr(0, text.find('\n'));
}

void CloseDataset::operator()(GDALDataset* dataset) const {
  const GdalMessages quiet;
  GDALClose(dataset);
}

std::string gdal_name(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return (error ? path : absolute).string();
}

DatasetPtr open_for_reading(const std::filesystem::path& path) {
  register_gdal();
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return nullptr;
  // A .aux.xml beside an input may have its georeference and its nodata value.
  const CPLConfigOptionSetter with_sidecar("GDAL_PAM_ENABLED", "YES", false);
  DatasetPtr dataset(static_cast<GDALDataset*>(GDALOpenEx(
      gdal_name(path).c_str(), GDAL_OF_RASTER | GDAL_OF_READONLY, nullptr, nullptr, nullptr)));
  if (dataset != nullptr) dataset->GetMetadata();  // GeoTIFF looks for it when first asked
  return dataset;
}

std::string jpeg_damage(const std::filesystem::path& path) {
  constexpr char kLibrary[] = "libjpeg: ";
  const char* const drivers[] = {"JPEG", nullptr};
  register_gdal();
  const GdalMessages messages;
  const DatasetPtr jpeg(static_cast<GDALDataset*>(GDALOpenEx(
      gdal_name(path).c_str(), GDAL_OF_RASTER | GDAL_OF_READONLY, drivers, nullptr, nullptr)));
  if (jpeg == nullptr) return "";
  const int width = jpeg->GetRasterXSize(), bands = jpeg->GetRasterCount();
  std::vector<uint8_t> row(static_cast<size_t>(width) * bands);
  CPLErr result = CE_None;
  for (int y = 0; y < jpeg->GetRasterYSize() && result == CE_None; ++y) {
    result = jpeg->RasterIO(GF_Read, 0, y, width, 1, row.data(), width, 1, GDT_Byte, bands, nullptr,
                            bands, 0, 1, nullptr);
  }
  // A limit of GDAL's own is no damage, nor is what libjpeg only remarks on: odd headers, and bytes
  // between whole parts, which some cameras write.
  const std::string& failure = messages.failure();
  const auto says = [&](const char* words) { return failure.find(words) != std::string::npos; };
  const bool damaged = says("Premature end") || says("Corrupt JPEG data");
  if (!damaged || says("extraneous bytes") || !says(kLibrary)) return "";
  return failure.substr(failure.find(kLibrary) + std::strlen(kLibrary));
}

Georeference georeference_of(GDALDataset& dataset) {
  Georeference result;
  result.projection = text_of(dataset.GetProjectionRef());
  std::array<double, 6> transform;
  if (dataset.GetGeoTransform(transform.data()) == CE_None) {
    result.geo_transform = transform;
    return result;
  }
  const GDAL_GCP* gcps = dataset.GetGCPs();
  for (int i = 0; i < dataset.GetGCPCount(); ++i) {
    result.control_points.push_back({text_of(gcps[i].pszId), text_of(gcps[i].pszInfo),
                                     gcps[i].dfGCPPixel, gcps[i].dfGCPLine, gcps[i].dfGCPX,
                                     gcps[i].dfGCPY, gcps[i].dfGCPZ});
  }
  if (!result.control_points.empty()) {
    result.control_points_projection = text_of(dataset.GetGCPProjection());
  }
  return result;
}

bool set_georeference(GDALDataset& dataset, const Georeference& georeference) {
  std::vector<CPLErr> results;
  if (!georeference.projection.empty()) {
    results.push_back(dataset.SetProjection(georeference.projection.c_str()));
  }
  if (georeference.geo_transform) {
    std::array<double, 6> transform = *georeference.geo_transform;
    results.push_back(dataset.SetGeoTransform(transform.data()));
  } else if (!georeference.control_points.empty()) {
    const std::vector<GDAL_GCP> gcps = to_gdal(georeference.control_points);
    results.push_back(dataset.SetGCPs(static_cast<int>(gcps.size()), gcps.data(),
                                      georeference.control_points_projection.c_str()));
  }
  return std::all_of(results.begin(), results.end(), [](CPLErr r) { return r == CE_None; });
}

std::string type_name(GDALDataType type) {
  if (GDALDataTypeIsComplex(type)) return "complex";
  const std::string bits = std::to_string(GDALGetDataTypeSizeBits(type)) + "-bit ";
  if (GDALDataTypeIsFloating(type)) return bits + "float";
  return bits + (GDALDataTypeIsSigned(type) ? "signed" : "unsigned");
}

}  // namespace hornet::internal
