#include <hornet/pipelines/window_source.h>

#include <cstdint>
#include <opencv2/imgcodecs.hpp>

#include "raster_files.h"
#include "temporary_folder.h"

namespace hornet {
namespace {

std::vector<uchar> jpeg_of(const cv::Mat& image, const std::vector<int>& options = {}) {
  std::vector<uchar> bytes;
  cv::imencode(".jpg", image, bytes, options);
  return bytes;
}

// The JPEG with an EXIF segment that holds nothing but the orientation.
std::string with_orientation(const std::vector<uchar>& jpeg, int orientation) {
  std::string exif("\xff\xe1\x00\x22", 4);
  exif += std::string("Exif\0\0", 6);
  exif += std::string("II*\0\x08\0\0\0", 8);                  // little-endian, directory at 8
  exif += std::string("\x01\0\x12\x01\x03\0\x01\0\0\0", 10);  // 1 entry: tag 0x112, one short
  exif += static_cast<char>(orientation);
  exif += std::string(7, '\0');
  return std::string(jpeg.begin(), jpeg.begin() + 2) + exif +
         std::string(jpeg.begin() + 2, jpeg.end());
}

class RasterReaderTest : public TemporaryFolder {
 protected:
  static void write_bytes(const std::filesystem::path& file, const std::vector<uchar>& bytes) {
    write_file(file, std::string(bytes.begin(), bytes.end()));
  }

