// `hornet segment` on images and folders.
#include <gtest/gtest.h>
#include <hornet/pipelines/segmentor.h>

#include <chrono>
#include <filesystem>
#include <opencv2/imgcodecs.hpp>

#include "tests/demos/program.h"
#include "tests/demos/rasters.h"
#include "tests/demos/samples.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

using Files = std::vector<std::string>;

const std::string& segmentor_checkpoint() {
  static const std::string path = checkpoint("upernet_hornet_tiny_gf_s2");
  return path;
}

class ProgramSegments : public TemporaryFolder {
 protected:
  static Arguments line(const std::string& input, const std::string& output,
                        const Arguments& more = {}) {
    return with({"segment", "--weights", segmentor_checkpoint(), "--input", input, "--output",
                 output, "--tile", "64"},
                more);
  }

  static cv::Mat library_labels(const cv::Mat& image, SegmentorOptions options = {}) {
    options.tile = 64;
    return Segmentor(segmentor_checkpoint(), {"cpu", "fp32"}, options)(image);
  }

  static void expect_equal(const cv::Mat& a, const cv::Mat& b) {
    ASSERT_EQ(a.size(), b.size());
    ASSERT_EQ(a.type(), b.type());
    EXPECT_LE(cv::countNonZero(a != b), static_cast<int>(a.total() / 1000));
  }
};

TEST_F(ProgramSegments, AnImageAsPngWithPaletteClassesAndOverlay) {
  const cv::Mat image = scene({151, 113}, 7);
  write_image(path("in.png"), image);
  expect_clean(run_hornet(line(path("in.png"), path("out.png"), {"--overlay", path("look.png")})));
  EXPECT_EQ(names_in(path("")),
            (Files{"in.png", "look.png", "out.classes.json", "out.png", "run.json"}));
  const RasterFacts facts = read_raster(path("out.png"));
  EXPECT_TRUE(facts.has_colors);
  expect_equal(facts.labels, library_labels(image));
  const auto classes = read_json(path("out.classes.json"));
  ASSERT_EQ(classes["classes"].size(), 150u);
  EXPECT_EQ(classes["nodata"], 255);
  // What OpenCV makes of the indexed PNG are the colours of the class list.
  const cv::Vec3b shown = cv::imread(path("out.png")).at<cv::Vec3b>(40, 60);
  const auto& entry = classes["classes"][facts.labels.at<uint8_t>(40, 60)];
  EXPECT_EQ(entry["color"], (std::vector<int>{shown[2], shown[1], shown[0]}));
  EXPECT_EQ(cv::imread(path("look.png")).size(), image.size());
  const auto report = read_json(path("run.json"));
  EXPECT_EQ(report["status"], "ok");
  EXPECT_EQ(report["counts"]["tiles"], 12);
}

TEST_F(ProgramSegments, InEveryMode) {
  const cv::Mat image = scene({120, 90}, 3);
  write_image(path("in.png"), image);
  const auto with_mode = [&](const std::string& name, const Arguments& more) {
    return with({"segment", "--weights", segmentor_checkpoint(), "--input", path("in.png"),
                 "--output", path(name + ".png")},
                more);
  };
  for (const Outcome& outcome :
       run_all({with_mode("whole", {"--mode", "whole"}),
                with_mode("hann", {"--tile", "64", "--blend", "hann"}),
                with_mode("scaled", {"--size", "256x192", "--tile", "64"}),
                with_mode("augmented", {"--tta", "--mode", "whole"}),
                with_mode("windows", {"--tta", "--tile", "64", "--batch-size", "2"})})) {
    expect_clean(outcome);
  }
  SegmentorOptions options;
  options.blend = Blend::kHann;
  expect_equal(read_raster(path("hann.png")).labels, library_labels(image, options));
  options = {};
  options.tta = true;
  options.batch_size = 2;
  expect_equal(read_raster(path("windows.png")).labels, library_labels(image, options));
  options = {};
  options.size = cv::Size(256, 192);
  expect_equal(read_raster(path("scaled.png")).labels, library_labels(image, options));
  options = {};
  options.whole = true;
  expect_equal(read_raster(path("whole.png")).labels,
               Segmentor(segmentor_checkpoint(), {"cpu", "fp32"}, options)(image));
  options.tta = true;
  expect_equal(read_raster(path("augmented.png")).labels,
               Segmentor(segmentor_checkpoint(), {"cpu", "fp32"}, options)(image));
}

