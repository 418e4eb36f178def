#include <cpl_conv.h>
#include <cpl_string.h>
#include <fcntl.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/internal/gdal_support.h>
#include <hornet/pipelines/internal/tiff_tail.h>
#include <hornet/pipelines/raster_writer.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <string_view>
#include <system_error>
#include <utility>

namespace hornet {
namespace {

namespace fs = std::filesystem;
using internal::DatasetPtr;
using internal::GdalMessages;

constexpr int kBlock = RasterWriter::kBlock;
constexpr uintmax_t kFullVolume = 1 << 20;  // less free space than this is no free space
constexpr int kSmallOverview = 512;         // one whose larger side is below this is the last

[[noreturn]] void fail(const fs::path& path, const std::string& cause) {
  std::error_code error;
  const fs::space_info space = fs::space(path.has_parent_path() ? path.parent_path() : ".", error);
  const bool full = !error && space.available < kFullVolume;
  throw Error(ErrorCode::kOutput, path.string() + ": cannot be written: " + cause +
                                      (full ? " (the disk is full: free some space)" : ""));
}

// Removed beforehand: GDAL would replace what it takes for the sidecar files of the old one, too.
void remove_old(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (error) fail(path, error.message());
}

// Waits until the disk has the file.
void sync(const fs::path& path) {
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) fail(path, std::strerror(errno));
  const int error = fsync(file) == 0 ? 0 : errno;
  ::close(file);
  if (error != 0 && error != EINVAL) fail(path, std::strerror(error));
}

GDALDataType gdal_type(int depth) {
  return depth == CV_8U ? GDT_Byte : depth == CV_16U ? GDT_UInt16 : GDT_Float32;
}

bool is_rgb(const RasterFormat& format) { return format.bands == 3 && format.depth == CV_8U; }

void check_format(const RasterFormat& format) {
  CV_Assert(format.size.width > 0 && format.size.height > 0 && format.bands > 0);
  CV_Assert(format.depth == CV_8U || format.depth == CV_16U || format.depth == CV_32F);
  CV_Assert(format.colors.empty() || (format.bands == 1 && format.depth == CV_8U));
  CV_Assert(format.colors.size() <= 256);
  CV_Assert(format.band_names.empty() ||
            format.band_names.size() == static_cast<size_t>(format.bands));
}

// The same bytes from the same calls: one thread compresses, whatever the environment says.
CPLStringList creation_options(const RasterFormat& format) {
  CPLStringList options;
  for (const char* option : {"TILED=YES", "COMPRESS=DEFLATE", "ZLEVEL=6", "BIGTIFF=IF_SAFER",
                             "SPARSE_OK=TRUE", "NUM_THREADS=1"}) {
    options.AddString(option);
  }
  options.SetNameValue("BLOCKXSIZE", std::to_string(kBlock).c_str());
  options.SetNameValue("BLOCKYSIZE", std::to_string(kBlock).c_str());
  options.SetNameValue("INTERLEAVE", is_rgb(format) ? "PIXEL" : "BAND");
  if (is_rgb(format)) options.SetNameValue("PHOTOMETRIC", "RGB");
  if (format.depth == CV_32F) {
    options.SetNameValue("PREDICTOR", "3");
  } else if (format.bands > 1) {
    options.SetNameValue("PREDICTOR", "2");
  }
  return options;
}

GDALColorTable color_table(const std::vector<cv::Vec3b>& colors) {
  GDALColorTable table;
  for (size_t value = 0; value < colors.size(); ++value) {
    const cv::Vec3b& bgr = colors[value];
    const GDALColorEntry entry = {bgr[2], bgr[1], bgr[0], 255};
    table.SetColorEntry(static_cast<int>(value), &entry);
  }
  return table;
}

bool describe(GDALDataset& dataset, const RasterFormat& format, const Georeference& georeference) {
  for (int i = 0; i < format.bands; ++i) {
    GDALRasterBand& band = *dataset.GetRasterBand(i + 1);
    if (format.nodata && band.SetNoDataValue(*format.nodata) != CE_None) return false;
    if (!format.band_names.empty()) band.SetDescription(format.band_names[i].c_str());
  }
  if (!format.colors.empty()) {
    GDALColorTable table = color_table(format.colors);
    if (dataset.GetRasterBand(1)->SetColorTable(&table) != CE_None) return false;
  }
  return internal::set_georeference(dataset, georeference);
}

DatasetPtr create(const fs::path& path, const RasterFormat& format) {
  GDALDriver* driver = GetGDALDriverManager()->GetDriverByName("GTiff");
  CPLStringList options = creation_options(format);
  return DatasetPtr(driver == nullptr
                        ? nullptr
                        : driver->Create(internal::gdal_name(path).c_str(), format.size.width,
                                         format.size.height, format.bands, gdal_type(format.depth),
                                         options.List()));
}

DatasetPtr open_for_update(const fs::path& path) {
  const char* const drivers[] = {"GTiff", nullptr};
  const char* const options[] = {"SPARSE_OK=TRUE", "NUM_THREADS=1", nullptr};
  return DatasetPtr(static_cast<GDALDataset*>(GDALOpenEx(internal::gdal_name(path).c_str(),
                                                         GDAL_OF_RASTER | GDAL_OF_UPDATE, drivers,
                                                         options, nullptr)));
}

std::string text_of(const RasterFormat& format) {
  return std::to_string(format.size.width) + "x" + std::to_string(format.size.height) + ", " +
         std::to_string(format.bands) + (format.bands == 1 ? " band of " : " bands of ") +
         internal::type_name(gdal_type(format.depth));
}

bool same_value(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// What the file has and format names, apart from colours and band names.
bool is_of_format(GDALDataset& dataset, const RasterFormat& format) {
  if (dataset.GetRasterXSize() != format.size.width ||
      dataset.GetRasterYSize() != format.size.height || dataset.GetRasterCount() != format.bands) {
    return false;
  }
  for (int i = 1; i <= format.bands; ++i) {
    GDALRasterBand& band = *dataset.GetRasterBand(i);
    int width = 0, height = 0, has_nodata = 0;
    band.GetBlockSize(&width, &height);
    const double nodata = band.GetNoDataValue(&has_nodata);
    if (band.GetRasterDataType() != gdal_type(format.depth) || width != kBlock ||
        height != kBlock || (has_nodata != 0) != format.nodata.has_value() ||
        (has_nodata != 0 && !same_value(nodata, *format.nodata))) {
      return false;
    }
  }
  return true;
}

// GDAL does not look at what closing the file says.
bool is_complete_png(const fs::path& path) {
  constexpr std::string_view kEnd("IEND\xae\x42\x60\x82", 8);
  std::array<char, kEnd.size()> end;
  std::ifstream stream(path, std::ios::binary);
  stream.seekg(-static_cast<std::streamoff>(end.size()), std::ios::end);
  return stream.read(end.data(), end.size()) && kEnd == std::string_view(end.data(), end.size());
}

std::string lower_case_extension(const fs::path& name) {
  std::string extension = name.extension().string();
  for (char& letter : extension) letter = static_cast<char>(std::tolower(uint8_t(letter)));
  return extension;
}

// The block of a plane that starts at `from`. At the image's border the rest is nodata, so that a
// block without data is recognised as one.
void fill_block(const cv::Mat& plane, cv::Point from, double nodata, cv::Mat& block) {
  const cv::Size size(std::min(kBlock, plane.cols - from.x), std::min(kBlock, plane.rows - from.y));
  if (size != block.size()) block.setTo(nodata);
  plane(cv::Rect(from, size)).copyTo(block(cv::Rect({}, size)));
}

}  // namespace

struct RasterWriter::Impl {
  void write(const cv::Rect& where, const std::vector<cv::Mat>& planes);
  void write_block(cv::Point position, const std::vector<cv::Mat>& planes, cv::Point from);
  void open();
  void close();