  static void cut(const std::filesystem::path& file, double part) {
    const auto size = static_cast<double>(std::filesystem::file_size(file));
    std::filesystem::resize_file(file, static_cast<uintmax_t>(size * part));
  }
};

struct Window {
  cv::Size image;
  cv::Rect window;
};

const std::vector<Window> kWindows = {
    {{613, 411}, {0, 0, 613, 411}},        {{613, 411}, {5, 7, 1, 1}},
    {{613, 411}, {0, 200, 613, 211}},      {{613, 411}, {612, 410, 1, 1}},
    {{613, 411}, {250, 250, 300, 13}},     {{1, 9}, {0, 3, 1, 6}},
    {{2100, 1300}, {1000, 900, 1100, 400}}};

TEST_F(RasterReaderTest, ReadsWindowsOfTilesStripsAndPlanes) {
  const std::vector<std::vector<const char*>> layouts = {
      {"TILED=YES", "COMPRESS=DEFLATE", "INTERLEAVE=PIXEL"},
      {"TILED=YES", "BLOCKXSIZE=64", "BLOCKYSIZE=32", "INTERLEAVE=BAND"},
      {"COMPRESS=LZW", "INTERLEAVE=PIXEL"},
      {"BIGTIFF=YES", "INTERLEAVE=BAND"}};
  for (const auto& layout : layouts) {
    for (const Window& test : kWindows) {
      const cv::Mat image = noise(test.image, CV_8UC3);
      make_raster(path("a.tif"), rgb_bands(image), layout);
      RasterReader reader(path("a.tif"), {});
      ASSERT_EQ(reader.size(), test.image);
      const WindowPixels part = reader.source().read(test.window);
      EXPECT_TRUE(equal(part.bgr, image(test.window)));
      EXPECT_TRUE(part.valid.empty());
      EXPECT_TRUE(equal(reader.read({0, 0, 1, 1}).bgr, image({0, 0, 1, 1})));
      EXPECT_TRUE(reader.warnings().empty());
    }
  }
}

TEST_F(RasterReaderTest, JpegPixelsAreOpenCvs) {
  const cv::Mat image = picture({1203, 707});
  const std::vector<std::vector<int>> options = {
      {},
      {cv::IMWRITE_JPEG_QUALITY, 40},
      {cv::IMWRITE_JPEG_PROGRESSIVE, 1},
      {cv::IMWRITE_JPEG_OPTIMIZE, 1, cv::IMWRITE_JPEG_RST_INTERVAL, 7}};
  for (const auto& option : options) {
    write_bytes(path("a.jpg"), jpeg_of(image, option));
    EXPECT_TRUE(equal(read_all(path("a.jpg")).bgr, cv::imread(path("a.jpg").string())));
  }
  cv::Mat gray;
  cv::cvtColor(image, gray, cv::COLOR_BGR2GRAY);
  write_bytes(path("gray.jpg"), jpeg_of(gray));
  EXPECT_TRUE(equal(read_all(path("gray.jpg")).bgr, cv::imread(path("gray.jpg").string())));
}

TEST_F(RasterReaderTest, PhotographsAreUpright) {
  const std::vector<uchar> jpeg = jpeg_of(picture({131, 77}));
  for (int orientation = 0; orientation <= 9; ++orientation) {
    write_file(path("a.jpg"), with_orientation(jpeg, orientation));
    const cv::Mat expected = cv::imread(path("a.jpg").string());
    RasterReader reader(path("a.jpg"), {});
    ASSERT_EQ(reader.size(), expected.size()) << orientation;
    ASSERT_EQ(expected.cols, orientation >= 5 && orientation <= 8 ? 77 : 131);
    EXPECT_TRUE(equal(reader.read(everything(reader)).bgr, expected)) << orientation;
    const cv::Rect window(3, 20, 60, 41);
    EXPECT_TRUE(equal(reader.read(window).bgr, expected(window))) << orientation;
  }
}

TEST_F(RasterReaderTest, OnTheEarthNothingIsTurned) {
  write_file(path("a.jpg"), with_orientation(jpeg_of(picture({131, 77})), 6));
  write_file(path("a.jgw"), "0.5\n0\n0\n-0.5\n100\n200\n");
  RasterReader reader(path("a.jpg"), {});
  EXPECT_EQ(reader.size(), cv::Size(131, 77));
  EXPECT_DOUBLE_EQ(reader.georeference().geo_transform.value()[1], 0.5);
}

TEST_F(RasterReaderTest, KnowsWhereItLies) {
  const cv::Mat gray = noise({33, 21}, CV_8UC1);
  make_raster(path("a.tif"), {gray}, {}, [](GDALDataset& dataset) {
    double transform[6] = {399960, 10, 0, 5800020, 0, -10};
    dataset.SetGeoTransform(transform);
    OGRSpatialReference utm;
    utm.importFromEPSG(32633);
    dataset.SetSpatialRef(&utm);
  });
  const Georeference earth = RasterReader(path("a.tif"), {}).georeference();
  EXPECT_NE(earth.projection.find("UTM zone 33N"), std::string::npos);
  EXPECT_EQ(earth.geo_transform.value()[3], 5800020);
  EXPECT_FALSE(earth.empty());

  make_raster(path("gcp.tif"), {gray}, {}, [](GDALDataset& dataset) {
    GDAL_GCP points[2] = {{const_cast<char*>("1"), const_cast<char*>(""), 0, 1, 2, 3, 4},
                          {const_cast<char*>("2"), const_cast<char*>(""), 5, 6, 7, 8, 9}};
    dataset.SetGCPs(2, points, SRS_WKT_WGS84_LAT_LONG);
  });
  const Georeference points = RasterReader(path("gcp.tif"), {}).georeference();
  EXPECT_FALSE(points.geo_transform);
  ASSERT_EQ(points.control_points.size(), 2u);
  EXPECT_EQ(points.control_points[1].row, 6);
  EXPECT_NE(points.control_points_projection.find("WGS 84"), std::string::npos);

  make_raster(path("none.tif"), {gray});
  EXPECT_TRUE(RasterReader(path("none.tif"), {}).georeference().empty());
}

// As gdal_translate leaves it where a format has no place for a georeference.
TEST_F(RasterReaderTest, SidecarFilesAreReadAndNeverWritten) {
  const std::string sidecar =
      "<PAMDataset>\n  <SRS>EPSG:32633</SRS>\n"
      "  <GeoTransform>399960, 10, 0, 5800020, 0, -10</GeoTransform>\n"
      "  <PAMRasterBand band=\"1\">\n    <NoDataValue>100</NoDataValue>\n  </PAMRasterBand>\n"
      "</PAMDataset>\n";
  cv::Mat gray(21, 33, CV_8UC1, cv::Scalar(7));
  gray.colRange(0, 5).setTo(100);
  cv::imwrite(path("a.png").string(), gray);
  cv::imwrite(path("a.jpg").string(), gray, {cv::IMWRITE_JPEG_QUALITY, 100});
  make_raster(path("a.tif"), {gray});
  for (const std::string name : {"a.png", "a.jpg", "a.tif"}) {
    SCOPED_TRACE(name);
    const std::filesystem::path beside = path(name + ".aux.xml");
    write_file(beside, sidecar);
    {
      RasterReader reader(path(name), {});
      const Georeference earth = reader.georeference();
      EXPECT_NE(earth.projection.find("UTM zone 33N"), std::string::npos);
      ASSERT_TRUE(earth.geo_transform);
      EXPECT_EQ((*earth.geo_transform)[3], 5800020);
      if (name != "a.jpg") {  // whose pixels are not exact
        EXPECT_TRUE(equal(reader.read(everything(reader)).valid, gray != 100));
      }
    }
    EXPECT_EQ(read_file(beside), sidecar);
  }
  EXPECT_EQ(files_in_folder(), 6u);
}

TEST_F(RasterReaderTest, CutFilesAreErrors) {
  const cv::Mat image = picture({700, 500});
  make_raster(path("strips.tif"), rgb_bands(image), {"COMPRESS=DEFLATE", "INTERLEAVE=PIXEL"});
  make_raster(path("tiles.tif"), rgb_bands(image), {"TILED=YES"});
  make_raster(path("raw.tif"), rgb_bands(image), {"INTERLEAVE=PIXEL"});
  write_bytes(path("base.jpg"), jpeg_of(image));
  write_bytes(path("progressive.jpg"), jpeg_of(image, {cv::IMWRITE_JPEG_PROGRESSIVE, 1}));
  cv::imwrite(path("a.png").string(), image);
  for (const char* name :
       {"strips.tif", "tiles.tif", "raw.tif", "base.jpg", "progressive.jpg", "a.png"}) {
    const std::string file = path(name).string();
    ASSERT_NO_THROW(read_all(file));
    for (double part : {0.97, 0.8, 0.7}) {
      cut(file, part);
      SCOPED_TRACE(name);
      ::testing::internal::CaptureStderr();
      expect_input_error(
          [&] {
            RasterReader reader(file, {});
            for (int y = 0; y < 500; y += 100) reader.read({0, y, 700, 100});
          },
          {file, "rows "});
      expect_input_error([&] { read_all(file); }, {file, "rows "});
      EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
    }
  }
}

TEST_F(RasterReaderTest, HugeBlocksAreRefused) {
  GDALAllRegister();
  CPLStringList options;
  for (const char* option : {"TILED=YES", "SPARSE_OK=TRUE", "COMPRESS=DEFLATE", "BLOCKXSIZE=16384",
                             "BLOCKYSIZE=16400"}) {
    options.AddString(option);
  }
  GDALClose(GetGDALDriverManager()->GetDriverByName("GTiff")->Create(
      path("a.tif").c_str(), 20000, 20000, 1, GDT_Byte, options.List()));
  expect_input_error([&] { RasterReader(path("a.tif"), {}); },
                     {"a.tif", "16384x16400", "gdal_translate -co TILED=YES"});
}

TEST_F(RasterReaderTest, NamesWhatIsNoImage) {
  write_file(path("empty.tif"), "");
  write_file(path("text.tif"), "not an image");
  ::testing::internal::CaptureStderr();
  expect_input_error([&] { RasterReader(path("none.tif"), {}); }, {"none.tif: no such file"});
  expect_input_error([&] { RasterReader(path(""), {}); }, {"found a folder"});
  expect_input_error([&] { RasterReader("/dev/null", {}); }, {"/dev/null: ", "regular file"});
  expect_input_error([&] { RasterReader(path("empty.tif"), {}); }, {"the file is empty"});
  expect_input_error([&] { RasterReader(path("text.tif"), {}); }, {"text.tif", "another kind"});
  const std::string vrt = "<VRTDataset rasterXSize=\"1\" rasterYSize=\"1\"/>";
  for (const std::string& name :
       {std::string("/vsicurl/http://localhost/a.tif"), std::string("/vsimem/a.tif"), vrt,
        std::string("GTIFF_DIR:1:a.tif"), std::string("http://localhost/a.tif")}) {
    expect_input_error([&] { RasterReader(name, {}); }, {name, "no such file"});
    EXPECT_FALSE(is_raster(name));
  }
  EXPECT_FALSE(is_raster(path("")));
  EXPECT_FALSE(is_raster(path("text.tif")));
  EXPECT_FALSE(is_raster(path("empty.tif")));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  cv::imwrite(path("a.png").string(), noise({5, 5}, CV_8UC1));
  EXPECT_TRUE(is_raster(path("a.png")));
}

TEST_F(RasterReaderTest, FilesCannotCallTheNetworkOrPython) {
  const auto vrt = [](const std::string& source) {
    return "<VRTDataset rasterXSize=\"9\" rasterYSize=\"9\"><VRTRasterBand dataType=\"Byte\" "
           "band=\"1\"><SimpleSource><SourceFilename>" +
           source +
           "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
           "</VRTDataset>";
  };
  for (const char* source : {"/vsicurl/http://127.0.0.1:9/a.tif", "http://127.0.0.1:9/a.tif"}) {
    write_file(path("a.vrt"), vrt(source));
    expect_input_error([&] { read_all(path("a.vrt")); }, {"a.vrt"});
  }
  write_file(path("a.xml"),
             "<GDAL_WMS><Service name=\"TMS\"><ServerUrl>http://127.0.0.1:9/${z}</ServerUrl>"
             "</Service><DataWindow/></GDAL_WMS>");
  expect_input_error([&] { RasterReader(path("a.xml"), {}); }, {"a.xml", "another kind"});
  cv::imwrite(path("a.png").string(), noise({9, 9}, CV_8UC1));
  write_file(path("python.vrt"),
             "<VRTDataset rasterXSize=\"9\" rasterYSize=\"9\"><VRTRasterBand dataType=\"Byte\" "
             "band=\"1\" subClass=\"VRTDerivedRasterBand\"><PixelFunctionType>f"
             "</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>"
             "<PixelFunctionCode>def f(*a): pass</PixelFunctionCode><SimpleSource>"
             "<SourceFilename relativeToVRT=\"1\">a.png</SourceFilename></SimpleSource>"
             "</VRTRasterBand></VRTDataset>");
  expect_input_error([&] { read_all(path("python.vrt")); }, {"python.vrt"});
  write_file(path("good.vrt"), vrt(path("a.png").string()));
  EXPECT_TRUE(equal(read_all(path("good.vrt")).bgr, read_all(path("a.png")).bgr));
}

TEST_F(RasterReaderTest, LeavesNothingBehind) {
  cv::imwrite(path("a.png").string(), noise({50, 50}, CV_8UC3));
  make_raster(path("a.tif"), {noise({50, 50}, CV_8UC1)});
  read_all(path("a.png"));
  read_all(path("a.tif"));
  EXPECT_EQ(files_in_folder(), 2u);
}

TEST_F(RasterReaderTest, MovesWithItsSourceIntact) {
  const cv::Mat image = noise({50, 50}, CV_8UC3);
  cv::imwrite(path("a.png").string(), image);
  RasterReader first(path("a.png"), {});
  const WindowSource source = first.source();
  const RasterReader second = std::move(first);
  EXPECT_EQ(source.size, second.size());
  EXPECT_TRUE(equal(source.read({10, 10, 5, 5}).bgr, image({10, 10, 5, 5})));
}

TEST_F(RasterReaderTest, WindowsOutsideAreContractErrors) {
  cv::imwrite(path("a.png").string(), noise({50, 40}, CV_8UC3));
  RasterReader reader(path("a.png"), {});
  for (const cv::Rect& window :
       {cv::Rect(-1, 0, 5, 5), cv::Rect(0, 0, 51, 1), cv::Rect(0, 36, 5, 5), cv::Rect(0, 0, 0, 5),
        cv::Rect(2, 2, INT32_MAX, 5)}) {
    EXPECT_THROW(reader.read(window), cv::Exception);
  }
}

TEST(WindowSourceOfAnImage, ReadsGrayColorAndAlpha) {
  const cv::Rect window(3, 4, 9, 7);
  const cv::Mat gray = noise({20, 30}, CV_8UC1);
  EXPECT_TRUE(equal(window_source(gray).read(window).bgr, gray_as_bgr(gray)(window)));
  const cv::Mat bgr = noise({20, 30}, CV_8UC3);
  const WindowPixels color = window_source(bgr).read(window);
  EXPECT_TRUE(equal(color.bgr, bgr(window)));
  EXPECT_TRUE(color.valid.empty());

  cv::Mat bgra = noise({20, 30}, CV_8UC4);
  bgra(cv::Rect(0, 0, 5, 30)).setTo(cv::Scalar(1, 2, 3, 0));
  bgra(cv::Rect(5, 0, 15, 30)).setTo(cv::Scalar(1, 2, 3, 1));
  const WindowSource source = window_source(bgra);
  EXPECT_EQ(source.size, cv::Size(20, 30));
  const WindowPixels pixels = source.read(window);
  EXPECT_EQ(cv::countNonZero(pixels.valid), 7 * 7);
  EXPECT_EQ(pixels.bgr.at<cv::Vec3b>(0, 1), cv::Vec3b(0, 0, 0));
  EXPECT_EQ(pixels.bgr.at<cv::Vec3b>(0, 2), cv::Vec3b(1, 2, 3));
  EXPECT_TRUE(source.read({6, 0, 5, 5}).valid.empty());
}

TEST(WindowSourceOfAnImage, NamesTypesThatItDoesNotTake) {
  expect_input_error([] { window_source(cv::Mat()); }, {"without pixels"});
  expect_input_error([] { window_source(cv::Mat(3, 3, CV_16UC3)); }, {"CV_16UC3"});
  expect_input_error([] { window_source(cv::Mat(3, 3, CV_8UC2)); }, {"CV_8UC2"});
}

}  // namespace
}  // namespace hornet
