#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/palette.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "temporary_folder.h"

namespace hornet {
namespace {

using Rgb = std::tuple<int, int, int>;

Rgb rgb(const cv::Vec3b& bgr) { return {bgr[2], bgr[1], bgr[0]}; }

size_t different_colors(const Palette& palette) {
  std::set<Rgb> colors;
  for (const cv::Vec3b& color : palette.colors) colors.insert(rgb(color));
  return colors.size();
}

void expect_error(const std::function<void()>& action, ErrorCode code, const std::string& part) {
  try {
    action();
    FAIL() << "no error with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Palette, OfAde20k) {
  const Palette palette = Palette::make("ade20k", 150, {}, {});
  ASSERT_EQ(palette.size(), 150);
  EXPECT_EQ(palette.names[0], "wall");
  EXPECT_EQ(rgb(palette.colors[0]), Rgb(120, 120, 120));
  EXPECT_EQ(palette.names[7], "bed");
  EXPECT_EQ(rgb(palette.colors[2]), Rgb(6, 230, 230));
  EXPECT_EQ(palette.names[149], "flag");
  EXPECT_EQ(rgb(palette.colors[149]), Rgb(92, 0, 255));
  // The benchmark itself shows roads (6) and skyscrapers (48) in one gray.
  EXPECT_EQ(palette.colors[6], palette.colors[48]);
  EXPECT_EQ(different_colors(palette), 149u);
  EXPECT_EQ(std::set<std::string>(palette.names.begin(), palette.names.end()).size(), 150u);
}

TEST(Palette, OfCityscapes) {
  const Palette palette = Palette::make("cityscapes", 19, {}, {});
  ASSERT_EQ(palette.size(), 19);
  EXPECT_EQ(palette.names[0], "road");
  EXPECT_EQ(rgb(palette.colors[0]), Rgb(128, 64, 128));
  EXPECT_EQ(palette.names[13], "car");
  EXPECT_EQ(rgb(palette.colors[13]), Rgb(0, 0, 142));
  EXPECT_EQ(palette.names[18], "bicycle");
  EXPECT_EQ(rgb(palette.colors[18]), Rgb(119, 11, 32));
  EXPECT_EQ(different_colors(palette), 19u);
}

TEST(Palette, OfCamVid) {
  const Palette palette = Palette::make("camvid", 11, {}, {});
  const std::vector<std::string> names = {"sky",      "building",   "pole",     "road",
                                          "pavement", "tree",       "sign",     "fence",
                                          "car",      "pedestrian", "bicyclist"};
  EXPECT_EQ(palette.names, names);
  EXPECT_EQ(rgb(palette.colors[0]), Rgb(128, 128, 128));
  EXPECT_EQ(rgb(palette.colors[3]), Rgb(128, 64, 128));
  EXPECT_EQ(rgb(palette.colors[10]), Rgb(0, 128, 192));
  EXPECT_EQ(different_colors(palette), 11u);
}

TEST(Palette, OfTheCheckpointGoesBeforeTheBuiltIn) {
  const std::vector<std::string> names(11, "mine");
  const std::vector<cv::Vec3b> colors(11, cv::Vec3b(1, 2, 3));
  const Palette both = Palette::make("", 11, names, colors);
  EXPECT_EQ(both.names, names);
  EXPECT_EQ(both.colors, colors);
  const Palette named = Palette::make("", 11, names, {});
  EXPECT_EQ(named.names, names);
  EXPECT_EQ(named.colors, Palette::make("camvid", 11, {}, {}).colors);
  EXPECT_EQ(Palette::make("", 150, {}, {}).names[0], "wall");
  EXPECT_EQ(Palette::make("camvid", 11, names, colors).names[0], "sky");
}

TEST(Palette, IsMadeUpWhereNothingIsKnown) {
  const Palette palette = Palette::make("", 40, {}, {});
  EXPECT_EQ(palette.names[39], "class 39");
  EXPECT_EQ(different_colors(palette), 40u);
  EXPECT_EQ(palette.colors, Palette::make("", 40, {}, {}).colors);
}

TEST(Palette, OfMoreThan255ClassesIsWide) {
  const Palette narrow = Palette::make("", 255, {}, {});
  EXPECT_FALSE(narrow.wide());
  EXPECT_EQ(narrow.nodata(), 255);
  const Palette wide = Palette::make("", 256, {}, {});
  EXPECT_TRUE(wide.wide());
  EXPECT_EQ(wide.nodata(), 65535);
  EXPECT_EQ(Palette::make("", 65535, {}, {}).size(), 65535);
  expect_error([] { Palette::make("", 65536, {}, {}); }, ErrorCode::kWeights, "65536");
  expect_error([] { Palette::make("", 0, {}, {}); }, ErrorCode::kWeights, "0 classes");
}

TEST(Palette, ThatDoesNotFitTheModelIsAnError) {
  expect_error([] { Palette::make("ade20k", 19, {}, {}); }, ErrorCode::kUsage, "has 150 classes");
  expect_error([] { Palette::make("no-such", 19, {}, {}); }, ErrorCode::kUsage,
               "expected ade20k, cityscapes, camvid");
  expect_error([] { Palette::make("", 3, {"a", "b"}, {}); }, ErrorCode::kWeights, "2 class names");
  expect_error([] { Palette::make("", 3, {}, {{1, 2, 3}}); }, ErrorCode::kWeights, "1 colours");
}

TEST(PaletteJson, RoundTrips) {
  for (const int num_classes : {1, 11, 19, 150, 255, 300}) {
    const Palette palette = Palette::make("", num_classes, {}, {});
    const Palette copy = parse_palette(to_json(palette).dump(2), "copy.json");
    EXPECT_EQ(copy.names, palette.names);
    EXPECT_EQ(copy.colors, palette.colors);
  }
}

TEST(PaletteJson, IsWhatTheHeaderSays) {
  const Palette palette{{"wall", "sky"}, {{120, 121, 122}, {3, 2, 1}}};
  EXPECT_EQ(to_json(palette).dump(),
            R"({"classes":[{"index":0,"name":"wall","color":[122,121,120]},)"
            R"({"index":1,"name":"sky","color":[1,2,3]}],"nodata":255})");
}

TEST(PaletteJson, ClassesMayComeInAnyOrder) {
  const Palette palette = parse_palette(
      R"({"classes": [{"index": 1, "name": "b", "color": [4, 5, 6], "more": null},
                      {"index": 0, "name": "a", "color": [1, 2, 3]}]})",
      "p.json");
  EXPECT_EQ(palette.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(rgb(palette.colors[1]), Rgb(4, 5, 6));
}

std::string one_class(const std::string& entry) { return R"({"classes": [)" + entry + "]}"; }

TEST(PaletteJson, ThatIsBrokenIsNamed) {
  const auto expect = [](const std::string& text, const std::string& part) {
    expect_error([&] { parse_palette(text, "p.json"); }, ErrorCode::kInput, part);
    expect_error([&] { parse_palette(text, "p.json"); }, ErrorCode::kInput,
                 "p.json: not a palette");
  };
  const std::string rest = R"(, "name": "a", "color": [1, 2, 3]})";
  expect("", "broken JSON");
  expect("{", "broken JSON");
  expect("[1]", "expected a JSON object");
  expect("{}", "'classes' is missing");
  expect(R"({"classes": 3})", "not an array");
  expect(R"({"classes": []})", "0 classes");
  expect(one_class("3"), "entry 0 of 'classes': it is not an object");
  expect(one_class(R"({"index": 1)" + rest), "'index' is 1, expected an integer from 0 to 0");
  expect(one_class(R"({"index": -1)" + rest), "'index' is -1");
  expect(one_class(R"({"index": 0.0)" + rest), "'index' is not an integer");
  expect(one_class(R"({"index": 18446744073709551615)" + rest), "'index' is 1844674407370955161");
  const std::string good = R"({"index": 0)" + rest;
  expect(one_class(good + ", " + good), "entry 1 of 'classes': 'index' is 0 a second time");
  expect(one_class(R"({"index": 0, "color": [1, 2, 3]})"), "'name' is missing");
  expect(one_class(R"({"index": 0, "name": 1, "color": [1, 2, 3]})"), "'name' is not a string");
  expect(one_class(R"({"index": 0, "name": "a", "color": [1, 2]})"), "[red, green, blue]");
  expect(one_class(R"({"index": 0, "name": "a", "color": [1, 2, 256]})"), "256");
  expect(one_class(R"({"index": 0, "name": "a", "color": [1, 2, "3"]})"), "not an integer");
  expect(R"({"classes": [)" + good + R"(], "nodata": 0})", "'nodata' is 0, expected 255");
}

TEST(PaletteJson, ThatIsHugeOrDeepIsAnError) {
  const auto parse = [](const std::string& text) {
    return [text] { parse_palette(text, "p.json"); };
  };
  expect_error(parse(std::string(1 << 20, '[')), ErrorCode::kInput, "nested too deeply");
  expect_error(parse(std::string(17 << 20, ' ')), ErrorCode::kInput, "larger than 16 MiB");
  std::string zeros = "0";
  for (int i = 0; i < 65535; ++i) zeros += ",0";
  expect_error(parse(one_class(zeros)), ErrorCode::kInput, "65536 classes");
}

using PaletteFile = TemporaryFolder;

TEST_F(PaletteFile, IsReadByItsName) {
  const Palette palette{{"leaf", "stem"}, {{1, 2, 3}, {4, 5, 6}}};
  write_file(path("p.json"), to_json(palette).dump());
  const Palette read = Palette::make(path("p.json"), 2, {"x", "y"}, {});
  EXPECT_EQ(read.names, palette.names);
  EXPECT_EQ(read.colors, palette.colors);
  expect_error([&] { Palette::make(path("p.json"), 3, {}, {}); }, ErrorCode::kInput,
               "p.json: the palette has 2 classes, but the model has 3");
}

TEST_F(PaletteFile, ThatIsNoneIsAnError) {
  write_file(path("p.json"), "no JSON");
  expect_error([&] { Palette::make(path("p.json"), 2, {}, {}); }, ErrorCode::kInput, "p.json: not");
  expect_error([&] { Palette::make(path(""), 2, {}, {}); }, ErrorCode::kInput, "cannot be read");
  write_file(path("large.json"), std::string(17 << 20, ' '));
  expect_error([&] { Palette::make(path("large.json"), 2, {}, {}); }, ErrorCode::kInput, "large");
}

TEST(BlendLabels, MixesWhatTheLabelsColour) {
  const Palette palette{{"a", "b"}, {{0, 100, 255}, {10, 20, 30}}};
  cv::Mat image(1, 3, CV_8UC3, cv::Scalar(100, 101, 102));
  blend_labels(image, (cv::Mat_<uint8_t>(1, 3) << 0, 1, 255), palette, 0.5);
  EXPECT_EQ(image.at<cv::Vec3b>(0), cv::Vec3b(50, 101, 179));  // halves go up
  EXPECT_EQ(image.at<cv::Vec3b>(1), cv::Vec3b(55, 61, 66));
  EXPECT_EQ(image.at<cv::Vec3b>(2), cv::Vec3b(100, 101, 102));
}

TEST(BlendLabels, OfEveryValueRoundsToTheNearest) {
  Palette palette;
  for (int value = 0; value < 255; ++value) {
    palette.names.emplace_back();
    palette.colors.push_back(cv::Vec3b::all(static_cast<uint8_t>(value)));
  }
  for (const double opacity : {0.0, 0.3, 0.45, 1.0}) {
    cv::Mat image(256, 255, CV_8UC3);
    cv::Mat labels(256, 255, CV_8UC1);
    for (int y = 0; y < 256; ++y) {
      image.row(y).setTo(cv::Scalar::all(y));
      for (int x = 0; x < 255; ++x) labels.at<uint8_t>(y, x) = static_cast<uint8_t>(x);
    }
    blend_labels(image, labels, palette, opacity);
    for (int y = 0; y < 256; ++y) {
      for (int x = 0; x < 255; ++x) {
        const double exact = y * (1 - opacity) + x * opacity;
        ASSERT_LE(std::abs(image.at<cv::Vec3b>(y, x)[1] - exact), 0.505) << y << " " << x;
      }
    }
  }
}

TEST(BlendLabels, Takes16Bits) {
  const Palette palette = Palette::make("", 300, {}, {});
  cv::Mat image(1, 3, CV_8UC3, cv::Scalar(1, 2, 3));
  blend_labels(image, (cv::Mat_<uint16_t>(1, 3) << 299, 300, 65535), palette, 1);
  EXPECT_EQ(image.at<cv::Vec3b>(0), palette.colors[299]);
  EXPECT_EQ(image.at<cv::Vec3b>(1), cv::Vec3b(1, 2, 3));
  EXPECT_EQ(image.at<cv::Vec3b>(2), cv::Vec3b(1, 2, 3));
}

TEST(BlendLabels, WorksOnPartsOfImages) {
  const Palette palette{{"a"}, {{9, 8, 7}}};
  cv::Mat image(5, 7, CV_8UC3, cv::Scalar::all(0));
  cv::Mat part = image({2, 1, 3, 2});
  const cv::Mat labels = cv::Mat::zeros(5, 7, CV_8UC1);
  blend_labels(part, labels({1, 1, 3, 2}), palette, 1);
  EXPECT_EQ(cv::sum(image), cv::Scalar(6 * 9, 6 * 8, 6 * 7));
  EXPECT_EQ(image.at<cv::Vec3b>(1, 2), cv::Vec3b(9, 8, 7));
}

}  // namespace
}  // namespace hornet
