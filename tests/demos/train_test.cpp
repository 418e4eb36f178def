// `hornet train`, and what it leaves for the other commands.
#include <gtest/gtest.h>
#include <hornet/backbone/weights/tensor_file.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <opencv2/imgcodecs.hpp>
#include <thread>

#include "tests/demos/program.h"
#include "tests/demos/rasters.h"
#include "tests/demos/samples.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

class ProgramTrains : public TemporaryFolder {
 protected:
  ProgramTrains() {
    std::ofstream list(path("list.txt"));
    for (int i = 0; i < 3; ++i) {
      const std::string name = std::to_string(i);
      const cv::Mat image = scene({70, 60}, i);
      cv::Mat labels;
      cv::extractChannel(image, labels, 1);
      write_image(path(name + ".png"), image);
      write_image(path(name + "_labels.png"), labels / 128);
      list << name << ".png " << name << "_labels.png\n";
    }
    std::ofstream(path("names.txt")) << "noise\ndisc\nnothing\n";
  }

  Arguments line(const std::string& output, const Arguments& more = {}) const {
    return with({"train",
                 "--task",
                 "segment",
                 "--data",
                 path("list.txt"),
                 "--classes",
                 path("names.txt"),
                 "--output",
                 path(output),
                 "--width",
                 "16",
                 "--depths",
                 "1,1,1,1",
                 "--head-channels",
                 "8",
                 "--crop",
                 "64",
                 "--batch-size",
                 "2",
                 "--iterations",
                 "3"},
                more);
  }
};

TEST_F(ProgramTrains, AModelThatSegmentRuns) {
  const Outcome outcome = run_hornet(
      line("run", {"--validation", path("list.txt"), "--mode", "whole", "--size", "140x120"}));
  expect_clean(outcome);
  EXPECT_NE(outcome.err.find("train iteration 3: mIoU"), std::string::npos) << outcome.err;
  EXPECT_EQ(names_in(path("run")),
            (std::vector<std::string>{"best.safetensors", "curves.png", "losses.csv", "metrics.csv",
                                      "model.safetensors", "state.safetensors"}));
  const auto losses = lines_of(read_file(path("run/losses.csv")));
  ASSERT_EQ(losses.size(), 2u);
  EXPECT_EQ(losses[1].substr(0, 2), "3,");
  const std::string model = path("run/best.safetensors");
  const Outcome info = run_hornet({"info", "--weights", model, "--json"});
  expect_clean(info);
  const auto facts = nlohmann::json::parse(info.out);
  EXPECT_EQ(facts["model"], "upernet_hornet_dim16_1-1-1-1_gf_14x8_7x4");
  EXPECT_EQ(facts["classes"], (std::vector<std::string>{"noise", "disc", "nothing"}));
  expect_clean(run_hornet(
      {"segment", "--weights", model, "--input", path("0.png"), "--output", path("labels.png")}));
  EXPECT_EQ(read_raster(path("labels.png")).labels.size(), cv::Size(70, 60));
  EXPECT_EQ(read_json(path("labels.classes.json"))["classes"][1]["name"], "disc");
  EXPECT_EQ(read_json(path("run.json"))["counts"]["tiles"], 1);
  // Trained on, with other classes.
  const Outcome tuned =
      run_hornet({"train", "--task", "segment", "--data", path("list.txt"), "--classes",
                  path("names.txt"), "--output", path("tuned"), "--model", model, "--crop", "64",
                  "--iterations", "1", "--batch-size", "2"});
  expect_clean(tuned);
  EXPECT_NE(tuned.err.find("tensors have pretrained weights"), std::string::npos) << tuned.err;
}

TEST_F(ProgramTrains, AfterAnInterruption) {
  Arguments endless = line("run");
  *std::find(endless.begin(), endless.end(), "3") = "1000000";
  Program program(with(endless, {"--save-every", "0"}));
  while (!program.has_ended() && !std::filesystem::exists(path("run/model.safetensors"))) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  program.send(SIGINT);
  expect_clean(program.wait(), 130);
  const std::string state = read_file(path("run/state.safetensors"));
  expect_error(run_hornet(line("run")), 7, {"state.safetensors", "--resume", "--force"});
  EXPECT_EQ(read_file(path("run/state.safetensors")), state);
  const Outcome resumed = run_hornet(line("run", {"--resume", "--lr", "0.001"}));
  expect_clean(resumed);
  EXPECT_NE(resumed.err.find("now --lr 0.001 (before: not set)"), std::string::npos) << resumed.err;
  expect_clean(run_hornet(line("run", {"--force"})));
}

