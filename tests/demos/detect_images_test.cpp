// `hornet detect` on an image and on a folder of images.
#include <gtest/gtest.h>
#include <hornet/pipelines/coco_results.h>

#include <filesystem>
#include <map>
#include <opencv2/imgcodecs.hpp>

#include "tests/demos/program.h"
#include "tests/demos/samples.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Files = std::vector<std::string>;

constexpr double kThreshold = 0.05;

class ProgramDetectsInImages : public TemporaryFolder {
 protected:
  static Arguments line(const std::string& input, const Arguments& more) {
    return with({"detect", "--weights", detector_checkpoint(), "--input", input, "--size", "96x96",
                 "--score-thr", "0.05"},
                more);
  }

  static void expect_annotated(const fs::path& file, const cv::Mat& original) {
    const cv::Mat drawn = cv::imread(file.string());
    ASSERT_EQ(drawn.size(), original.size()) << file;
    EXPECT_GT(cv::norm(drawn, original, cv::NORM_INF), 50) << "nothing is drawn in " << file;
  }
};

TEST_F(ProgramDetectsInImages, OneOnFileAndOnStdout) {
  const cv::Mat image = scene({151, 113}, 7);
  write_image(path("in.png"), image);
  const auto outcomes =
      run_all({line(path("in.png"), {"--output", path("out.png"), "--json", path("out.json")}),
               line(path("in.png"), {"--json", "-"})});
  for (const Outcome& outcome : outcomes) expect_clean(outcome);
  EXPECT_EQ(names_in(path("")), (Files{"in.png", "out.json", "out.png", "run.json"}));
  expect_annotated(path("out.png"), image);
  const json results = read_json(path("out.json"));
  ASSERT_FALSE(results.empty());
  for (const json& result : results) {
    EXPECT_EQ(result["image_id"], 1);
    expect_coco_result(result, image.size(), kThreshold);
  }
  EXPECT_EQ(read_coco_results(read_file(path("out.json"))).size(), results.size());
  EXPECT_EQ(json::parse(outcomes[1].out), results);
}

TEST_F(ProgramDetectsInImages, OfAFolderEvenIfOneIsBroken) {
  const std::map<std::string, cv::Size> sizes = {
      {"a.png", {120, 90}}, {"b.jpg", {90, 131}}, {"d.bmp", {200, 64}}};
  fs::create_directory(path("in"));
  for (const auto& [name, size] : sizes) write_image(path("in") / name, scene(size, size.width));
  write_file(path("in") / "c.png", "");
  write_file(path("in") / "notes.txt", "no image");
  const Outcome outcome =
      run_hornet(line(path("in"), {"--output", path("out"), "--json", path("all.json")}));
  expect_clean(outcome, 6);
  EXPECT_NE(outcome.err.find("c.png: the file is empty"), std::string::npos) << outcome.err;
  EXPECT_EQ(names_in(path("out")), (Files{"a.png", "b.jpg", "d.bmp"}));
  for (const auto& [name, size] : sizes) {
    expect_annotated(path("out") / name, cv::imread((path("in") / name).string()));
  }
  const Files names = {"", "a.png", "b.jpg", "c.png", "d.bmp"};  // by image_id
  std::map<std::string, int> found;
  for (const json& result : read_json(path("all.json"))) {
    const std::string& name = names.at(result["image_id"].get<size_t>());
    ASSERT_TRUE(sizes.count(name)) << result;
    expect_coco_result(result, sizes.at(name), kThreshold);
    ++found[name];
  }
  EXPECT_EQ(found.size(), 3u);
  const json report = read_json(path("run.json"));
  EXPECT_EQ(report["status"], "partial");
  EXPECT_EQ(report["counts"]["images_in"], 4);
  EXPECT_EQ(report["counts"]["images_out"], 3);
  EXPECT_EQ(report["images"][3], (json{{"id", 4}, {"file_name", "d.bmp"}}));
  EXPECT_EQ(report["warnings"].size(), 1u);
  EXPECT_EQ(report["stages"]["load"]["count"], 4);
  EXPECT_EQ(report["stages"]["infer"]["count"], 3);
  EXPECT_EQ(report["stages"]["draw_write"]["count"], 3);
}

TEST_F(ProgramDetectsInImages, OfAFolderInBatchesWithTheReportBesideThem) {
  fs::create_directory(path("in"));
  for (int i = 0; i < 4; ++i) {
    write_image(path("in") / (std::to_string(i) + ".png"), scene({96, 64}, i));
  }
  expect_clean(run_hornet(line(path("in"), {"--output", path("out"), "--batch-size", "3"})));
  EXPECT_EQ(names_in(path("out")), (Files{"0.png", "1.png", "2.png", "3.png", "run.json"}));
}

TEST_F(ProgramDetectsInImages, AndRefusesWhatItCannotReadOrWrite) {
  write_image(path("in.png"), scene({96, 64}, 1));
  write_file(path("out.png"), "precious");
  write_file(path("zero.png"), "");
  write_file(path("junk.jpg"), "junk");
  write_image(path("cut.jpg"), scene({96, 64}, 1));
  fs::resize_file(path("cut.jpg"), fs::file_size(path("cut.jpg")) / 2);
  fs::create_directory(path("none"));
  const Arguments anywhere = {"--json", path("new.json")};
  const std::vector<std::tuple<Arguments, int, std::vector<std::string>>> cases = {
      {line(path("zero.png"), anywhere), 3, {path("zero.png"), "empty"}},
      {line(path("junk.jpg"), anywhere), 3, {path("junk.jpg"), "expected an image"}},
      {line(path("gone.png"), anywhere), 3, {path("gone.png"), "no such file"}},
      {line(path("none"), anywhere), 3, {path("none"), "no images"}},
      {line(path("in.png"), {"--output", path("out.png")}), 7, {path("out.png"), "--force"}},
      {line(path("in.png"), {"--output", path("x.gif")}), 2, {path("x.gif"), ".png"}},
      {line(path("in.png"), {"--output", path("x.mp4")}), 2, {path("x.mp4"), ".png"}},
      {line(path("in.png"), with(anywhere, {"--start", "1"})), 2, {"--start", "videos"}},
      {line(path("in.png"), with(anywhere, {"--stride", "2"})), 2, {"--stride", "videos"}},
      {line(path("none"), with(anywhere, {"--max-frames", "9"})), 2, {"--max-frames", "videos"}},
      {line(path("in.png"), with(anywhere, {"--allow-truncated"})),
       2,
       {"--allow-truncated", "videos"}},
      {line(path("cut.jpg"), anywhere), 3, {path("cut.jpg"), "cut off"}},
      {line(path("none"), {"--output", path("none")}),
       2,
       {path("none"), "is both --input and --output"}}};
  std::vector<Arguments> lines;
  for (const auto& refused : cases) lines.push_back(std::get<0>(refused));
  const auto outcomes = run_all(lines);
  for (size_t i = 0; i < cases.size(); ++i) {
    expect_error(outcomes[i], std::get<1>(cases[i]), std::get<2>(cases[i]));
  }
  EXPECT_EQ(read_file(path("out.png")), "precious");
  EXPECT_EQ(names_in(path("")),
            (Files{"cut.jpg", "in.png", "junk.jpg", "none", "out.png", "zero.png"}));
}

}  // namespace
}  // namespace hornet::testing
