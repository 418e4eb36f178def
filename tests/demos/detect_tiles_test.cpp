// `hornet detect --tile` on images and rasters.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <opencv2/imgcodecs.hpp>
#include <set>

#include "tests/demos/program.h"
#include "tests/demos/rasters.h"
#include "tests/demos/samples.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Files = std::vector<std::string>;

constexpr double kThreshold = 0.05;

class ProgramDetectsInTiles : public TemporaryFolder {
 protected:
  Arguments line(const std::string& input, const Arguments& more) const {
    return with({"detect", "--weights", detector_checkpoint(), "--input", path(input), "--size",
                 "96x96", "--score-thr", "0.05"},
                more);
  }

  // Three bands of `source`, or without any data.
  static std::string vrt(cv::Size size, const std::string& source) {
    const auto side = [](int pixels) { return std::to_string(pixels); };
    std::string text = "<VRTDataset rasterXSize=\"" + side(size.width) + "\" rasterYSize=\"" +
                       side(size.height) + "\">";
    for (int band = 1; band <= 3; ++band) {
      text += "<VRTRasterBand dataType=\"Byte\"><NoDataValue>0</NoDataValue>";
      if (!source.empty()) {
        text += "<SimpleSource><SourceFilename relativeToVRT=\"1\">" + source +
                "</SourceFilename><SourceBand>" + side(band) + "</SourceBand></SimpleSource>";
      }
      text += "</VRTRasterBand>";
    }
    return text + "</VRTDataset>";
  }

  std::set<std::string> objects_in(const std::string& name) const {
    std::set<std::string> objects;
    for (const json& object : read_json(path(name))) objects.insert(object.dump());
    EXPECT_FALSE(objects.empty()) << name;
    return objects;
  }
};

TEST_F(ProgramDetectsInTiles, OfAnImageThatIsOneTileFindWhatThereIsWithoutTiles) {
  write_image(path("in.png"), scene({151, 113}, 7));
  expect_clean(run_hornet(line("in.png", {"--json", path("plain.json")})));
  expect_clean(run_hornet(line("in.png", {"--json", path("tile.json"), "--tile", "160",
                                          "--merge-thr", "1", "--whole-image-too"})));
  EXPECT_EQ(objects_in("tile.json"), objects_in("plain.json"));
  EXPECT_EQ(
      read_json(path("run-2.json"))["counts"].size() + read_json(path("run.json"))["counts"].size(),
      8u);
}

TEST_F(ProgramDetectsInTiles, OfAnImageInBatchesAndAsAWhole) {
  const cv::Mat image = scene({300, 200}, 7);
  write_image(path("in.png"), image);
  const Outcome outcome = run_hornet(
      line("in.png", {"--output", path("out.png"), "--json", path("out.json"), "--tile", "128",
                      "--whole-image-too", "--merge", "ios", "--batch-size", "4"}));
  expect_clean(outcome);
  EXPECT_EQ(names_in(path("")), (Files{"in.png", "out.json", "out.png", "run.json"}));
  const json results = read_json(path("out.json"));
  ASSERT_FALSE(results.empty());
  double left = 300, top = 200, right = 0, bottom = 0;
  for (const json& result : results) {
    EXPECT_EQ(result["image_id"], 1);
    expect_coco_result(result, image.size(), kThreshold);
    const auto box = result["bbox"].get<std::array<double, 4>>();
    left = std::min(left, box[0]);
    top = std::min(top, box[1]);
    right = std::max(right, box[0] + box[2]);
    bottom = std::max(bottom, box[1] + box[3]);
  }
  // Something is found in the first tile, and right of and below it.
  EXPECT_LT(std::max(left, top), 72);
  EXPECT_GT(right, 128);
  EXPECT_GT(bottom, 128);
  const cv::Mat drawn = cv::imread(path("out.png"));
  ASSERT_EQ(drawn.size(), image.size());
  EXPECT_GT(cv::norm(drawn, image, cv::NORM_INF), 50);
  const json report = read_json(path("run.json"));
  EXPECT_EQ(report["counts"],
            (json{{"images_in", 1},
                  {"images_out", 1},
                  {"tiles", 6},  // columns from 0, 103 and 172, rows from 0 and 72
                  {"tiles_skipped", 0},
                  {"objects", results.size()}}));
  EXPECT_EQ(report["stages"]["infer"]["count"], 7);
  EXPECT_EQ(report["arguments"]["tile"], 128);
}

