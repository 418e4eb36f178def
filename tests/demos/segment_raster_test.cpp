// `hornet segment` on rasters: georeferences, interruptions, bounded memory.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "tests/demos/program.h"
#include "tests/demos/rasters.h"
#include "tests/demos/samples.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

using Files = std::vector<std::string>;

class ProgramSegmentsRasters : public TemporaryFolder {
 protected:
  Arguments line(const std::string& input, const std::string& output,
                 const Arguments& more = {}) const {
    return with({"segment", "--weights", checkpoint("upernet_hornet_tiny_gf_s2"), "--input",
                 path(input), "--output", path(output), "--tile", "64"},
                more);
  }

  // Waits until the run's state says that some rows are finished, and not all.
  bool wait_for_rows(Program& program, const std::string& state) const {
    for (int i = 0; i < 3000 && !program.has_ended(); ++i) {
      if (std::filesystem::exists(path(state))) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  int64_t peak_memory(const std::string& report) const {
    return read_json(path(report))["peak_memory"]["host_bytes"];
  }
};

TEST_F(ProgramSegmentsRasters, KeepTheirPlaceOnEarthAndTheirHoles) {
  RasterLook look;
  look.georeferenced = true;
  look.hole = {300, 40, 150, 200};
  write_raster(path("in.tif"), {600, 520}, look);
  expect_clean(run_hornet(line("in.tif", "out.tif",
                               {"--overlay", path("look.tif"), "--probabilities", path("p.tif")})));
  const RasterFacts out = read_raster(path("out.tif"));
  EXPECT_TRUE(out.tiled);
  EXPECT_TRUE(out.has_colors);
  EXPECT_EQ(out.nodata, 255);
  EXPECT_EQ(out.geo_transform, (std::vector<double>{500000, 0.5, 0, 4600000, 0, -0.5}));
  EXPECT_NE(out.projection.find("UTM zone 31N"), std::string::npos);
  cv::Mat hole(520, 600, CV_8UC1, cv::Scalar(0));
  hole(look.hole).setTo(255);
  EXPECT_EQ(cv::countNonZero((out.labels == 255) != hole), 0);
  const RasterFacts overlay = read_raster(path("look.tif"));
  EXPECT_EQ(overlay.bands, 3);
  EXPECT_GE(overlay.overviews, 1);
  EXPECT_EQ(overlay.geo_transform, out.geo_transform);
  EXPECT_EQ(read_raster(path("p.tif")).bands, 150);
  EXPECT_EQ(names_in(path("")),
            (Files{"in.tif", "look.tif", "out.classes.json", "out.tif", "p.tif", "run.json"}));
}

TEST_F(ProgramSegmentsRasters, SixteenBitsAndFloatsAreScaledByTheRangeGiven) {
  write_raster(path("8.tif"), {200, 100});
  write_raster(path("16.tif"), {200, 100}, {CV_16U, 3, false, {}});
  write_raster(path("float.tif"), {200, 100}, {CV_32F, 4, false, {}});
  const Arguments range = {"--range", "0,4080"};  // 16 * 255
  for (const Outcome& outcome :
       run_all({line("8.tif", "8.png"), line("16.tif", "16.png", range),
                line("float.tif", "float.png", with(range, {"--bands", "1,2,3"}))})) {
    expect_clean(outcome);
  }
  const cv::Mat labels = read_raster(path("8.png")).labels;
  EXPECT_EQ(cv::countNonZero(labels != read_raster(path("16.png")).labels), 0);
  EXPECT_EQ(cv::countNonZero(labels != read_raster(path("float.png")).labels), 0);
}

TEST_F(ProgramSegmentsRasters, AnInterruptedRunGoesOnByteForByte) {
  write_raster(path("in.tif"), {700, 2100});
  expect_clean(run_hornet(line("in.tif", "whole.tif")));
  Program program(line("in.tif", "out.tif"));
  ASSERT_TRUE(wait_for_rows(program, "out.partial.json"));
  program.send(SIGINT);
  const Outcome stopped = program.wait();
  expect_clean(stopped, 130);
  EXPECT_NE(stopped.err.find("--resume"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path("out.tif")));
  // What is there is a valid file: labels above, no data below.
  const cv::Mat part = read_raster(path("out.partial.tif")).labels;
  const cv::Mat whole = read_raster(path("whole.tif")).labels;
  EXPECT_EQ(cv::countNonZero(part.rowRange(0, 256) != whole.rowRange(0, 256)), 0);
  EXPECT_EQ(part.at<uint8_t>(2099, 0), 255);
  const int rows = read_json(path("out.partial.json"))["rows"][0];
  EXPECT_GE(rows, 256);
  EXPECT_LT(rows, 2100);

  expect_error(run_hornet(line("in.tif", "out.tif")), 7, {"out.partial.json", "--resume"});
  expect_error(run_hornet(line("in.tif", "out.tif", {"--resume", "--blend", "hann"})), 2,
               {"--blend", "mean", "hann"});
  expect_clean(run_hornet(line("in.tif", "out.tif", {"--resume"})));
  EXPECT_EQ(read_file(path("out.tif")), read_file(path("whole.tif")));
  EXPECT_FALSE(std::filesystem::exists(path("out.partial.json")));
  EXPECT_FALSE(std::filesystem::exists(path("out.partial.tif")));
}

TEST_F(ProgramSegmentsRasters, AKilledRunGoesOnToo) {
  write_raster(path("in.tif"), {700, 1500});
  expect_clean(run_hornet(line("in.tif", "whole.png")));
  Program program(line("in.tif", "out.png"));
  ASSERT_TRUE(wait_for_rows(program, "out.partial.json"));
  program.send(SIGKILL);
  EXPECT_EQ(program.wait().code, 128 + SIGKILL);
  expect_clean(run_hornet(line("in.tif", "out.png", {"--resume"})));
  EXPECT_EQ(read_file(path("out.png")), read_file(path("whole.png")));
}

TEST_F(ProgramSegmentsRasters, AnImageThatWasReplacedIsNotContinued) {
  std::filesystem::create_directory(path("in"));
  std::filesystem::create_directory(path("out"));
  write_raster(path("in/a.tif"), {700, 2100});
  Program program(line("in", "out"));
  ASSERT_TRUE(wait_for_rows(program, "out/a.partial.json"));
  program.send(SIGINT);
  expect_clean(program.wait(), 130);
  write_raster(path("in/a.tif"), {700, 2100}, {CV_8U, 3, true, {}});
  expect_error(run_hornet(line("in", "out", {"--resume"})), 2, {"a.partial.json", "--input"});
}

TEST_F(ProgramSegmentsRasters, AnInputThatIsNamedAsAnUnfinishedFileIsKept) {
  write_raster(path("scene.partial.tif"), {100, 80});
  const std::string before = read_file(path("scene.partial.tif"));
  for (const Arguments& more : {Arguments{}, Arguments{"--force"}}) {
    expect_error(run_hornet(line("scene.partial.tif", "scene.tif", more)), 2,
                 {"scene.partial.tif", "scene.tif"});
  }
  EXPECT_EQ(read_file(path("scene.partial.tif")), before);
}

TEST_F(ProgramSegmentsRasters, AFileThatAppearsMeanwhileIsKept) {
  write_raster(path("in.tif"), {700, 1100});
  Program program(line("in.tif", "out.tif"));
  ASSERT_TRUE(wait_for_rows(program, "out.partial.json"));
  write_file(path("out.tif"), "somebody else's");
  expect_error(program.wait(), 7, {"out.tif: exists", "--force"});
  EXPECT_EQ(read_file(path("out.tif")), "somebody else's");
  // Nor is the work lost.
  std::filesystem::remove(path("out.tif"));
  expect_clean(run_hornet(line("in.tif", "out.tif", {"--resume"})));
  EXPECT_EQ(read_raster(path("out.tif")).labels.size(), cv::Size(700, 1100));
}

TEST_F(ProgramSegmentsRasters, MemoryDoesNotGrowWithTheHeight) {
  write_raster(path("low.tif"), {2048, 512});
  write_raster(path("high.tif"), {2048, 4096});
  // Windows side by side, for speed.
  const Arguments windows = {"--tile", "128", "--stride", "128", "--force"};
  std::filesystem::create_directory(path("a"));
  std::filesystem::create_directory(path("b"));
  const auto run = [&](const std::string& input, const std::string& output) {
    return with({"segment", "--weights", checkpoint("upernet_hornet_tiny_gf_s2"), "--input",
                 path(input), "--output", path(output)},
                windows);
  };
  for (const Outcome& outcome :
       run_all({run("low.tif", "a/out.tif"), run("high.tif", "b/out.tif")})) {
    expect_clean(outcome);
  }
  const double low = static_cast<double>(peak_memory("a/run.json"));
  const double high = static_cast<double>(peak_memory("b/run.json"));
  EXPECT_LE(high, 1.05 * low);
}

TEST_F(ProgramSegmentsRasters, ATruncatedTiffLeavesThePreviousOutput) {
  write_raster(path("in.tif"), {600, 900});
  const std::string bytes = read_file(path("in.tif"));
  write_file(path("cut.tif"), bytes.substr(0, bytes.size() / 2));
  write_file(path("out.tif"), "precious");
  const Outcome outcome = run_hornet(line("cut.tif", "out.tif", {"--force"}));
  expect_error(outcome, 3, {"cut.tif"});
  EXPECT_EQ(read_file(path("out.tif")), "precious");
}

}  // namespace
}  // namespace hornet::testing
