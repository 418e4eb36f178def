#include <cmath>
#include <limits>
#include <opencv2/imgcodecs.hpp>

#include "raster_files.h"
#include "temporary_folder.h"

namespace hornet {
namespace {

class RasterBandsTest : public TemporaryFolder {};

TEST_F(RasterBandsTest, GrayIsRepeated) {
  const cv::Mat gray = noise({33, 21}, CV_8UC1);
  make_raster(path("a.tif"), {gray});
  EXPECT_TRUE(equal(read_all(path("a.tif")).bgr, gray_as_bgr(gray)));
}

TEST_F(RasterBandsTest, AlphaSaysWhereDataIs) {
  const cv::Mat image = noise({33, 21}, CV_8UC3);
  cv::Mat alpha = noise({33, 21}, CV_8UC1);
  alpha.colRange(0, 5).setTo(0);
  alpha.colRange(5, 20).setTo(1);
  cv::Mat expected = image.clone();
  expected.setTo(cv::Scalar::all(0), alpha == 0);

  std::vector<cv::Mat> bands = rgb_bands(image);
  bands.push_back(alpha);
  make_raster(path("rgba.tif"), bands, {"ALPHA=YES", "PHOTOMETRIC=RGB"});
  const WindowPixels color = read_all(path("rgba.tif"));
  EXPECT_TRUE(equal(color.bgr, expected));
  EXPECT_TRUE(equal(color.valid, alpha != 0));
  RasterReader reader(path("rgba.tif"), {});
  EXPECT_TRUE(reader.read({5, 0, 10, 21}).valid.empty());

  make_raster(path("ga.tif"), {bands[0], alpha}, {"ALPHA=YES"});
  const WindowPixels gray = read_all(path("ga.tif"));
  cv::Mat expected_gray = gray_as_bgr(bands[0]);
  expected_gray.setTo(cv::Scalar::all(0), alpha == 0);
  EXPECT_TRUE(equal(gray.bgr, expected_gray));
  EXPECT_TRUE(equal(gray.valid, alpha != 0));
}

TEST_F(RasterBandsTest, PalettesAreExpanded) {
  cv::Mat indices(4, 64, CV_8UC1);
  for (int i = 0; i < 256; ++i) indices.at<uchar>(i / 64, i % 64) = static_cast<uchar>(i);
  make_raster(path("a.tif"), {indices}, {}, [](GDALDataset& dataset) {
    GDALColorTable table;
    for (short i = 0; i < 200; ++i) {
      const GDALColorEntry entry = {i, static_cast<short>(255 - i), 7, 255};
      table.SetColorEntry(i, &entry);
    }
    dataset.GetRasterBand(1)->SetColorTable(&table);
  });
  const WindowPixels pixels = read_all(path("a.tif"));
  EXPECT_EQ(pixels.bgr.at<cv::Vec3b>(2, 10), cv::Vec3b(7, 255 - 138, 138));
  EXPECT_EQ(pixels.bgr.at<cv::Vec3b>(3, 63), cv::Vec3b(0, 0, 0));
  EXPECT_TRUE(equal(read_all(path("a.tif"), {{}, {{0, 255}}}).bgr, gray_as_bgr(indices)));
}

// A palette PNG whose entry 1 is transparent, and one with a bit a pixel, both made by hand through
// GDAL's writer.
TEST_F(RasterBandsTest, TransparentColorsHaveNoData) {
  cv::Mat indices = noise({31, 9}, CV_8UC1);
  indices = indices & 3;
  make_raster(path("a.tif"), {indices}, {}, [](GDALDataset& dataset) {
    GDALColorTable table;
    for (short i = 0; i < 4; ++i) {
      const GDALColorEntry entry = {10, 20, static_cast<short>(30 + i), 255};
      table.SetColorEntry(i, &entry);
    }
    dataset.GetRasterBand(1)->SetColorTable(&table);
    dataset.GetRasterBand(1)->SetNoDataValue(1);
  });
  const auto check = [&](const std::filesystem::path& file) {
    const WindowPixels pixels = read_all(file);
    EXPECT_TRUE(equal(pixels.valid, indices != 1));
    for (int y = 0; y < 9; ++y) {
      for (int x = 0; x < 31; ++x) {
        const uchar index = indices.at<uchar>(y, x);
        EXPECT_EQ(pixels.bgr.at<cv::Vec3b>(y, x),
                  index == 1 ? cv::Vec3b() : cv::Vec3b(static_cast<uchar>(30 + index), 20, 10));
      }
    }
  };
  check(path("a.tif"));
  auto* source = static_cast<GDALDataset*>(GDALOpen(path("a.tif").c_str(), GA_ReadOnly));
  GDALClose(GetGDALDriverManager()->GetDriverByName("PNG")->CreateCopy(
      path("a.png").c_str(), source, false, nullptr, nullptr, nullptr));
  GDALClose(source);
  check(path("a.png"));
}

TEST_F(RasterBandsTest, FewBitsSpanTheWholeRange) {
  const cv::Mat bits = noise({31, 9}, CV_8UC1) & 1;
  cv::imwrite(path("bits.png").string(), bits * 255, {cv::IMWRITE_PNG_BILEVEL, 1});
  EXPECT_TRUE(equal(read_all(path("bits.png")).bgr, gray_as_bgr(bits * 255)));

  const cv::Mat color = noise({31, 9}, CV_8UC3) & cv::Scalar::all(15);
  make_raster(path("color.tif"), rgb_bands(color), {"NBITS=4"});
  EXPECT_TRUE(equal(read_all(path("color.tif")).bgr, color * 17));
  EXPECT_TRUE(equal(read_all(path("color.tif"), {{}, {{0, 255}}}).bgr, color));
  EXPECT_TRUE(
      equal(read_all(path("color.tif"), {{2}, {}}).bgr, gray_as_bgr(rgb_bands(color)[1] * 17)));
}

// A TIFF in CMYK is converted by GDAL, bands that are called so by us.
TEST_F(RasterBandsTest, CmykIsConvertedWithAWarning) {
  const cv::Mat ink = noise({33, 21}, CV_8UC4);
  std::vector<cv::Mat> bands;
  cv::split(ink, bands);
  make_raster(path("gdal.tif"), bands, {"PHOTOMETRIC=CMYK"});
  make_raster(path("plain.tif"), bands);
  std::string vrt = "<VRTDataset rasterXSize=\"33\" rasterYSize=\"21\">";
  for (const std::string name : {"4Black", "1Cyan", "3Yellow", "2Magenta"}) {
    vrt += "<VRTRasterBand dataType=\"Byte\"><ColorInterp>" + name.substr(1) +
           "</ColorInterp><SimpleSource><SourceFilename relativeToVRT=\"1\">plain.tif"
           "</SourceFilename><SourceBand>" +
           name[0] + "</SourceBand></SimpleSource></VRTRasterBand>";
  }
  write_file(path("ours.vrt"), vrt + "</VRTDataset>");
  for (const auto& [name, tolerance] : {std::pair{"gdal.tif", 1}, {"ours.vrt", 0}}) {
    RasterReader reader(path(name), {});
    const cv::Mat bgr = reader.read(everything(reader)).bgr;
    for (int y = 0; y < 21; ++y) {
      for (int x = 0; x < 33; ++x) {
        const cv::Vec4b& cmyk = ink.at<cv::Vec4b>(y, x);
        for (int c = 0; c < 3; ++c) {
          EXPECT_NEAR(bgr.at<cv::Vec3b>(y, x)[2 - c],
                      std::round((255.0 - cmyk[c]) * (255 - cmyk[3]) / 255), tolerance);
        }
      }
    }
    ASSERT_EQ(reader.warnings().size(), 1u);
    EXPECT_EQ(reader.warnings()[0].find(path(name).string() + ": CMYK"), 0u);
  }
}

TEST_F(RasterBandsTest, CmykJpegWarnsToo) {
  std::vector<cv::Mat> bands(4, cv::Mat(16, 16, CV_8UC1, cv::Scalar(0)));
  bands[1] = cv::Mat(16, 16, CV_8UC1, cv::Scalar(255));  // magenta
  make_raster(path("a.tif"), bands, {"PHOTOMETRIC=CMYK"});
  auto* source = static_cast<GDALDataset*>(GDALOpen(path("a.tif").c_str(), GA_ReadOnly));
  CPLPushErrorHandler(CPLQuietErrorHandler);
  GDALClose(GetGDALDriverManager()->GetDriverByName("JPEG")->CreateCopy(
      path("a.jpg").c_str(), source, false, nullptr, nullptr, nullptr));
  CPLPopErrorHandler();
  GDALClose(source);
  RasterReader reader(path("a.jpg"), {});
  EXPECT_EQ(reader.warnings().size(), 1u);
  const cv::Vec3b pixel = reader.read({3, 3, 1, 1}).bgr.at<cv::Vec3b>(0);
  EXPECT_LT(cv::norm(pixel, cv::Vec3b(255, 0, 255), cv::NORM_INF), 5);
}

TEST_F(RasterBandsTest, NamedColorsSetTheOrder) {
  const cv::Mat image = noise({33, 21}, CV_8UC3);
  std::vector<cv::Mat> bands;
  cv::split(image, bands);
  const auto name = [](std::vector<GDALColorInterp> names) {
    return [names](GDALDataset& dataset) {
      for (int i = 0; i < 3; ++i) dataset.GetRasterBand(i + 1)->SetColorInterpretation(names[i]);
    };
  };
  make_raster(path("bgr.tif"), bands, {"PHOTOMETRIC=MINISBLACK"},
              name({GCI_BlueBand, GCI_GreenBand, GCI_RedBand}));
  EXPECT_TRUE(equal(read_all(path("bgr.tif")).bgr, image));
  make_raster(path("odd.tif"), rgb_bands(image), {"PHOTOMETRIC=MINISBLACK"},
              name({GCI_BlueBand, GCI_GreenBand, GCI_GreenBand}));
  EXPECT_TRUE(equal(read_all(path("odd.tif")).bgr, image));
}

TEST_F(RasterBandsTest, OtherBandsMustBeChosen) {
  std::vector<cv::Mat> bands;
  for (int i = 0; i < 5; ++i) bands.push_back(noise({33, 21}, CV_8UC1) * (i + 1));
  make_raster(path("five.tif"), bands);
  const std::string file = path("five.tif").string();
  expect_input_error([&] { read_all(file); }, {file, "found 5", "--bands R,G,B"});
  const auto read = [&](std::vector<int> numbers) { return read_all(file, {numbers, {}}).bgr; };
  cv::Mat expected;
  cv::merge(std::vector<cv::Mat>{bands[1], bands[4], bands[3]}, expected);
  EXPECT_TRUE(equal(read({4, 5, 2}), expected));
  EXPECT_TRUE(equal(read({3}), gray_as_bgr(bands[2])));
  expect_input_error([&] { read({0, 1, 2}); }, {file, "--bands", "no band 0", "1 to 5"});
  expect_input_error([&] { read({1, 2, 6}); }, {"no band 6"});
  expect_input_error([&] { read({1, 2}); }, {"--bands takes 1 or 3"});
  bands.resize(4);
  make_raster(path("four.tif"), bands, {"PHOTOMETRIC=RGB", "ALPHA=NO"});
  expect_input_error([&] { read_all(path("four.tif")); }, {"found 4", "--bands R,G,B"});
  bands.resize(2);
  make_raster(path("two.tif"), bands, {"ALPHA=NO"});
  expect_input_error([&] { read_all(path("two.tif")); }, {"found 2", "--bands N"});
}

TEST_F(RasterBandsTest, DeepPixelsNeedARange) {
  cv::Mat deep(1, 7, CV_16UC1);
  const std::vector<int> values = {0, 99, 100, 355, 610, 1120, 65535};
  for (int i = 0; i < 7; ++i) deep.at<uint16_t>(i) = static_cast<uint16_t>(values[i]);
  make_raster(path("a.tif"), {deep});
  const std::string file = path("a.tif").string();
  expect_input_error([&] { read_all(file); }, {file, "16-bit unsigned", "--range LOW,HIGH"});
  const cv::Mat bgr = read_all(file, {{}, {{100, 1120}}}).bgr;
  const cv::Mat expected = (cv::Mat_<uchar>(1, 7) << 0, 0, 0, 64, 128, 255, 255);
  EXPECT_TRUE(equal(bgr, gray_as_bgr(expected)));
  const double infinity = std::numeric_limits<double>::infinity();
  for (const auto& [low, high] : {std::pair{5.0, 5.0}, {6.0, 5.0}, {0.0, infinity}}) {
    const RasterOptions options{{}, {{low, high}}};
    expect_input_error([&] { read_all(file, options); }, {file, "--range LOW,HIGH"});
  }
}

TEST_F(RasterBandsTest, RangesScaleEveryType) {
  const cv::Mat image = noise({70, 50}, CV_8UC3);
  for (int depth : {CV_8U, CV_16U, CV_16S, CV_32S, CV_32F, CV_64F}) {
    cv::Mat scaled;
    const double factor = depth == CV_8U ? 1 : depth == CV_32S ? 8e6 : 100;
    image.convertTo(scaled, depth, factor);
    make_raster(path("a.tif"), rgb_bands(scaled), {"TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16"});
    const WindowPixels pixels = read_all(path("a.tif"), {{}, {{0, 255 * factor}}});
    EXPECT_TRUE(equal(pixels.bgr, image)) << depth;
    EXPECT_TRUE(pixels.valid.empty());
  }
}

TEST_F(RasterBandsTest, NotANumberIsNoData) {
  std::vector<cv::Mat> bands;
  for (int i = 0; i < 3; ++i) bands.emplace_back(4, 5, CV_32FC1, cv::Scalar(0.5));
  bands[1].at<float>(2, 3) = std::numeric_limits<float>::quiet_NaN();
  bands[0].at<float>(0, 0) = std::numeric_limits<float>::infinity();
  make_raster(path("a.tif"), bands);
  const WindowPixels pixels = read_all(path("a.tif"), {{}, {{0, 1}}});
  EXPECT_EQ(cv::countNonZero(pixels.valid), 19);
  EXPECT_EQ(pixels.valid.at<uchar>(2, 3), 0);
  EXPECT_EQ(pixels.bgr.at<cv::Vec3b>(2, 3), cv::Vec3b(0, 0, 0));
  EXPECT_EQ(pixels.bgr.at<cv::Vec3b>(0, 0), cv::Vec3b(128, 128, 255));
}

TEST_F(RasterBandsTest, ComplexPixelsAreRefused) {
  GDALAllRegister();
  GDALClose(GetGDALDriverManager()->GetDriverByName("GTiff")->Create(path("a.tif").c_str(), 3, 3, 1,
                                                                     GDT_CFloat32, nullptr));
  expect_input_error([&] { read_all(path("a.tif"), {{}, {{0, 1}}}); }, {"complex"});
}

TEST_F(RasterBandsTest, NodataCountsWhereAllBandsSayIt) {
  std::vector<cv::Mat> bands;
  for (int i = 0; i < 3; ++i) bands.push_back(noise({40, 30}, CV_8UC1) / 64);
  bands[1] = bands[1].t();
  bands[1] = bands[1].reshape(1, 30).clone();
  make_raster(path("a.tif"), bands, {}, [](GDALDataset& dataset) {
    for (int i = 1; i <= 3; ++i) dataset.GetRasterBand(i)->SetNoDataValue(0);
  });
  const cv::Mat valid = (bands[0] != 0) | (bands[1] != 0) | (bands[2] != 0);
  const WindowPixels pixels = read_all(path("a.tif"));
  EXPECT_GT(cv::countNonZero(valid == 0), 0);
  EXPECT_TRUE(equal(pixels.valid, valid));
  const WindowPixels one = read_all(path("a.tif"), {{2}, {}});
  EXPECT_TRUE(equal(one.valid, bands[1] != 0));
}

TEST_F(RasterBandsTest, AMaskInTheFileCounts) {
  const cv::Mat image = noise({40, 30}, CV_8UC3);
  cv::Mat mask = noise({40, 30}, CV_8UC1) & 1;
  mask *= 255;
  const CPLConfigOptionSetter inside("GDAL_TIFF_INTERNAL_MASK", "YES", false);
  make_raster(path("a.tif"), rgb_bands(image), {}, [&](GDALDataset& dataset) {
    dataset.CreateMaskBand(GMF_PER_DATASET);
    ASSERT_EQ(dataset.GetRasterBand(1)->GetMaskBand()->RasterIO(GF_Write, 0, 0, 40, 30, mask.data,
                                                                40, 30, GDT_Byte, 0, 0, nullptr),
              CE_None);
  });
  const WindowPixels pixels = read_all(path("a.tif"));
  EXPECT_TRUE(equal(pixels.valid, mask));
  cv::Mat expected = image.clone();
  expected.setTo(cv::Scalar::all(0), mask == 0);
  EXPECT_TRUE(equal(pixels.bgr, expected));
}

TEST_F(RasterBandsTest, BlocksThatTheFileLacksAreNoData) {
  GDALAllRegister();
  CPLStringList options;
  for (const char* option : {"TILED=YES", "SPARSE_OK=TRUE", "COMPRESS=DEFLATE"}) {
    options.AddString(option);
  }
  GDALDataset* dataset = GetGDALDriverManager()->GetDriverByName("GTiff")->Create(
      path("a.tif").c_str(), 100000, 50000, 1, GDT_Byte, options.List());
  dataset->GetRasterBand(1)->SetNoDataValue(9);
  uchar value = 200;
  ASSERT_EQ(dataset->GetRasterBand(1)->RasterIO(GF_Write, 99990, 49990, 1, 1, &value, 1, 1,
                                                GDT_Byte, 0, 0, nullptr),
            CE_None);
  GDALClose(dataset);
  RasterReader reader(path("a.tif"), {});
  const WindowPixels strip = reader.read({0, 1000, 100000, 700});
  EXPECT_EQ(cv::countNonZero(strip.valid), 0);
  EXPECT_EQ(cv::norm(strip.bgr, cv::NORM_INF), 0);
  const WindowPixels corner = reader.read({99900, 49900, 100, 100});
  EXPECT_EQ(cv::countNonZero(corner.valid), 1);
  EXPECT_EQ(corner.bgr.at<cv::Vec3b>(90, 90), cv::Vec3b(200, 200, 200));
}

}  // namespace
}  // namespace hornet
