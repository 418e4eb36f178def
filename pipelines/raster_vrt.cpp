#include <cpl_conv.h>
#include <hornet/pipelines/internal/gdal_support.h>
#include <hornet/pipelines/output_guard.h>
#include <hornet/pipelines/raster_writer.h>

#include <iomanip>
#include <limits>
#include <memory>
#include <sstream>

namespace hornet {
namespace {

namespace fs = std::filesystem;

std::string escaped(const std::string& text) {
  const std::unique_ptr<char, void (*)(void*)> xml(
      CPLEscapeString(text.c_str(), static_cast<int>(text.size()), CPLES_XML),
      [](void* memory) { CPLFree(memory); });
  return xml.get();
}

const char* type_of(int depth) {
  return depth == CV_8U ? "Byte" : depth == CV_16U ? "UInt16" : "Float32";
}

void put_georeference(std::ostream& xml, const Georeference& georeference) {
  if (!georeference.projection.empty()) {
    xml << "  <SRS>" << escaped(georeference.projection) << "</SRS>\n";
  }
  if (georeference.geo_transform) {
    const char* separator = "  <GeoTransform>";
    for (double number : *georeference.geo_transform) {
      xml << separator << number;
      separator = ", ";
    }
    xml << "</GeoTransform>\n";
  } else if (!georeference.control_points.empty()) {
    xml << "  <GCPList Projection=\"" << escaped(georeference.control_points_projection) << "\">\n";
    for (const Georeference::ControlPoint& point : georeference.control_points) {
      xml << "    <GCP Id=\"" << escaped(point.id) << "\" Info=\"" << escaped(point.info)
          << "\" Pixel=\"" << point.column << "\" Line=\"" << point.row << "\" X=\"" << point.x
          << "\" Y=\"" << point.y << "\" Z=\"" << point.z << "\"/>\n";
    }
    xml << "  </GCPList>\n";
  }
}

void put_colors(std::ostream& xml, const std::vector<cv::Vec3b>& colors) {
  xml << "    <ColorInterp>Palette</ColorInterp>\n    <ColorTable>\n";
  for (const cv::Vec3b& bgr : colors) {
    xml << "      <Entry c1=\"" << int{bgr[2]} << "\" c2=\"" << int{bgr[1]} << "\" c3=\""
        << int{bgr[0]} << "\" c4=\"255\"/>\n";
  }
  xml << "    </ColorTable>\n";
}

// Parts that lie beside the VRT are found again when both are moved.
fs::path seen_from(const fs::path& folder, const fs::path& file) {
  std::error_code error;
  const fs::path relative = fs::proximate(fs::weakly_canonical(file, error), folder, error);
  return error ? fs::absolute(file) : relative;
}

void put_source(std::ostream& xml, const fs::path& file, const cv::Rect& where, int band,
                int depth) {
  const auto rectangle = [&](const char* name, int x, int y) {
    xml << "      <" << name << " xOff=\"" << x << "\" yOff=\"" << y << "\" xSize=\"" << where.width
        << "\" ySize=\"" << where.height << "\"/>\n";
  };
  xml << "    <SimpleSource>\n      <SourceFilename relativeToVRT=\"" << file.is_relative() << "\">"
      << escaped(file.string()) << "</SourceFilename>\n      <SourceBand>" << band
      << "</SourceBand>\n      <SourceProperties RasterXSize=\"" << where.width
      << "\" RasterYSize=\"" << where.height << "\" DataType=\"" << type_of(depth)
      << "\" BlockXSize=\"" << RasterWriter::kBlock << "\" BlockYSize=\"" << RasterWriter::kBlock
      << "\"/>\n";
  rectangle("SrcRect", 0, 0);
  rectangle("DstRect", where.x, where.y);
  xml << "    </SimpleSource>\n";
}

}  // namespace

void write_vrt(const fs::path& vrt, const RasterFormat& format, const Georeference& georeference,
               const std::vector<RasterPart>& parts) {
  OutputFile file(vrt, true);
  std::error_code error;
  const fs::path folder = fs::weakly_canonical(fs::absolute(vrt), error).parent_path();
  std::ostringstream xml;
  xml.imbue(std::locale::classic());
  xml << std::setprecision(std::numeric_limits<double>::max_digits10);
  xml << "<VRTDataset rasterXSize=\"" << format.size.width << "\" rasterYSize=\""
      << format.size.height << "\">\n";
  put_georeference(xml, georeference);
  for (int band = 1; band <= format.bands; ++band) {
    xml << "  <VRTRasterBand dataType=\"" << type_of(format.depth) << "\" band=\"" << band
        << "\">\n";
    if (!format.band_names.empty()) {
      xml << "    <Description>" << escaped(format.band_names.at(band - 1)) << "</Description>\n";
    }
    if (format.nodata) xml << "    <NoDataValue>" << *format.nodata << "</NoDataValue>\n";
    if (!format.colors.empty()) put_colors(xml, format.colors);
    for (const RasterPart& part : parts) {
      put_source(xml, seen_from(folder, part.file), part.where, band, format.depth);
    }
    xml << "  </VRTRasterBand>\n";
  }
  xml << "</VRTDataset>\n";
  write_text(std::move(file), xml.str());
}

}  // namespace hornet