TEST_F(ProgramDetectsInTiles, OfARasterKeepItsPlaceOnEarth) {
  RasterLook look;
  look.georeferenced = true;
  look.hole = {200, 500, 400, 900};
  const cv::Size size(600, 1400);
  write_raster(path("8.tif"), size, look);
  look.depth = CV_16U;
  write_raster(path("16.tif"), size, look);
  const Arguments tiles = {"--tile", "256"};
  expect_clean(run_hornet(
      line("8.tif", with(tiles, {"--output", path("8.out.tif"), "--json", path("8.json")}))));
  expect_clean(run_hornet(
      line("16.tif", with(tiles, {"--output", path("16.out.png"), "--json", path("16.json"),
                                  "--range", "0,4080", "--bands", "1,2,3"}))));
  EXPECT_EQ(objects_in("16.json"), objects_in("8.json"));
  const RasterFacts out = read_raster(path("8.out.tif"));
  EXPECT_EQ(out.bands, 3);
  EXPECT_TRUE(out.tiled);
  EXPECT_GE(out.overviews, 1);
  EXPECT_EQ(out.geo_transform, read_raster(path("8.tif")).geo_transform);
  EXPECT_FALSE(out.projection.empty());
  std::vector<cv::Mat> planes;
  cv::split(cv::imread(path("16.out.png")), planes);
  ASSERT_EQ(planes.size(), 3u);
  EXPECT_EQ(cv::norm(out.labels, planes[2], cv::NORM_INF), 0);
  EXPECT_GT(cv::norm(out.labels, read_raster(path("8.tif")).labels, cv::NORM_INF), 50);
  // Columns of tiles from 0, 205 and 344; rows from 0, 205, 410, 615, 820, 1025 and 1144.
  const json counts = read_json(path("run.json"))["counts"];
  EXPECT_EQ(counts["tiles"], 21 - 8);
  EXPECT_EQ(counts["tiles_skipped"], 8);
}

TEST_F(ProgramDetectsInTiles, OfAFolderEvenIfOneIsBroken) {
  fs::create_directory(path("in"));
  write_image(path("in/a.png"), scene({160, 120}, 1));
  write_file(path("in/b.png"), "junk");
  write_image(path("in/c.png"), scene({90, 200}, 2));
  const Outcome outcome =
      run_hornet(line("in", {"--tile", "96", "--output", path("out"), "--json", path("all.json")}));
  expect_clean(outcome, 6);
  EXPECT_NE(outcome.err.find("b.png"), std::string::npos) << outcome.err;
  EXPECT_EQ(names_in(path("out")), (Files{"a.png", "c.png"}));
  std::set<int> ids;
  for (const json& result : read_json(path("all.json"))) {
    ids.insert(result["image_id"].get<int>());
    expect_coco_result(result, result["image_id"] == 1 ? cv::Size(160, 120) : cv::Size(90, 200),
                       kThreshold);
  }
  EXPECT_EQ(ids, (std::set<int>{1, 3}));
  const json report = read_json(path("run.json"));
  EXPECT_EQ(report["status"], "partial");
  EXPECT_EQ(report["counts"]["images_out"], 2);
  EXPECT_EQ(report["counts"]["tiles"], 4 + 3);
}

TEST_F(ProgramDetectsInTiles, OfAFolderWithRastersThatAreOnlyRead) {
  fs::create_directory(path("in"));
  write_image(path("b.png"), scene({160, 120}, 1));
  write_image(path("in/a.png"), scene({90, 200}, 2));
  write_file(path("in/b.vrt"), vrt({160, 120}, "../b.png"));
  expect_clean(run_hornet(
      line("in", {"--tile", "96", "--output", path("out"), "--json", path("all.json")})));
  EXPECT_EQ(names_in(path("out")), (Files{"a.png", "b.vrt.tif"}));
  std::set<int> ids;
  for (const json& result : read_json(path("all.json"))) ids.insert(result["image_id"].get<int>());
  EXPECT_EQ(ids, (std::set<int>{1, 2}));
}