// Two images of 70x60 pixels; one has an object with a mask, the other one a box alone.
std::string coco_file() {
  return R"({"categories": [{"id": 7, "name": "disc"}], "images": [
      {"id": 1, "file_name": "0.png", "width": 70, "height": 60},
      {"id": 2, "file_name": "1.png", "width": 70, "height": 60}], "annotations": [
      {"id": 1, "image_id": 1, "category_id": 7, "iscrowd": 0, "bbox": [10, 12, 30, 30],
       "segmentation": [[10, 12, 40, 12, 40, 42, 10, 42]]},
      {"id": 2, "image_id": 2, "category_id": 7, "iscrowd": 0, "bbox": [20, 8, 24, 40]}]})";
}

TEST_F(ProgramTrains, ADetectorThatDetectRuns) {
  write_file(path("objects.json"), coco_file());
  const auto detect = [&](const std::string& output, const char* crop, const Arguments& more) {
    return run_hornet(with({"train",
                            "--task",
                            "detect",
                            "--data",
                            path("objects.json"),
                            "--output",
                            path(output),
                            "--model",
                            "hornet_pico_7x7",
                            "--width",
                            "16",
                            "--depths",
                            "1,1,1,1",
                            "--head-channels",
                            "8",
                            "--crop",
                            crop,
                            "--batch-size",
                            "2",
                            "--iterations",
                            "2"},
                           more));
  };
  const Outcome outcome =
      detect("run", "64",
             {"--validation", path("objects.json"), "--size", "96x64", "--anchor-scales", "4,8",
              "--pyramid-levels", "4", "--object-height", "20,50", "--paste", "1"});
  expect_clean(outcome);
  EXPECT_NE(outcome.err.find("train iteration 2: bbox AP"), std::string::npos) << outcome.err;
  const std::string model = path("run/model.safetensors");
  const Outcome info = run_hornet({"info", "--weights", model, "--json"});
  expect_clean(info);
  const auto facts = nlohmann::json::parse(info.out);
  EXPECT_EQ(facts["model"], "fpn_mask_rcnn_hornet_dim16_1-1-1-1_7x7");
  EXPECT_EQ(facts["classes"], (std::vector<std::string>{"disc"}));
  expect_clean(run_hornet({"detect", "--weights", model, "--input", path("0.png"), "--json",
                           path("found.json"), "--score-thr", "0"}));
  expect_clean(run_hornet(
      {"eval", "--weights", model, "--data", path("objects.json"), "--images", path("")}));
  // Trained on; the anchors are the checkpoint's.
  const Arguments tune = {
      "train",    "--task",       "detect",  "--data",       path("objects.json"),
      "--output", path("tuned"),  "--model", model,          "--crop",
      "64",       "--iterations", "1",       "--batch-size", "1"};
  expect_clean(run_hornet(tune));
  EXPECT_EQ(weights::read(path("tuned/model.safetensors")).meta.entries.at("hornet.anchor_scales"),
            "4 8");
  const Outcome refused = run_hornet(with(tune, {"--anchor-scales", "8", "--force"}));
  expect_error(refused, 2, {"--anchor-scales", "--pretrained"});
  expect_error(detect("bad", "70", {}), 2, {"--crop 70x70", "32"});
}

TEST_F(ProgramTrains, RefusesToBeOneOfSeveralThatMpiDoesNotKnow) {
  const Environment torchrun = {"RANK=1", "WORLD_SIZE=2"};
  const Environment srun = {"SLURM_STEP_ID=0", "SLURM_PROCID=1", "SLURM_NTASKS=2"};
  for (const Environment& environment : {torchrun, srun}) {
    const Outcome outcome = Program(line("run"), environment).wait();
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_NE(outcome.err.find("hornet: started as process 1 of 2"), std::string::npos)
        << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(path("run")));
  }
  // In one line, with MPI and without.
  expect_error(Program(line("run"), srun).wait(), 2, {"process 1 of 2", "MPI"});
}

