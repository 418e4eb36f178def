#include <hornet/backbone/error.h>
#include <hornet/pipelines/internal/gdal_support.h>
#include <hornet/pipelines/label_reader.h>

#include <algorithm>

namespace hornet {

struct LabelReader::Impl {
  std::string name;
  internal::DatasetPtr dataset;
  GDALDataType type = GDT_Byte;

  GDALRasterBand& band() const { return *dataset->GetRasterBand(1); }
};

LabelReader::LabelReader(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()) {
  impl_->name = path.string();
  const internal::GdalMessages messages;
  impl_->dataset = internal::open_for_reading(path);
  if (impl_->dataset == nullptr) {
    fail("the labels cannot be opened: " +
         (messages.failed() ? messages.failure() : std::string("expected a raster file")));
  }
  if (impl_->dataset->GetRasterCount() != 1) {
    fail("expected one band of labels, found " + std::to_string(impl_->dataset->GetRasterCount()));
  }
  impl_->type = impl_->band().GetRasterDataType();
  if (impl_->type != GDT_Byte && impl_->type != GDT_UInt16) {
    fail("expected labels of 8-bit or 16-bit unsigned, found " + internal::type_name(impl_->type));
  }
}

LabelReader::~LabelReader() = default;

cv::Size LabelReader::size() const {
  return {impl_->dataset->GetRasterXSize(), impl_->dataset->GetRasterYSize()};
}

cv::Mat LabelReader::read(const cv::Rect& window) {
  const internal::GdalMessages messages;
  cv::Mat labels(window.size(), impl_->type == GDT_Byte ? CV_8UC1 : CV_16UC1);
  const CPLErr result = impl_->band().RasterIO(
      GF_Read, window.x, window.y, window.width, window.height, labels.data, labels.cols,
      labels.rows, impl_->type, 0, static_cast<GSpacing>(labels.step), nullptr);
  if (result != CE_None) fail("the labels cannot be read: " + messages.failure());
  return labels;
}

void LabelReader::fail(const std::string& what) const {
  throw Error(ErrorCode::kInput, impl_->name + ": " + what);
}

void merge_labels(const std::filesystem::path& target, const RasterFormat& format,
                  const Georeference& georeference, const std::vector<RasterPart>& parts) {
  RasterWriter writer(target, format, georeference);
  for (const RasterPart& part : parts) {
    LabelReader labels(part.file);
    if (labels.size() != part.where.size()) labels.fail("is not a part of this raster");
    for (int y = 0; y < part.where.height; y += RasterWriter::kBlock) {
      const cv::Rect rows(0, y, part.where.width,
                          std::min(RasterWriter::kBlock, part.where.height - y));
      writer.write(rows + part.where.tl(), {labels.read(rows)});
    }
  }
  writer.close();
}

}  // namespace hornet
