#include <hornet/backbone/error.h>
#include <hornet/pipelines/internal/fail_input.h>
#include <hornet/pipelines/internal/gdal_support.h>
#include <hornet/pipelines/internal/raster_bands.h>
#include <hornet/pipelines/raster_reader.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <system_error>

namespace hornet {
namespace {

namespace fs = std::filesystem;
using internal::DatasetPtr;
using internal::GdalMessages;
using internal::RasterBands;

constexpr int64_t kMaxWindowPixels = int64_t{1} << 30;

DatasetPtr open_dataset(const fs::path& path) {
  const std::string name = path.string();
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) internal::fail_input(name + ": no such file");
  if (fs::is_directory(status)) internal::fail_input(name + ": expected an image, found a folder");
  if (!fs::is_regular_file(status))
    internal::fail_input(name + ": expected an image, found no regular file");
  if (fs::file_size(path, error) == 0 && !error) internal::fail_input(name + ": the file is empty");
  const GdalMessages messages;
  DatasetPtr dataset = internal::open_for_reading(path);
  if (dataset == nullptr) {
    internal::fail_input(
        name +
        ": expected an image (GeoTIFF, JPEG, PNG, ...), found a file that is damaged, not "
        "readable, or of another kind" +
        (messages.failed() ? " (" + messages.failure() + ")" : ""));
  }
  return dataset;
}

// How a camera was held: EXIF's number from 1 to 8, as two flips in the file and then a transpose.
struct Orientation {
  bool flip_columns = false;
  bool flip_rows = false;
  bool transpose = false;

  static Orientation from_exif(int number) {
    if (number < 1 || number > 8) return {};
    return {number == 2 || number == 3 || number == 7 || number == 8,
            number == 3 || number == 4 || number == 6 || number == 7, number >= 5};
  }

  cv::Size upright(cv::Size file) const {
    return transpose ? cv::Size(file.height, file.width) : file;
  }

  // Where the pixels of an upright window are in the file.
  cv::Rect in_file(cv::Rect window, cv::Size file) const {
    if (transpose) window = {window.y, window.x, window.height, window.width};
    if (flip_columns) window.x = file.width - window.x - window.width;
    if (flip_rows) window.y = file.height - window.y - window.height;
    return window;
  }

  void apply(cv::Mat& pixels) const {
    if (pixels.empty()) return;
    if (flip_columns || flip_rows) {
      cv::flip(pixels, pixels, flip_columns && flip_rows ? -1 : flip_columns ? 1 : 0);
    }
    if (transpose) cv::transpose(pixels, pixels);
  }
};

Orientation orientation_of(GDALDataset& dataset) {
  for (const char* domain : {"", "EXIF"}) {
    const char* value = dataset.GetMetadataItem("EXIF_Orientation", domain);
    if (value != nullptr) return Orientation::from_exif(std::atoi(value));
  }
  return {};
}

// Calls `visit` with the parts of `window` that a grid of this size makes.
void for_each_part(const cv::Rect& window, cv::Size grid,
                   const std::function<void(const cv::Rect&)>& visit) {
  const int64_t right = int64_t{window.x} + window.width;
  const int64_t bottom = int64_t{window.y} + window.height;
  for (int64_t y = window.y; y < bottom;) {
    const int64_t next_y = std::min(bottom, (y / grid.height + 1) * grid.height);
    for (int64_t x = window.x; x < right;) {
      const int64_t next_x = std::min(right, (x / grid.width + 1) * grid.width);
      visit({static_cast<int>(x), static_cast<int>(y), static_cast<int>(next_x - x),
             static_cast<int>(next_y - y)});
      x = next_x;
    }
    y = next_y;
  }
}

}  // namespace

struct RasterReader::Impl {
  Impl(const fs::path& path, const RasterOptions& options)
      : name(path.string()),
        dataset(open_dataset(path)),
        bands(*dataset, options, name),
        georeference(internal::georeference_of(*dataset)) {
    // Where a file lies on the earth, its rows and columns are what they are.
    if (georeference.empty()) orientation = orientation_of(*dataset);
  }

  cv::Size file_size() const { return {dataset->GetRasterXSize(), dataset->GetRasterYSize()}; }
  cv::Size size() const { return orientation.upright(file_size()); }

  void check_window(const cv::Rect& window) const;
  void read_part(const cv::Rect& part, cv::Mat bgr, cv::Mat valid) const;
  WindowPixels read(const cv::Rect& window) const;

  std::string name;
  DatasetPtr dataset;
  RasterBands bands;
  Georeference georeference;
  Orientation orientation;
};

void RasterReader::Impl::check_window(const cv::Rect& window) const {
  const cv::Size image = size();
  CV_Assert(window.x >= 0 && window.y >= 0 && window.width > 0 && window.height > 0);
  CV_Assert(window.width <= image.width - window.x && window.height <= image.height - window.y);
  if (int64_t{window.width} * window.height > kMaxWindowPixels) {
    internal::fail_input(
        name + ": a part of " + std::to_string(window.width) + "x" + std::to_string(window.height) +
        " pixels does not fit into memory (at most 2^30); cut the image into narrower ones");
  }
}

void RasterReader::Impl::read_part(const cv::Rect& part, cv::Mat bgr, cv::Mat valid) const {
  const GdalMessages messages;
  if (bands.read(part, bgr, valid) && !messages.failed()) return;
  internal::fail_input(name + ": rows " + std::to_string(part.y) + " to " +
                       std::to_string(part.y + part.height - 1) +
                       " cannot be read; the file is damaged or cut off (" + messages.failure() +
                       ")");
}

WindowPixels RasterReader::Impl::read(const cv::Rect& window) const {
  check_window(window);
  const cv::Rect in_file = orientation.in_file(window, file_size());
  WindowPixels pixels;
  pixels.bgr.create(in_file.size(), CV_8UC3);
  if (bands.may_lack_data()) pixels.valid = cv::Mat(in_file.size(), CV_8UC1, cv::Scalar(255));
  for_each_part(in_file, bands.part_size(), [&](const cv::Rect& part) {
    const cv::Rect target = part - in_file.tl();
    read_part(part, pixels.bgr(target), pixels.valid.empty() ? cv::Mat() : pixels.valid(target));
  });
  if (cv::countNonZero(pixels.valid) == in_file.area()) pixels.valid.release();
  orientation.apply(pixels.bgr);
  orientation.apply(pixels.valid);
  return pixels;
}

RasterReader::RasterReader(const fs::path& path, const RasterOptions& options)
    : impl_(std::make_unique<Impl>(path, options)) {}
RasterReader::~RasterReader() = default;
RasterReader::RasterReader(RasterReader&&) noexcept = default;
RasterReader& RasterReader::operator=(RasterReader&&) noexcept = default;

const std::string& RasterReader::name() const { return impl_->name; }

cv::Size RasterReader::size() const { return impl_->size(); }

Georeference RasterReader::georeference() const { return impl_->georeference; }

const std::vector<std::string>& RasterReader::warnings() const { return impl_->bands.warnings; }

WindowPixels RasterReader::read(const cv::Rect& window) { return impl_->read(window); }

WindowSource RasterReader::source() {
  return {size(), [impl = impl_.get()](const cv::Rect& window) { return impl->read(window); }};
}

bool is_raster(const fs::path& path) {
  try {
    const GdalMessages quiet;
    const DatasetPtr dataset = internal::open_for_reading(path);
    return dataset != nullptr && dataset->GetRasterCount() > 0;
  } catch (...) {
    return false;
  }
}

}  // namespace hornet
