// `hornet detect` on videos: frames in and out, JSON Lines, run.json, Ctrl-C.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "tests/demos/program.h"
#include "tests/demos/samples.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Files = std::vector<std::string>;

constexpr double kThreshold = 0.2;
const cv::Size kSize(160, 120);

class ProgramDetectsInVideo : public TemporaryFolder {
 protected:
  void SetUp() override { write_video(path("in.avi"), 12); }

  Arguments line(const Arguments& more) const {
    return with({"detect", "--weights", detector_checkpoint(), "--input", path("in.avi"), "--size",
                 "96x96", "--score-thr", "0.2"},
                more);
  }

  std::vector<json> results(const std::string& name) const {
    return read_json_lines(read_file(path(name)));
  }

  static void expect_video(const fs::path& file, int frames, double fps) {
    const VideoFacts facts = read_video(file);
    EXPECT_EQ(facts.frames, frames) << file;
    EXPECT_EQ(facts.size, kSize) << file;
    EXPECT_NEAR(facts.fps, fps, 0.01) << file;
  }

  static std::set<int> frames_of(const std::vector<json>& results) {
    std::set<int> frames;
    for (const json& object : results) frames.insert(object["frame"].get<int>());
    return frames;
  }
};

TEST_F(ProgramDetectsInVideo, AndWritesAVideoWithJsonLinesAndAReport) {
  const Outcome outcome =
      run_hornet(line({"--output", path("out.avi"), "--json", path("out.jsonl")}));
  expect_clean(outcome);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(names_in(path("")), (Files{"in.avi", "out.avi", "out.jsonl", "run.json"}));
  expect_video(path("out.avi"), 12, 12.5);

  const auto objects = results("out.jsonl");
  ASSERT_FALSE(objects.empty());
  int last = 0;
  for (const json& object : objects) {
    expect_coco_result(object, kSize, kThreshold);
    const int frame = object["frame"];
    EXPECT_GE(frame, last);
    EXPECT_LT(frame, 12);
    EXPECT_NEAR(object["timestamp_ms"].get<double>(), frame * 80, 0.5);
    last = frame;
  }

  const json report = read_json(path("run.json"));
  EXPECT_EQ(report["status"], "ok");
  EXPECT_EQ(report["counts"]["frames_in"], 12);
  EXPECT_EQ(report["counts"]["frames_out"], 12);
  EXPECT_EQ(report["counts"]["objects"], objects.size());
  EXPECT_EQ(report["arguments"]["score-thr"], kThreshold);
  for (const char* stage : {"decode", "preprocess", "infer", "draw_encode"}) {
    EXPECT_EQ(report["stages"][stage]["count"], 12) << stage;
  }
  EXPECT_GT(report["peak_memory"]["host_bytes"].get<double>(), 1e6);
  EXPECT_TRUE(report["warnings"].empty()) << report["warnings"];
}

TEST_F(ProgramDetectsInVideo, InBatchesAndOtherContainersAndOnStdout) {
  const auto outcomes = run_all(
      {line({"--json", "-", "--progress", "none"}),
       line({"--json", path("four.jsonl"), "--output", path("four.mp4"), "--batch-size", "4"}),
       line({"--output", path("half.mkv"), "--dtype", "bf16"})});
  for (const Outcome& outcome : outcomes) expect_clean(outcome);
  expect_video(path("four.mp4"), 12, 12.5);
  expect_video(path("half.mkv"), 12, 12.5);
  const auto single = read_json_lines(outcomes[0].out), four = results("four.jsonl");
  ASSERT_FALSE(single.empty());
  expect_contained(single, four, kThreshold);
  expect_contained(four, single, kThreshold);
  EXPECT_EQ(lines_of(outcomes[0].err).size(), 1u) << outcomes[0].err;
  EXPECT_EQ(outcomes[1].out, "");
}