  fs::path path;
  RasterFormat format;
  DatasetPtr dataset = nullptr;
  cv::Mat block = cv::Mat(kBlock, kBlock, format.depth);
};

void RasterWriter::Impl::open() {
  const GdalMessages messages;
  dataset = open_for_update(path);
  if (dataset == nullptr) fail(path, messages.failure());
}

void RasterWriter::Impl::close() {
  CV_Assert(dataset != nullptr);
  const GdalMessages messages;
  GDALClose(dataset.release());
  if (messages.failed()) fail(path, messages.failure());
  sync(path);
}

void RasterWriter::Impl::write(const cv::Rect& where, const std::vector<cv::Mat>& planes) {
  CV_Assert(dataset != nullptr);
  CV_Assert((where & cv::Rect({}, format.size)) == where && !where.empty());
  CV_Assert(where.x % kBlock == 0 && where.y % kBlock == 0);
  CV_Assert(where.width % kBlock == 0 || where.br().x == format.size.width);
  CV_Assert(where.height % kBlock == 0 || where.br().y == format.size.height);
  CV_Assert(planes.size() == static_cast<size_t>(format.bands));
  for (const cv::Mat& plane : planes) {
    CV_Assert(plane.size() == where.size() && plane.type() == CV_MAKETYPE(format.depth, 1));
  }
  for (int y = 0; y < where.height; y += kBlock) {
    for (int x = 0; x < where.width; x += kBlock) {
      write_block((where.tl() + cv::Point(x, y)) / kBlock, planes, {x, y});
    }
  }
}

// Past GDAL's cache, so that blocks reach the file in this order.
void RasterWriter::Impl::write_block(cv::Point position, const std::vector<cv::Mat>& planes,
                                     cv::Point from) {
  const GdalMessages messages;
  for (int i = 0; i < format.bands; ++i) {
    fill_block(planes[i], from, format.nodata.value_or(0), block);
    const CPLErr result =
        dataset->GetRasterBand(i + 1)->WriteBlock(position.x, position.y, block.data);
    if (result != CE_None || messages.failed()) fail(path, messages.failure());
  }
}

RasterWriter::RasterWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RasterWriter::~RasterWriter() = default;
RasterWriter::RasterWriter(RasterWriter&&) noexcept = default;
RasterWriter& RasterWriter::operator=(RasterWriter&&) noexcept = default;

RasterWriter::RasterWriter(const fs::path& path, const RasterFormat& format,
                           const Georeference& georeference) {
  check_format(format);
  internal::register_gdal();
  remove_old(path);
  impl_ = std::make_unique<Impl>(Impl{path, format});
  const GdalMessages messages;
  impl_->dataset = create(path, format);
  if (impl_->dataset == nullptr || !describe(*impl_->dataset, format, georeference)) {
    fail(path, messages.failure());
  }
  flush();
}

RasterWriter RasterWriter::reopen(const fs::path& path, const RasterFormat& format) {
  check_format(format);
  if (!fs::exists(path)) {
    throw Error(ErrorCode::kOutput, path.string() +
                                        ": is missing; expected the unfinished "
                                        "GeoTIFF to go on with; start over, with "
                                        "--force and without --resume");
  }
  internal::register_gdal();
  const GdalMessages messages;
  DatasetPtr dataset = internal::open_for_reading(path);
  const bool usable = dataset != nullptr && is_of_format(*dataset, format);
  dataset.reset();
  if (!usable || !internal::cut_tiff_tail(path)) {
    throw Error(ErrorCode::kOutput, path.string() + ": expected an unfinished GeoTIFF of " +
                                        text_of(format) +
                                        ", found another file; remove it to start afresh");
  }
  auto impl = std::make_unique<Impl>(Impl{path, format});
  impl->open();
  return RasterWriter(std::move(impl));
}

void RasterWriter::write(const cv::Rect& where, const std::vector<cv::Mat>& planes) {
  impl_->write(where, planes);
}

// GDAL's own flush leaves bytes in buffers that only closing writes.
void RasterWriter::flush() {
  impl_->close();
  impl_->open();
}

void RasterWriter::build_overviews() {
  flush();
  std::vector<int> factors;
  const int side = std::max(impl_->format.size.width, impl_->format.size.height);
  for (int factor = 1; (side + factor - 1) / factor >= kSmallOverview;) {
    factors.push_back(factor *= 2);
  }
  if (factors.empty()) return;
  const CPLConfigOptionSetter block("GDAL_TIFF_OVR_BLOCKSIZE", std::to_string(kBlock).c_str(),
                                    false);
  const CPLConfigOptionSetter sparse("SPARSE_OK_OVERVIEW", "TRUE", false);
  const CPLConfigOptionSetter threads("GDAL_NUM_THREADS", "1", false);
  const bool labels = impl_->format.bands == 1 && impl_->format.depth != CV_32F;
  const GdalMessages messages;
  const CPLErr result = impl_->dataset->BuildOverviews(
      labels ? "NEAREST" : "AVERAGE", static_cast<int>(factors.size()), factors.data(), 0, nullptr,
      GDALDummyProgress, nullptr);
  if (result != CE_None || messages.failed()) fail(impl_->path, messages.failure());
}

void RasterWriter::close() { impl_->close(); }

void convert_to_png(const fs::path& raster, const fs::path& png) {
  internal::register_gdal();
  const GdalMessages messages;
  const DatasetPtr source = internal::open_for_reading(raster);
  if (source == nullptr) {
    throw Error(ErrorCode::kInput, raster.string() + ": expected a raster, found a file that " +
                                       "cannot be read (" + messages.failure() + ")");
  }
  GDALDriver* driver = GetGDALDriverManager()->GetDriverByName("PNG");
  if (driver == nullptr) fail(png, "this GDAL has no PNG driver");
  remove_old(png);
  CPLStringList options;
  options.SetNameValue("ZLEVEL", "6");
  GDALDataset* copy = driver->CreateCopy(internal::gdal_name(png).c_str(), source.get(), false,
                                         options.List(), GDALDummyProgress, nullptr);
  if (copy != nullptr) GDALClose(copy);
  if (copy == nullptr || messages.failed()) fail(png, messages.failure());
  if (!is_complete_png(png)) fail(png, "its end is missing");
  sync(png);
}

bool is_tiff(const fs::path& name) {
  const std::string extension = lower_case_extension(name);
  return extension == ".tif" || extension == ".tiff";
}

int largest_side(const fs::path& name) {
  const std::string extension = lower_case_extension(name);
  if (extension == ".jpg" || extension == ".jpeg" || extension == ".jpe") return 65500;
  return extension == ".webp" ? 16383 : std::numeric_limits<int>::max();
}

}  // namespace hornet