TEST_F(ProgramSegments, AFolderWithABrokenImage) {
  std::filesystem::create_directory(path("in"));
  write_image(path("in/a.png"), scene({100, 70}, 1));
  write_file(path("in/b.jpg"), "no image");
  write_image(path("in/c.jpg"), scene({80, 90}, 2));
  write_file(path("in/notes.txt"), "not an image, and not asked for");
  const Arguments folder = line(path("in"), path("out"), {"--overlay", path("looks")});
  const Outcome outcome = run_hornet(folder);
  expect_clean(outcome, 6);
  EXPECT_NE(outcome.err.find("b.jpg"), std::string::npos);
  EXPECT_EQ(names_in(path("out")), (Files{"a.png", "c.png", "classes.json", "run.json"}));
  EXPECT_EQ(names_in(path("looks")), (Files{"a.jpg", "c.jpg"}));
  const std::string before = read_file(path("out/a.png"));
  expect_error(run_hornet(folder), 7, {"a.png", "--resume", "--force"});
  std::filesystem::remove(path("out/c.png"));
  std::filesystem::remove(path("looks/c.jpg"));
  expect_clean(run_hornet(with(folder, {"--resume"})), 6);
  EXPECT_TRUE(std::filesystem::exists(path("out/c.png")));
  EXPECT_EQ(read_file(path("out/a.png")), before);
}

TEST_F(ProgramSegments, AFolderIsResumedWithTheSameOptionsOnly) {
  std::filesystem::create_directory(path("in"));
  write_image(path("in/a.png"), scene({100, 70}, 1));
  write_image(path("in/b.png"), scene({80, 90}, 2));
  const auto folder = [&](const Arguments& more) { return line(path("in"), path("out"), more); };
  expect_clean(run_hornet(folder({"--overlay", path("looks")})));
  std::filesystem::remove(path("out/b.png"));
  std::filesystem::remove(path("looks/b.jpg"));
  expect_error(run_hornet(folder({"--overlay", path("looks"), "--resume", "--stride", "32"})), 2,
               {"classes.json", "--stride"});
  expect_error(run_hornet(folder({"--resume"})), 2, {"classes.json", "--overlay"});
  EXPECT_FALSE(std::filesystem::exists(path("out/b.png")));
  // An overlay that is missing is made, too.
  std::filesystem::remove(path("looks/a.jpg"));
  expect_clean(run_hornet(folder({"--overlay", path("looks"), "--resume"})));
  EXPECT_EQ(names_in(path("looks")), (Files{"a.jpg", "b.jpg"}));
  expect_equal(read_raster(path("out/b.png")).labels, library_labels(scene({80, 90}, 2)));
  // What another program has made is no part of a run.
  write_file(path("out/classes.json"), "{}");
  expect_error(run_hornet(folder({"--overlay", path("looks"), "--resume"})), 7,
               {"a.png", "classes.json", "--force"});
}

// What --force has not come to before it was killed.
TEST_F(ProgramSegments, AFolderIsResumedWithoutTheResultsOfAnEarlierJob) {
  std::filesystem::create_directory(path("in"));
  write_image(path("in/a.png"), scene({100, 70}, 1));
  write_image(path("in/b.png"), scene({80, 90}, 2));
  const Arguments folder = line(path("in"), path("out"));
  expect_clean(run_hornet(folder));
  const std::string labels = read_file(path("out/a.png"));
  write_file(path("out/a.png"), "of an earlier job");
  write_file(path("out/b.png"), "of this job");
  const auto begun = std::filesystem::last_write_time(path("out/classes.json"));
  std::filesystem::last_write_time(path("out/a.png"), begun - std::chrono::hours(1));
  expect_clean(run_hornet(with(folder, {"--resume"})));
  EXPECT_EQ(read_file(path("out/a.png")), labels);
  EXPECT_EQ(read_file(path("out/b.png")), "of this job");
}

