#include <hornet/backbone/error.h>
#include <hornet/pipelines/label_reader.h>
#include <hornet/pipelines/overlay.h>
#include <hornet/pipelines/raster_writer.h>

#include <algorithm>
#include <functional>
#include <opencv2/imgcodecs.hpp>

namespace hornet {
namespace {

constexpr int kStrip = RasterWriter::kBlock;
constexpr int64_t kMaxPixelsInMemory = int64_t{1} << 28;

using UseStrip = std::function<void(const cv::Rect& where, const cv::Mat& bgr)>;

void for_each_strip(RasterReader& image, LabelReader& labels, const Palette& palette,
                    double opacity, const UseStrip& use) {
  const cv::Size size = image.size();
  for (int y = 0; y < size.height; y += kStrip) {
    const cv::Rect where(0, y, size.width, std::min(kStrip, size.height - y));
    cv::Mat bgr = image.read(where).bgr;
    blend_labels(bgr, labels.read(where), palette, opacity);
    use(where, bgr);
  }
}

[[noreturn]] void fail_output(const std::filesystem::path& name, const std::string& what) {
  throw Error(ErrorCode::kOutput, name.string() + ": " + what);
}

void write_image(const std::filesystem::path& output, const std::filesystem::path& name,
                 const cv::Mat& canvas) {
  std::string cause;
  try {
    if (cv::imwrite(output.string(), canvas)) return;
  } catch (const cv::Exception& error) {
    cause = " (" + error.err + ")";
  }
  fail_output(name, "an image of " + std::to_string(canvas.cols) + " x " +
                        std::to_string(canvas.rows) + " pixels cannot be written" + cause +
                        "; free some space, or name a .tif file");
}

}  // namespace

void check_overlay_file(const std::filesystem::path& name, cv::Size size) {
  if (is_tiff(name)) return;
  const std::string image =
      "an image of " + std::to_string(size.width) + " x " + std::to_string(size.height) + " pixels";
  if (int64_t{size.width} * size.height > kMaxPixelsInMemory) {
    fail_output(name, image + " is too large for this format; name a .tif file");
  }
  if (!cv::haveImageWriter(name.string())) {
    fail_output(name, "no known image format; name a .tif, .png or .jpg file");
  }
  if (std::max(size.width, size.height) > largest_side(name)) {
    fail_output(name, image + " cannot be written in this format, whose sides end at " +
                          std::to_string(largest_side(name)) + "; name a .tif file");
  }
}

void write_overlay(RasterReader& image, const std::filesystem::path& labels, const Palette& palette,
                   const std::filesystem::path& output, const std::filesystem::path& name,
                   const Georeference& georeference, const OverlayOptions& options) {
  const cv::Size size = image.size();
  LabelReader reader(labels);
  if (reader.size() != size) {
    reader.fail("has " + std::to_string(reader.size().width) + " x " +
                std::to_string(reader.size().height) + " pixels, expected " +
                std::to_string(size.width) + " x " + std::to_string(size.height) +
                " as in the image");
  }
  check_overlay_file(name, size);
  if (!is_tiff(name)) {
    cv::Mat canvas(size, CV_8UC3);
    for_each_strip(image, reader, palette, options.opacity,
                   [&](const cv::Rect& where, const cv::Mat& bgr) { bgr.copyTo(canvas(where)); });
    return write_image(output, name, canvas);
  }
  RasterFormat format;
  format.size = size;
  format.bands = 3;
  RasterWriter writer(output, format, georeference);
  for_each_strip(image, reader, palette, options.opacity,
                 [&](const cv::Rect& where, const cv::Mat& bgr) {
                   std::vector<cv::Mat> planes;
                   cv::split(bgr, planes);
                   writer.write(where, {planes[2], planes[1], planes[0]});
                 });
  writer.build_overviews();
  writer.close();
}

}  // namespace hornet
