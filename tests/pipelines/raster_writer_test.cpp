#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <limits>
#include <opencv2/imgcodecs.hpp>

#include "raster_formats.h"
#include "temporary_folder.h"

namespace hornet {
namespace {

class RasterWriterTest : public TemporaryFolder {};

TEST_F(RasterWriterTest, PixelsAndDescriptionsAreReadBack) {
  for (const RasterFormat& format : {kLabels, kWideLabels, kProbabilities, kOverlay}) {
    const std::vector<cv::Mat> planes = planes_of(format);
    write_file_of(path("a.tif"), format, planes, utm());
    const DatasetPtr dataset = open(path("a.tif"));
    ASSERT_NE(dataset, nullptr);
    EXPECT_STREQ(dataset->GetDriverName(), "GTiff");
    for (int i = 0; i < format.bands; ++i) {
      GDALRasterBand& band = *dataset->GetRasterBand(i + 1);
      EXPECT_TRUE(equal(read_band(*dataset, i + 1), planes[i]));
      int has_nodata = 0, width = 0, height = 0;
      const double nodata = band.GetNoDataValue(&has_nodata);
      EXPECT_EQ(has_nodata != 0, format.nodata.has_value());
      EXPECT_EQ(has_nodata != 0 ? nodata : 0, format.nodata.value_or(0));
      EXPECT_EQ(band.GetDescription(), format.band_names.empty() ? "" : format.band_names[i]);
      band.GetBlockSize(&width, &height);
      EXPECT_EQ(cv::Size(width, height), cv::Size(256, 256));
    }
    const Georeference earth = RasterReader(path("a.tif"), {{1}, {{0, 1}}}).georeference();
    EXPECT_EQ(earth.geo_transform, utm().geo_transform);
    EXPECT_NE(earth.projection.find("UTM zone 33N"), std::string::npos);
  }
  EXPECT_EQ(files_in_folder(), 1u);
}

TEST_F(RasterWriterTest, LabelsHaveTheirColors) {
  write_file_of(path("a.tif"), kLabels, planes_of(kLabels));
  const DatasetPtr dataset = open(path("a.tif"));
  const GDALColorTable* table = dataset->GetRasterBand(1)->GetColorTable();
  ASSERT_NE(table, nullptr);
  GDALColorEntry entry;
  table->GetColorEntryAsRGB(100, &entry);
  EXPECT_EQ(entry.c1, 7);
  EXPECT_EQ(entry.c2, 155);
  EXPECT_EQ(entry.c3, 100);
  table->GetColorEntryAsRGB(200, &entry);
  EXPECT_EQ(entry.c1 + entry.c2 + entry.c3, 0);
}

TEST_F(RasterWriterTest, ControlPointsAreKept) {
  Georeference points;
  points.control_points = {{"1", "", 0, 1, 2, 3, 4}, {"2", "", 5, 6, 7, 8, 9}};
  points.control_points_projection = SRS_WKT_WGS84_LAT_LONG;
  write_file_of(path("a.tif"), kLabels, planes_of(kLabels), points);
  write_vrt(path("a.vrt"), kLabels, points, {{path("a.tif"), {{}, kLabels.size}}});
  for (const char* name : {"a.tif", "a.vrt"}) {
    const Georeference read = RasterReader(path(name), {}).georeference();
    ASSERT_EQ(read.control_points.size(), 2u);
    EXPECT_EQ(read.control_points[1].column, 5);
    EXPECT_EQ(read.control_points[1].y, 8);
    EXPECT_NE(read.control_points_projection.find("WGS 84"), std::string::npos);
  }
}

TEST_F(RasterWriterTest, LargeFilesAreBigTiff) {
  RasterWriter(path("a.tif"), kLarge, {}).close();
  EXPECT_EQ(read_file(path("a.tif")).substr(0, 4), std::string("II\x2b\0", 4));
  EXPECT_LT(std::filesystem::file_size(path("a.tif")), 2u << 20);
}

TEST_F(RasterWriterTest, BlocksThatWereNotWrittenAreNodata) {
  for (const RasterFormat& format : {kLabels, kProbabilities}) {
    RasterWriter writer(path("a.tif"), format, {});
    const std::vector<cv::Mat> planes = planes_of(format);
    write_row(writer, format, planes, 1);
    std::vector<cv::Mat> empty;
    const cv::Rect last = row_of_blocks(format, rows_of_blocks(format) - 1);
    for (int i = 0; i < format.bands; ++i) {
      empty.emplace_back(last.size(), CV_MAKETYPE(format.depth, 1), cv::Scalar(*format.nodata));
    }
    writer.flush();
    const auto size = std::filesystem::file_size(path("a.tif"));
    writer.write(last, empty);
    writer.close();
    EXPECT_EQ(std::filesystem::file_size(path("a.tif")), size);
    const DatasetPtr dataset = open(path("a.tif"));
    const cv::Mat band = read_band(*dataset, 1);
    const cv::Rect written = row_of_blocks(format, 1);
    EXPECT_TRUE(equal(band(written), planes[0](written)));
    EXPECT_EQ(cv::countNonZero(band != *format.nodata),
              cv::countNonZero(band(written) != *format.nodata));
    const WindowPixels pixels =
        RasterReader(path("a.tif"), {{1}, {{0, 1}}}).read({0, 0, 300, kBlock});
    EXPECT_EQ(cv::countNonZero(pixels.valid), 0);
  }
}

TEST_F(RasterWriterTest, NotANumberCanBeNodata) {
  RasterFormat format = kProbabilities;
  format.nodata = std::numeric_limits<double>::quiet_NaN();
  RasterWriter(path("a.tif"), format, {}).close();
  RasterWriter::reopen(path("a.tif"), format).close();
  const DatasetPtr dataset = open(path("a.tif"));
  EXPECT_TRUE(std::isnan(read_band(*dataset, 2).at<float>(5, 5)));
}

TEST_F(RasterWriterTest, OverviewsHalveDownTo511) {
  RasterFormat format = kLabels;
  format.size = {2100, 700};
  RasterWriter writer(path("a.tif"), format, {});
  const std::vector<cv::Mat> planes = planes_of(format);
  for (int row = 0; row < rows_of_blocks(format); ++row) write_row(writer, format, planes, row);
  writer.build_overviews();
  writer.close();
  EXPECT_EQ(files_in_folder(), 1u);
  const DatasetPtr dataset = open(path("a.tif"));
  GDALRasterBand& band = *dataset->GetRasterBand(1);
  ASSERT_EQ(band.GetOverviewCount(), 3);
  EXPECT_EQ(band.GetOverview(2)->GetXSize(), 263);
  // No label that is not there: every pixel is one of those that it stands for.
  cv::Mat half(350, 1050, CV_8UC1);
  ASSERT_EQ(band.GetOverview(0)->RasterIO(GF_Read, 0, 0, 1050, 350, half.data, 1050, 350, GDT_Byte,
                                          0, 0, nullptr),
            CE_None);
  int foreign = 0;
  for (int y = 0; y < half.rows; ++y) {
    for (int x = 0; x < half.cols; ++x) {
      const cv::Mat pixels = planes[0](cv::Rect(2 * x, 2 * y, 2, 2));
      foreign += cv::countNonZero(pixels == half.at<uchar>(y, x)) == 0;
    }
  }
  EXPECT_EQ(foreign, 0);
}

TEST_F(RasterWriterTest, OverviewsOfPicturesAreMeans) {
  const RasterFormat format = {{1024, 600}, 3, CV_8U, {}, {}, {}};
  RasterWriter writer(path("a.tif"), format, {});
  cv::Mat plane(format.size, CV_8UC1);
  for (int x = 0; x < plane.cols; ++x) plane.col(x).setTo(x % 2 == 0 ? 40 : 60);
  const std::vector<cv::Mat> planes(3, plane);
  for (int row = 0; row < rows_of_blocks(format); ++row) write_row(writer, format, planes, row);
  writer.build_overviews();
  writer.close();
  const DatasetPtr dataset = open(path("a.tif"));
  uchar value = 0;
  ASSERT_EQ(dataset->GetRasterBand(2)->GetOverview(0)->RasterIO(GF_Read, 100, 100, 1, 1, &value, 1,
                                                                1, GDT_Byte, 0, 0, nullptr),
            CE_None);
  EXPECT_EQ(value, 50);
}

TEST_F(RasterWriterTest, ReopensItsOwnFormatOnly) {
  write_file_of(path("a.tif"), kLabels, planes_of(kLabels));
  const auto reopen = [&](const RasterFormat& format, const char* name = "a.tif") {
    return [this, format, name] { RasterWriter::reopen(path(name), format); };
  };
  EXPECT_NO_THROW(reopen(kLabels)());
  RasterFormat other = kLabels;
  other.size.width += 1;
  expect_output_error(reopen(other), {"a.tif", "1001x1500, 1 band of 8-bit unsigned"});
  expect_output_error(reopen(kWideLabels), {"a.tif", "16-bit unsigned"});
  other = kLabels;
  other.nodata = 0;
  expect_output_error(reopen(other), {"a.tif"});
  expect_output_error(reopen(kProbabilities), {"a.tif", "3 bands"});
  expect_output_error(reopen(kLabels, "none.tif"), {"none.tif: is missing"});
  write_file(path("text.tif"), "text");
  expect_output_error(reopen(kLabels, "text.tif"), {"text.tif"});
  const std::string whole = read_file(path("a.tif"));
  for (size_t length : {10, 100, 2000, 3000}) {
    write_file(path("cut.tif"), whole.substr(0, length));
    expect_output_error(reopen(kLabels, "cut.tif"), {"cut.tif"});
  }
}

TEST_F(RasterWriterTest, PlacesAndPlanesAreChecked) {
  RasterWriter writer(path("a.tif"), kLabels, {});
  const auto write = [&](cv::Rect where, int type = CV_8UC1) {
    writer.write(where, {cv::Mat::zeros(where.size(), type)});
  };
  EXPECT_NO_THROW(write({768, 1280, 232, 220}));
  EXPECT_THROW(write({1, 0, 256, 256}), cv::Exception);
  EXPECT_THROW(write({0, 0, 255, 256}), cv::Exception);
  EXPECT_THROW(write({768, 0, 256, 256}), cv::Exception);
  EXPECT_THROW(write({0, 0, 256, 256}, CV_16UC1), cv::Exception);
  EXPECT_THROW(writer.write({0, 0, 256, 256}, {}), cv::Exception);
}

TEST_F(RasterWriterTest, FoldersThatAreNotThereAreNamed) {
  expect_output_error([&] { RasterWriter(path("none/a.tif"), kLabels, {}); }, {"none/a.tif"});
  expect_output_error([&] { RasterWriter("/proc/a.tif", kLabels, {}); }, {"/proc/a.tif"});
}

// Files may not grow beyond `bytes` while it lives: what a full disk looks like to a writer.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_;
};

TEST_F(RasterWriterTest, FailuresToWriteSurface) {
  RasterFormat format = kProbabilities;
  const std::vector<cv::Mat> planes = planes_of(format);
  write_file_of(path("whole.tif"), format, planes);
  const auto size = std::filesystem::file_size(path("whole.tif"));
  ::testing::internal::CaptureStderr();
  for (const auto limit : {uintmax_t{100}, size / 4, size / 2, size - 5000, size - 1}) {
    const FileSizeLimit full_disk(limit);
    expect_output_error([&] { write_file_of(path("a.tif"), format, planes); }, {"a.tif"});
    expect_output_error(
        [&] {
          RasterWriter writer(path("a.tif"), format, {});
          for (int row = 0; row < rows_of_blocks(format); ++row) {
            write_row(writer, format, planes, row);
            writer.flush();
          }
        },
        {"a.tif"});
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST_F(RasterWriterTest, FailuresToConvertSurface) {
  write_file_of(path("a.tif"), kLabels, planes_of(kLabels));
  convert_to_png(path("a.tif"), path("a.png"));
  const auto size = std::filesystem::file_size(path("a.png"));
  ::testing::internal::CaptureStderr();
  for (const auto limit : {uintmax_t{100}, size / 4, size / 2, size - 1}) {
    const FileSizeLimit full_disk(limit);
    expect_output_error([&] { convert_to_png(path("a.tif"), path("a.png")); }, {"a.png"});
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST_F(RasterWriterTest, LabelsBecomePngs) {
  const std::vector<cv::Mat> planes = planes_of(kLabels);
  write_file_of(path("a.tif"), kLabels, planes, utm());
  convert_to_png(path("a.tif"), path("a.png"));
  EXPECT_EQ(files_in_folder(), 2u);
  const DatasetPtr dataset = open(path("a.png"));
  EXPECT_TRUE(equal(read_band(*dataset, 1), planes[0]));
  EXPECT_EQ(dataset->GetRasterBand(1)->GetColorInterpretation(), GCI_PaletteIndex);
  const cv::Mat colors = cv::imread(path("a.png").string(), cv::IMREAD_COLOR);
  ASSERT_EQ(colors.size(), kLabels.size);
  const cv::Point somewhere(500, 700);
  EXPECT_EQ(colors.at<cv::Vec3b>(somewhere), kLabels.colors[planes[0].at<uchar>(somewhere)]);

  const std::vector<cv::Mat> wide = planes_of(kWideLabels);
  write_file_of(path("wide.tif"), kWideLabels, wide);
  convert_to_png(path("wide.tif"), path("wide.png"));
  EXPECT_TRUE(equal(cv::imread(path("wide.png").string(), cv::IMREAD_UNCHANGED), wide[0]));
  EXPECT_THROW(convert_to_png(path("none.tif"), path("b.png")), Error);
}

TEST_F(RasterWriterTest, VrtsPutPartsTogether) {
  RasterFormat format = kLabels;
  format.band_names = {"what <is> & \"where\""};
  const std::vector<cv::Mat> planes = planes_of(format);
  std::filesystem::create_directories(path("set/parts & more"));
  std::vector<RasterPart> parts;
  for (int row = 0; row < 5; ++row) {  // the last row is missing
    RasterFormat part = format;
    const cv::Rect where = row_of_blocks(format, row);
    part.size = where.size();
    parts.push_back({path("set/parts & more/" + std::to_string(row) + ".tif"), where});
    write_file_of(parts.back().file, part, {planes[0](where)});
  }
  write_file(path("set/all.vrt"), "old");
  write_vrt(path("set/all.vrt"), format, utm(), parts);
  std::filesystem::rename(path("set"), path("moved"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path("moved")), {}), 2);

  const DatasetPtr dataset = open(path("moved/all.vrt"));
  ASSERT_NE(dataset, nullptr);
  cv::Mat expected = planes[0].clone();
  expected.rowRange(1280, 1500).setTo(255);
  EXPECT_TRUE(equal(read_band(*dataset, 1), expected));
  GDALRasterBand& band = *dataset->GetRasterBand(1);
  EXPECT_EQ(band.GetDescription(), format.band_names[0]);
  EXPECT_EQ(band.GetNoDataValue(), 255);
  ASSERT_NE(band.GetColorTable(), nullptr);
  EXPECT_EQ(band.GetColorTable()->GetColorEntry(100)->c3, 100);
  const Georeference earth = RasterReader(path("moved/all.vrt"), {}).georeference();
  EXPECT_EQ(earth.geo_transform, utm().geo_transform);
  EXPECT_NE(earth.projection.find("UTM zone 33N"), std::string::npos);
  const WindowPixels pixels = RasterReader(path("moved/all.vrt"), {}).read({0, 1000, 1000, 500});
  EXPECT_EQ(cv::countNonZero(pixels.valid), 280 * 1000);
}

TEST_F(RasterWriterTest, VrtsHaveBands) {
  const std::vector<cv::Mat> planes = planes_of(kProbabilities);
  write_file_of(path("a.tif"), kProbabilities, planes);
  write_vrt(path("a.vrt"), kProbabilities, {}, {{path("a.tif"), {{}, kProbabilities.size}}});
  const DatasetPtr dataset = open(path("a.vrt"));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(equal(read_band(*dataset, i + 1), planes[i]));
  EXPECT_EQ(dataset->GetRasterBand(2)->GetDescription(), kProbabilities.band_names[1]);
}

}  // namespace
}  // namespace hornet