TEST_F(ProgramSegments, AFolderWithAnImageThatIsTooLongForJpeg) {
  std::filesystem::create_directory(path("in"));
  write_image(path("in/a.png"), scene({100, 70}, 1));
  write_raster(path("in/long.tif"), {65501, 32}, {CV_8U, 3, false, {128, 0, 65373, 32}});
  expect_clean(run_hornet(line(path("in"), path("out"), {"--overlay", path("looks")})));
  EXPECT_EQ(names_in(path("looks")), (Files{"a.jpg", "long.tif"}));
}

TEST_F(ProgramSegments, AFolderWithTwoImagesOfOneName) {
  std::filesystem::create_directory(path("in"));
  for (const char* name : {"a.png", "b.jpg", "b.png"}) write_file(path("in") / name, "an image");
  expect_error(run_hornet(line(path("in"), path("out"))), 3, {"b.jpg", "b.png", "rename"});
}

TEST_F(ProgramSegments, RefusesInOneLine) {
  write_image(path("in.png"), scene({100, 70}, 1));
  write_image(path("tiny.png"), scene({31, 70}, 1));
  write_file(path("old.png"), "precious");
  write_file(path("bad.json"), "{}");
  write_raster(path("16.tif"), {100, 80}, {CV_16U, 3, false, {}});
  write_raster(path("five.tif"), {100, 80}, {CV_8U, 5, false, {}});
  const std::string good = path("in.png"), out = path("out.png");
  const auto outcomes = run_all({
      line(good, path("old.png")),
      line(path("tiny.png"), out),
      line(path("nothing.png"), out),
      line(path("16.tif"), out),
      line(path("five.tif"), out),
      line(good, out, {"--stride", "65"}),
      line(good, out, {"--blend", "max"}),
      line(good, out, {"--max-memory", "5"}),
      line(good, out, {"--max-memory", "4M"}),
      line(good, out, {"--palette", "camvid"}),
      line(good, out, {"--palette", path("bad.json")}),
      line(good, path("out.jpeg")),
      line(good, good),
      line(good, out, {"--mode", "half"}),
      line(good, path("no/folder.png")),
      {"segment", "--weights", detector_checkpoint(), "--input", good, "--output", out},
      line(path("16.tif"), out, {"--range", "9,3"}),
      line(path("five.tif"), out, {"--bands", "4,3,9"}),
      line(good, out, {"--opacity", "0.3"}),
      line(good, out, {"--overlay", path("look.xyz")}),
      line(path("16.tif"), path("16.png"),
           {"--range", "0,4080", "--overlay", path("16.partial.tif")}),
  });
  expect_error(outcomes[0], 7, {"old.png", "--force"});
  expect_error(outcomes[1], 3, {"tiny.png", "31x70", "32x32"});
  expect_error(outcomes[2], 3, {"nothing.png"});
  expect_error(outcomes[3], 3, {"16.tif", "16-bit", "--range"});
  expect_error(outcomes[4], 3, {"five.tif", "5", "--bands"});
  expect_error(outcomes[5], 2, {"65", "--stride"});
  expect_error(outcomes[6], 2, {"--blend max", "hann"});
  expect_error(outcomes[7], 2, {"--max-memory 5", "512M"});
  expect_error(outcomes[8], 2, {"in.png", "--max-memory", "--tile"});
  expect_error(outcomes[9], 2, {"150", "11"});
  expect_error(outcomes[10], 3, {"bad.json", "classes"});
  expect_error(outcomes[11], 2, {"out.jpeg", ".tif"});
  expect_error(outcomes[12], 2, {"--input", "--output"});
  expect_error(outcomes[13], 2, {"--mode half"});
  expect_error(outcomes[14], 7, {"no"});
  expect_error(outcomes[15], 4, {"UperNet"});
  expect_error(outcomes[16], 2, {"--range 9,3"});
  expect_error(outcomes[17], 3, {"five.tif", "9", "--bands"});
  expect_error(outcomes[18], 2, {"--opacity", "--overlay"});
  expect_error(outcomes[19], 7, {"look.xyz", ".tif"});
  expect_error(outcomes[20], 2, {"16.partial.tif", "16.png"});
  EXPECT_EQ(read_file(path("old.png")), "precious");
  EXPECT_EQ(names_in(path("")),
            (Files{"16.tif", "bad.json", "five.tif", "in.png", "old.png", "tiny.png"}));
}

}  // namespace
}  // namespace hornet::testing
