#include <gdal_priv.h>
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/overlay.h>
#include <hornet/pipelines/raster_writer.h>

#include <functional>
#include <opencv2/imgcodecs.hpp>

#include "temporary_folder.h"

namespace hornet {
namespace {

namespace fs = std::filesystem;

void expect_error(const std::function<void()>& action, ErrorCode code, const std::string& part) {
  try {
    action();
    FAIL() << "no error with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

struct CloseDataset {
  void operator()(GDALDataset* dataset) const { GDALClose(dataset); }
};
using Dataset = std::unique_ptr<GDALDataset, CloseDataset>;

Dataset open_tiff(const fs::path& path) {
  return Dataset(GDALDataset::Open(path.c_str(), GDAL_OF_RASTER));
}

cv::Mat noise(cv::Size size, int type, int below) {
  cv::Mat pixels(size, type);
  cv::RNG random(5);
  random.fill(pixels, cv::RNG::UNIFORM, 0, below);
  return pixels;
}

bool equal(const cv::Mat& a, const cv::Mat& b) {
  return a.size() == b.size() && a.type() == b.type() && cv::norm(a, b, cv::NORM_INF) == 0;
}

class Overlay : public TemporaryFolder {
 protected:
  // Overlays of `image` and `labels`, written as `name`.
  fs::path overlay(const cv::Mat& image, const cv::Mat& labels, const Palette& palette,
                   const std::string& name, const Georeference& georeference = {},
                   double opacity = 0.5) {
    cv::imwrite(path("image.png"), image);
    write_labels(labels);
    RasterReader reader(path("image.png"), {});
    const fs::path partial = path("partial" + fs::path(name).extension().string());
    write_overlay(reader, path("labels.tif"), palette, partial, name, georeference, {opacity});
    return partial;
  }

  void write_labels(const cv::Mat& labels) {
    RasterWriter writer(path("labels.tif"), {labels.size(), 1, labels.depth(), {}, {}, {}}, {});
    for (int y = 0; y < labels.rows; y += RasterWriter::kBlock) {
      const cv::Rect where(0, y, labels.cols, std::min(RasterWriter::kBlock, labels.rows - y));
      writer.write(where, {labels(where)});
    }
    writer.close();
  }
};

TEST_F(Overlay, AsPngIsTheBlendedImage) {
  const Palette palette = Palette::make("camvid", 11, {}, {});
  const cv::Size size(301, 523);  // three strips
  const cv::Mat image = noise(size, CV_8UC3, 256);
  cv::Mat labels = noise(size, CV_8UC1, 11);
  labels({10, 200, 60, 100}).setTo(255);
  const cv::Mat written = cv::imread(overlay(image, labels, palette, "out.png", {}, 0.3));
  cv::Mat expected = image.clone();
  blend_labels(expected, labels, palette, 0.3);
  EXPECT_TRUE(equal(written, expected));
  const cv::Rect nodata(10, 200, 60, 100);
  EXPECT_TRUE(equal(written(nodata), image(nodata)));
}

TEST_F(Overlay, AsTiffEqualsThePngAndHasOverviews) {
  const Palette palette = Palette::make("cityscapes", 19, {}, {});
  const cv::Size size(1300, 700);
  const cv::Mat image = noise(size, CV_8UC3, 256);
  const cv::Mat labels = noise(size, CV_8UC1, 20);  // 19 is outside the palette
  const cv::Mat png = cv::imread(overlay(image, labels, palette, "out.png"));
  Georeference georeference;
  georeference.geo_transform = {{500000, 0.5, 0, 5500000, 0, -0.5}};
  const fs::path tiff = overlay(image, labels, palette, "out.TIF", georeference);
  RasterReader reader(tiff, {});
  ASSERT_EQ(reader.size(), size);
  EXPECT_TRUE(equal(reader.read(cv::Rect({}, size)).bgr, png));
  EXPECT_EQ(reader.georeference().geo_transform, georeference.geo_transform);
  const Dataset dataset = open_tiff(tiff);
  ASSERT_NE(dataset, nullptr);
  GDALRasterBand* red = dataset->GetRasterBand(1);
  EXPECT_EQ(red->GetColorInterpretation(), GCI_RedBand);
  ASSERT_GE(red->GetOverviewCount(), 1);
  EXPECT_EQ(red->GetOverview(0)->GetXSize(), 650);
}

TEST_F(Overlay, TakesLabelsOf16Bits) {
  const Palette palette = Palette::make("", 300, {}, {});
  const cv::Mat image = noise({40, 30}, CV_8UC3, 256);
  cv::Mat labels(30, 40, CV_16UC1, cv::Scalar(299));
  labels.row(3).setTo(65535);
  const cv::Mat written = cv::imread(overlay(image, labels, palette, "out.png", {}, 1));
  EXPECT_EQ(written.at<cv::Vec3b>(0, 0), palette.colors[299]);
  EXPECT_TRUE(equal(written.row(3), image.row(3)));
}

TEST_F(Overlay, OfLabelsThatDoNotFitIsAnError) {
  const Palette palette = Palette::make("camvid", 11, {}, {});
  const cv::Mat image = noise({40, 30}, CV_8UC3, 256);
  const auto expect = [&](const cv::Mat& labels, const std::string& part) {
    expect_error([&] { overlay(image, labels, palette, "out.png"); }, ErrorCode::kInput, part);
  };
  expect(cv::Mat::zeros(40, 30, CV_8UC1), "labels.tif: has 30 x 40 pixels, expected 40 x 30");
  expect(cv::Mat::zeros(30, 40, CV_32FC1), "8-bit or 16-bit unsigned, found 32-bit float");
  RasterReader reader(path("image.png"), {});
  const auto write = [&](const std::string& labels) {
    return
        [&, labels] { write_overlay(reader, path(labels), palette, path("o.png"), "o.png", {}); };
  };
  expect_error(write("image.png"), ErrorCode::kInput, "expected one band of labels, found 3");
  expect_error(write("missing.tif"), ErrorCode::kInput, "missing.tif: the labels cannot be opened");
  write_file(path("text.tif"), "no raster");
  expect_error(write("text.tif"), ErrorCode::kInput, "text.tif: the labels cannot be opened");
}

TEST_F(Overlay, OfAnUnknownFormatIsAnError) {
  const Palette palette = Palette::make("camvid", 11, {}, {});
  const cv::Mat image = noise({40, 30}, CV_8UC3, 256);
  const cv::Mat labels = cv::Mat::zeros(30, 40, CV_8UC1);
  expect_error([&] { overlay(image, labels, palette, "out.xyz"); }, ErrorCode::kOutput,
               "out.xyz: no known image format");
}

TEST_F(Overlay, ThatCannotBeWrittenIsAnError) {
  const Palette palette = Palette::make("camvid", 11, {}, {});
  const cv::Mat labels = cv::Mat::zeros(2, 70000, CV_8UC1);  // JPEG ends at 65500
  const cv::Mat image = cv::Mat::zeros(2, 70000, CV_8UC3);
  expect_error([&] { overlay(image, labels, palette, "out.jpg"); }, ErrorCode::kOutput,
               "out.jpg: an image of 70000 x 2 pixels cannot be written");
}

TEST(OverlayFile, IsCheckedBeforeTheWork) {
  const auto expect = [](const std::string& name, cv::Size size, const std::string& part) {
    expect_error([&] { check_overlay_file(name, size); }, ErrorCode::kOutput, part);
  };
  expect("a.JPG", {65501, 40}, "a.JPG: an image of 65501 x 40 pixels cannot be written");
  expect("a.webp", {40, 16384}, "16383; name a .tif file");
  expect("a.xyz", {40, 40}, "a.xyz: no known image format");
  expect("a.png", {20000, 20000}, "too large");
  EXPECT_NO_THROW(check_overlay_file("a.jpg", {65500, 40}));
  EXPECT_NO_THROW(check_overlay_file("a.png", {65501, 40}));
  EXPECT_NO_THROW(check_overlay_file("a.tif", {200000, 200000}));
}

TEST_F(Overlay, OfAHugeImageNeedsTiff) {
  const auto raster = [&](const std::string& name, int bands) {
    const std::string band = R"(<VRTRasterBand dataType="Byte" band=")";
    std::string text = R"(<VRTDataset rasterXSize="20000" rasterYSize="20000">)";
    for (int i = 1; i <= bands; ++i) text += band + std::to_string(i) + R"("></VRTRasterBand>)";
    write_file(path(name), text + "</VRTDataset>");
    return path(name);
  };
  RasterReader reader(raster("image.vrt", 3), {});
  const Palette palette = Palette::make("camvid", 11, {}, {});
  expect_error(
      [&] { write_overlay(reader, raster("labels.vrt", 1), palette, path("o.png"), "o.png", {}); },
      ErrorCode::kOutput, "o.png: an image of 20000 x 20000 pixels is too large");
}

}  // namespace
}  // namespace hornet
