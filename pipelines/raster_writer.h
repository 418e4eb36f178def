// Tiled, compressed GeoTIFFs, written by blocks: label maps with their colours, probabilities,
// overlays. Memory is bounded by the blocks in hand, whatever the size of the file (BigTIFF above
// 4 GB).
//
//   RasterWriter out("labels.tif", {size, 1, CV_8U, 255, palette_colors}, georeference);
//   out.write({0, 0, size.width, 256}, {labels});   // whole rows of blocks: kBlock = 256
//   out.flush();                                    // from here on the file is valid on disk
//   out.close();
//
// The same calls make the same bytes, also when the file was closed (or the process killed) after a
// flush() and is opened again to go on. Blocks that were not written read as the nodata value.
//
// Errors: hornet::Error(kOutput) that names the file, and a full disk if it is one.
#pragma once

#include <hornet/pipelines/raster_reader.h>

#include <filesystem>
#include <memory>
#include <opencv2/core.hpp>
#include <optional>
#include <vector>

namespace hornet {

struct RasterFormat {
  cv::Size size;
  int bands = 1;
  int depth = CV_8U;                    // CV_8U, CV_16U or CV_32F
  std::optional<double> nodata;         // of every band
  std::vector<cv::Vec3b> colors;        // BGR by value, for one band of CV_8U; the rest stay black
  std::vector<std::string> band_names;  // descriptions; may be empty
};

class RasterWriter {
 public:
  static constexpr int kBlock = 256;  // files are stored in blocks of 256 x 256

  // Creates the file; one that exists is replaced.
  RasterWriter(const std::filesystem::path& path, const RasterFormat& format,
               const Georeference& georeference);
  // Opens a file of write()s and flush()es to go on with it. Error(kOutput) if it is missing or not
  // of this format.
  static RasterWriter reopen(const std::filesystem::path& path, const RasterFormat& format);
  ~RasterWriter();
  RasterWriter(RasterWriter&&) noexcept;
  RasterWriter& operator=(RasterWriter&&) noexcept;

  // One plane a band, single channel, of the format's depth and the rectangle's size. Rectangles
  // start at multiples of kBlock and end there or at the image's border.
  void write(const cv::Rect& where, const std::vector<cv::Mat>& planes);

  // Brings what was written so far to the disk, as a valid file.
  void flush();

  // Smaller copies inside the file, so that viewers open it at once. Before close().
  void build_overviews();

  // Flushes and closes; errors that the file system kept back surface here.
  void close();

 private:
  struct Impl;
  explicit RasterWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Whether a file of this name is a TIFF.
bool is_tiff(const std::filesystem::path& name);

// The longest side of an image in the format of this name, in pixels: JPEG's is 65500, WebP's
// 16383; INT_MAX for those whose sides do not matter.
int largest_side(const std::filesystem::path& name);

// A label raster as PNG, with its palette. Streams: memory does not grow with the image.
void convert_to_png(const std::filesystem::path& raster, const std::filesystem::path& png);

// A GDAL virtual raster over parts that each cover a rectangle of it: `parts` are files and where
// their pixels lie. Paths are stored relative to the VRT where they can be. Written through a
// temporary name.
struct RasterPart {
  std::filesystem::path file;
  cv::Rect where;
};
void write_vrt(const std::filesystem::path& vrt, const RasterFormat& format,
               const Georeference& georeference, const std::vector<RasterPart>& parts);

}  // namespace hornet