TEST_F(ProgramDetectsInVideo, InTheFramesAskedFor) {
  const auto outcomes =
      run_all({line({"--json", path("all.jsonl"), "--output", path("all.avi")}),
               line({"--json", path("some.jsonl"), "--output", path("some.avi"), "--start", "2",
                     "--stride", "3", "--max-frames", "3", "--batch-size", "2"})});
  for (const Outcome& outcome : outcomes) expect_clean(outcome);
  expect_video(path("some.avi"), 3, 12.5 / 3);
  const std::set<int> wanted = {2, 5, 8};
  std::vector<json> expected;
  for (const json& object : results("all.jsonl")) {
    if (wanted.count(object["frame"].get<int>())) expected.push_back(object);
  }
  const auto some = results("some.jsonl");
  ASSERT_EQ(frames_of(expected), wanted);
  EXPECT_EQ(frames_of(some), wanted);
  expect_contained(expected, some, kThreshold);
  expect_contained(some, expected, kThreshold);
  EXPECT_TRUE(fs::exists(path("run-2.json"))) << "the first run's report is not overwritten";
}

TEST_F(ProgramDetectsInVideo, AndOverwritesOnlyWithForce) {
  write_file(path("out.avi"), "precious");
  write_file(path("run.json"), "older");
  const Arguments video = line({"--output", path("out.avi"), "--max-frames", "2"});
  const Arguments both = line({"--output", path("new.avi"), "--json", path("out.avi")});
  expect_error(run_hornet(video), 7, {path("out.avi"), "exists", "--force"});
  expect_error(run_hornet(both), 7, {path("out.avi"), "exists", "--force"});
  EXPECT_EQ(read_file(path("out.avi")), "precious");
  EXPECT_EQ(names_in(path("")), (Files{"in.avi", "out.avi", "run.json"}));
  expect_clean(run_hornet(with(video, {"--force"})));
  expect_video(path("out.avi"), 2, 12.5);
  EXPECT_EQ(read_json(path("run.json"))["counts"]["frames_out"], 2);
  EXPECT_EQ(names_in(path("")), (Files{"in.avi", "out.avi", "run.json"}));
}

TEST_F(ProgramDetectsInVideo, AndNeverOverwritesItsInputOrItsResults) {
  const std::string before = read_file(path("in.avi"));
  expect_error(run_hornet(line({"--output", path("in.avi"), "--force"})), 2,
               {path("in.avi"), "is both --input and --output"});
  expect_error(run_hornet(line({"--output", path("out.avi"), "--json", path("./out.avi")})), 2,
               {"is both --output and --json"});
  EXPECT_EQ(read_file(path("in.avi")), before);
  expect_error(run_hornet(line({"--json", detector_checkpoint(), "--force"})), 2,
               {"is both --weights and --json"});
  expect_clean(run_hornet(line({"--json", path("run.json"), "--max-frames", "4", "--force"})));
  EXPECT_FALSE(results("run.json").empty());
  EXPECT_EQ(read_json(path("run-2.json"))["counts"]["frames_in"], 4);
}

TEST_F(ProgramDetectsInVideo, AndClosesEverythingOnCtrlC) {
  constexpr int kFrames = 2000;
  write_video(path("in.avi"), kFrames);
  Program program(line({"--output", path("out.avi"), "--json", path("out.jsonl")}));
  const auto has_partial_lines = [&] {
    for (const std::string& name : names_in(path(""))) {
      if (name.rfind("out.partial-", 0) == 0 && fs::path(name).extension() == ".jsonl" &&
          !read_file(path(name)).empty()) {
        return true;
      }
    }
    return false;
  };
  while (!has_partial_lines() && !program.has_ended()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_FALSE(fs::exists(path("out.avi")));
  program.send(SIGINT);
  const Outcome outcome = program.wait();
  expect_clean(outcome, static_cast<int>(ErrorCode::kInterrupted));
  EXPECT_EQ(names_in(path("")), (Files{"in.avi", "out.avi", "out.jsonl", "run.json"}));
  const json report = read_json(path("run.json"));
  EXPECT_EQ(report["status"], "interrupted");
  const int frames = report["counts"]["frames_out"];
  EXPECT_EQ(report["counts"]["frames_in"], frames);
  EXPECT_GT(frames, 0);
  EXPECT_LT(frames, kFrames);
  expect_video(path("out.avi"), frames, 12.5);
  const auto objects = results("out.jsonl");
  EXPECT_EQ(report["counts"]["objects"], objects.size());
  for (const json& object : objects) EXPECT_LT(object["frame"].get<int>(), frames);
}

}  // namespace
}  // namespace hornet::testing