TEST_F(ProgramTrains, AnOldRunGoesOnlyWhenANewOneBegins) {
  std::filesystem::create_directory(path("run"));
  write_file(path("run/best.safetensors"), "a model of days");
  const Outcome kept = run_hornet(line("run"));
  EXPECT_EQ(kept.code, 7) << kept.err;
  EXPECT_NE(kept.err.find("best.safetensors: exists"), std::string::npos) << kept.err;
  const Outcome failed = run_hornet(line("run", {"--force", "--pretrained", path("no.pth")}));
  EXPECT_EQ(failed.code, 4) << failed.err;
  EXPECT_EQ(read_file(path("run/best.safetensors")), "a model of days");
  write_file(path("run/losses.csv"), "iteration,other\n1,2\n");
  expect_clean(run_hornet(line("run", {"--force"})));
  EXPECT_FALSE(std::filesystem::exists(path("run/best.safetensors")));
  EXPECT_TRUE(std::filesystem::exists(path("run/model.safetensors")));
  EXPECT_EQ(read_file(path("run/losses.csv")).find("other"), std::string::npos);
}

TEST_F(ProgramTrains, RefusesInOneLine) {
  write_file(path("broken.png"), "no image");
  write_file(path("bad.txt"), "broken.png 0_labels.png\n0.png 0_labels.png\n");
  const auto without = [&](Arguments arguments, const std::string& option) {
    const auto at = std::find(arguments.begin(), arguments.end(), option);
    arguments.erase(at, at + 2);
    return arguments;
  };
  const Arguments bad = with(without(line("bad"), "--data"), {"--data", path("bad.txt")});
  const Arguments unnamed = without(line("run"), "--classes");
  const std::vector<std::pair<Arguments, std::pair<int, std::vector<std::string>>>> cases = {
      {bad, {3, {"broken.png"}}},
      {unnamed, {2, {"--classes"}}},
      {line("run", {"--resume"}), {2, {"--resume", "state.safetensors"}}},
      {line("run", {"--schedule", "linear"}), {2, {"--schedule linear"}}},
      {line("run", {"--rate-decay", "layer"}), {2, {"--rate-decay"}}},
      {line("run", {"--mode", "tiles"}), {2, {"--mode tiles", "slide or whole"}}},
      {line("run", {"--class-weights", "balanced:x"}), {2, {"--class-weights balanced:x"}}},
      {line("run", {"--class-weights", "balanced:0"}), {2, {"--class-weights balanced:0"}}},
      {line("run", {"--ignore-label", "1"}), {2, {"--ignore-label 1"}}},
      {line("run", {"--model", "hornet_huge"}), {2, {"hornet_huge", "hornet_pico_gf"}}},
      {with(without(line("run"), "--batch-size"), {"--batch-size", "1"}),
       {2, {"--batch-size 1", "at least 2"}}},
      {line("run", {"--scale", "2"}), {2, {"--scale 2", "2 numbers"}}},
      {line("run", {"--paste", "0.5"}), {2, {"--paste", "--task segment"}}},
      {line("run", {"--label-smoothing", "0"}), {2, {"--label-smoothing", "--task segment"}}},
      {line("run", {"--pretrained", path("names.txt")}), {4, {"names.txt"}}},
  };
  std::vector<Arguments> lines;
  for (const auto& item : cases) lines.push_back(item.first);
  const auto outcomes = run_all(lines);
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(outcomes[i].err);
    EXPECT_EQ(outcomes[i].code, cases[i].second.first);
    for (const std::string& word : cases[i].second.second) {
      EXPECT_NE(outcomes[i].err.find(word), std::string::npos) << word;
    }
  }
  const Outcome skipped = run_hornet(with(bad, {"--on-bad-sample", "skip"}));
  expect_clean(skipped);
  EXPECT_NE(skipped.err.find("hornet: left out: " + path("broken.png").string()), std::string::npos)
      << skipped.err;
}

}  // namespace
}  // namespace hornet::testing