TEST_F(ProgramDetectsInTiles, OfAnyNumberOfPixelsIfNothingIsDrawn) {
  fs::create_directory(path("in"));
  write_file(path("in/empty.vrt"), vrt({16400, 16400}, ""));  // more than 2^28
  const Arguments run = line("in", {"--tile", "4096", "--overlap", "0", "--json", path("a.json")});
  expect_clean(run_hornet(run));
  EXPECT_EQ(read_json(path("run.json"))["counts"]["tiles_skipped"], 25);
}

TEST_F(ProgramDetectsInTiles, OfAFolderAndTellsOfResultsAboveADamagedRow) {
  fs::create_directory(path("in"));
  write_image(path("in/a.png"), scene({96, 96}, 1));
  write_image(path("in/b.png"), scene({96, 700}, 2));
  fs::resize_file(path("in/b.png"), fs::file_size(path("in/b.png")) * 3 / 4);
  expect_clean(run_hornet(line("in", {"--tile", "96", "--json", path("all.json")})), 6);
  size_t found = 0;
  for (const json& result : read_json(path("all.json"))) found += result["image_id"] == 2;
  ASSERT_GT(found, 0u);
  const json warnings = read_json(path("run.json"))["warnings"];
  ASSERT_EQ(warnings.size(), 1u);
  const std::string said = warnings[0].get<std::string>();
  EXPECT_NE(said.find("b.png: rows "), std::string::npos) << said;
  EXPECT_NE(said.find("; " + std::to_string(found) + " objects found above are in --json"),
            std::string::npos)
      << said;
}

TEST_F(ProgramDetectsInTiles, NotWhereTheResultCouldNotBeWritten) {
  write_file(path("long.vrt"), vrt({66000, 64}, ""));
  expect_error(run_hornet(line("long.vrt", {"--tile", "64", "--output", path("out.jpg")})), 3,
               {"long.vrt", "66000x64", "65500", ".tif"});
}

TEST_F(ProgramDetectsInTiles, AndRefusesWhatMakesNoSense) {
  write_image(path("in.png"), scene({96, 64}, 1));
  write_video(path("in.avi"), 2);
  const Arguments json_only = {"--json", path("new.json")};
  const auto tiled = [&](const std::string& input, const Arguments& more) {
    return with(line(input, json_only), with({"--tile", "64"}, more));
  };
  const std::vector<std::tuple<Arguments, int, std::vector<std::string>>> cases = {
      {tiled("in.avi", {}), 2, {"in.avi", "--tile", "videos"}},
      {with(line("in.png", json_only), {"--tile", "31"}), 2, {"--tile 31", "32"}},
      {tiled("in.png", {"--overlap", "0.95"}), 2, {"--overlap 0.95", "0.9"}},
      {tiled("in.png", {"--merge-thr", "1.5"}), 2, {"--merge-thr 1.5", "1"}},
      {tiled("in.png", {"--merge", "soft"}), 2, {"--merge soft", "nms or ios"}},
      {with(line("in.png", json_only), {"--merge", "ios"}), 2, {"--merge", "add --tile"}},
      {with(line("in.png", json_only), {"--overlap", "0.1"}), 2, {"--overlap", "add --tile"}},
      {with(line("in.png", json_only), {"--whole-image-too"}), 2, {"--whole", "add --tile"}},
      {with(line("in.png", json_only), {"--bands", "1,2,3"}), 2, {"--bands", "add --tile"}},
      {tiled("in.png", {"--start", "1"}), 2, {"--start", "videos"}},
      {tiled("gone.tif", {}), 3, {"gone.tif"}},
      {with(line("in.png", {"--output", path("x.gif")}), {"--tile", "64"}), 2, {"x.gif", ".tif"}}};
  std::vector<Arguments> lines;
  for (const auto& refused : cases) lines.push_back(std::get<0>(refused));
  const auto outcomes = run_all(lines);
  for (size_t i = 0; i < cases.size(); ++i) {
    expect_error(outcomes[i], std::get<1>(cases[i]), std::get<2>(cases[i]));
  }
  EXPECT_EQ(names_in(path("")), (Files{"in.avi", "in.png"}));
}

}  // namespace
}  // namespace hornet::testing
