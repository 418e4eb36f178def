// `hornet detect` on videos that it cannot read, results that it cannot write, and checkpoints of
// other models: one line each, and nothing half-written.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/demos/program.h"
#include "tests/demos/samples.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ProgramFailsToDetect : public TemporaryFolder {
 protected:
  static Arguments line(const std::string& input, const Arguments& more) {
    return with({"detect", "--weights", detector_checkpoint(), "--input", input, "--size", "64x64",
                 "--score-thr", "0.2"},
                more);
  }

  struct Failure {
    Arguments arguments;
    int code;
    std::vector<std::string> words;
  };

  // All of them fail as they should and leave the folder as it is.
  void expect_failures(const std::vector<Failure>& failures) const {
    const auto before = names_in(path(""));
    std::vector<Arguments> lines;
    for (const Failure& failure : failures) lines.push_back(failure.arguments);
    const auto outcomes = run_all(lines);
    for (size_t i = 0; i < failures.size(); ++i) {
      expect_error(outcomes[i], failures[i].code, failures[i].words);
    }
    EXPECT_EQ(names_in(path("")), before);
  }
};

TEST_F(ProgramFailsToDetect, InVideosThatCannotBeRead) {
  write_video(path("in.avi"), 3);
  write_file(path("junk.mp4"), "no video at all");
  write_file(path("zero.avi"), "");
  const Arguments output = {"--output", path("out.avi"), "--json", path("out.jsonl")};
  expect_failures({
      {line(path("junk.mp4"), output), 3, {path("junk.mp4"), "not a video"}},
      {line(path("zero.avi"), output), 3, {path("zero.avi"), "expected a video", "empty file"}},
      {line(path("gone.avi"), output), 3, {path("gone.avi"), "no such file"}},
      {line(path("in.avi"), with(output, {"--start", "3"})), 3, {"3 frames", "--start 3"}},
      {line("987", output), 3, {"camera 987", "no such camera"}},
  });
}

TEST_F(ProgramFailsToDetect, WhereResultsCannotBeWritten) {
  write_video(path("in.avi"), 3);
  write_file(path("file"), "");
  const std::string in = path("in.avi"), missing = path("missing") / "out.avi";
  const std::string below = path("file") / "out.jsonl";
  expect_failures({
      {line(in, {"--output", missing}), 7, {missing, "there is no folder", "create it"}},
      {line(in, {"--json", below}), 7, {below, "there is no folder"}},
      {line(in, {"--output", "/proc/out.avi"}), 7, {"/proc/out.avi", "cannot write into"}},
      {line(in, {"--output", path("")}), 7, {path(""), "not the name of a file"}},
      {line(in, {"--output", path("out.webm")}), 2, {path("out.webm"), ".mp4 .mov .mkv .avi"}},
      {line(in, {"--output", path("out")}), 2, {path("out"), ".mp4 .mov .mkv .avi"}},
  });
}

TEST_F(ProgramFailsToDetect, WithCheckpointsOfOtherModels) {
  write_video(path("in.avi"), 3);
  write_file(path("zero.pth"), "");
  const auto loading = [&](const std::string& weights) {
    return Arguments{"detect",       "--weights", weights,        "--input",
                     path("in.avi"), "--output",  path("out.avi")};
  };
  const std::string segmentor = checkpoint("upernet_hornet_tiny_gf_s2");
  expect_failures({
      {loading(classifier_checkpoint()),
       4,
       {classifier_checkpoint(), "classification", "Mask R-CNN"}},
      {loading(segmentor), 4, {segmentor, "semantic segmentation", "Mask R-CNN"}},
      {loading(path("zero.pth")), 4, {path("zero.pth"), "empty"}},
      {loading(path("gone.pth")), 4, {path("gone.pth"), "No such file"}},
  });
}

// An .avi that was cut off keeps its index's promise, but not its frames.
TEST_F(ProgramFailsToDetect, InAVideoThatIsCutOffUnlessAllowed) {
  write_video(path("whole.avi"), 40);
  const std::string whole = read_file(path("whole.avi"));
  fs::remove(path("whole.avi"));
  write_file(path("cut.avi"), whole.substr(0, whole.size() / 2));
  const Arguments run = line(path("cut.avi"), {"--output", path("out.avi")});
  expect_failures({{run, 3, {path("cut.avi"), "expected 40 frames", "--allow-truncated"}}});

  const Outcome outcome = run_hornet(with(run, {"--allow-truncated"}));
  expect_clean(outcome);
  EXPECT_NE(outcome.err.find("cut off"), std::string::npos) << outcome.err;
  const json report = read_json(path("run.json"));
  const int frames = report["counts"]["frames_out"];
  EXPECT_GT(frames, 10);
  EXPECT_LT(frames, 30);
  EXPECT_EQ(read_video(path("out.avi")).frames, frames);
  EXPECT_EQ(report["counts"]["frames_in"], frames);
  EXPECT_EQ(report["warnings"].size(), 1u);
}

// JSON Lines are worth reading however a run ends: they stay, under the partial file's name.
TEST_F(ProgramFailsToDetect, ButKeepsTheJsonLinesOfAVideoThatIsCutOff) {
  write_video(path("whole.avi"), 40);
  const std::string whole = read_file(path("whole.avi"));
  write_file(path("cut.avi"), whole.substr(0, whole.size() / 2));
  const Outcome outcome = run_hornet(line(path("cut.avi"), {"--json", path("out.jsonl")}));
  expect_error(outcome, 3, {path("cut.avi")});
  EXPECT_FALSE(fs::exists(path("out.jsonl")));
  const auto names = names_in(path(""));
  ASSERT_EQ(names.size(), 3u);
  EXPECT_EQ(names[1].rfind("out.partial-", 0), 0u) << names[1];
  EXPECT_FALSE(read_json_lines(read_file(path(names[1]))).empty());
}

}  // namespace
}  // namespace hornet::testing
