// `hornet bench`: what it measures and prints. No time is held to anything.
#include <gtest/gtest.h>

#include <map>
#include <regex>

#include "tests/demos/program.h"
#include "tests/demos/samples.h"

namespace hornet::testing {
namespace {

using nlohmann::json;

const Arguments kShort = {"bench", "--seconds", "0.01", "--json", "--threads", "1"};

json run(const Arguments& more) {
  const Outcome outcome = run_hornet(with(kShort, more));
  expect_clean(outcome);
  return json::parse(outcome.out);
}

void expect_times(const json& times) {
  const double least = times["min_ms"], low = times["p10_ms"], median = times["median_ms"],
               high = times["p90_ms"];
  EXPECT_GT(least, 0);
  EXPECT_LE(least, low);
  EXPECT_LE(low, median);
  EXPECT_LE(median, high);
}

TEST(ProgramBench, MeasuresAVariant) {
  const json out = run({"--variant", "hornet_tiny_7x7", "--size", "96x64"});
  EXPECT_EQ(out["model"], "hornet_tiny_7x7");
  EXPECT_EQ(out["task"], "backbone");
  EXPECT_TRUE(out["weights"].is_null());
  EXPECT_EQ(out["width"], 96);
  EXPECT_EQ(out["height"], 64);
  EXPECT_EQ(out["batch_size"], 1);
  EXPECT_EQ(out["dtype"], "fp32");
  EXPECT_EQ(out["device"], "cpu");
  EXPECT_EQ(out["threads"], 1);
  EXPECT_TRUE(
      std::regex_match(out["isa"].get<std::string>(), std::regex("portable|avx2|avx512|amx")));
  EXPECT_GE(out["runs"].get<int>(), 5);
  expect_times(out);
  EXPECT_NEAR(out["images_per_second"].get<double>() * out["median_ms"].get<double>(), 1000, 0.01);
  EXPECT_NEAR(out["gflops_per_second"].get<double>() * out["median_ms"].get<double>() * 1e6,
              2 * out["multiply_adds"].get<double>(), 1e4);
  // The weights alone take as much.
  EXPECT_GT(out["peak_memory_bytes"].get<int64_t>(), 4 * out["parameters"].get<int64_t>());
  EXPECT_GE(out["peak_memory_bytes"], out["memory_before_bytes"]);
  EXPECT_TRUE(out["baseline"].is_null());
}

TEST(ProgramBench, MeasuresWholeModels) {
  const json detector = run(
      {"--weights", detector_checkpoint(), "--size", "100x70", "--batch-size", "2", "--baseline"});
  EXPECT_EQ(detector["task"], "instance segmentation");
  EXPECT_EQ(detector["weights"], detector_checkpoint());
  EXPECT_EQ(detector["batch_size"], 2);
  EXPECT_EQ(detector["width"], 100);
  EXPECT_NEAR(detector["images_per_second"].get<double>() * detector["median_ms"].get<double>(),
              2000, 0.01);
  expect_times(detector["baseline"]);
  EXPECT_GT(detector["baseline"]["ratio"].get<double>(), 0);

  const json segmentor = run(
      {"--weights", checkpoint("upernet_hornet_tiny_gf_s2"), "--size", "65", "--dtype", "fp16"});
  EXPECT_EQ(segmentor["task"], "semantic segmentation");
  EXPECT_EQ(segmentor["dtype"], "fp16");
  expect_times(segmentor);

  const json random = run({"--variant", "upernet_hornet_pico_7x7", "--size", "64"});
  EXPECT_EQ(random["task"], "semantic segmentation");
  EXPECT_TRUE(random["weights"].is_null());

  const json classifier = run({"--weights", classifier_checkpoint()});
  EXPECT_EQ(classifier["task"], "classification");
  EXPECT_EQ(classifier["width"], 224);  // that of the authors' tables
}

TEST(ProgramBench, PrintsTheSameForPeople) {
  const Outcome outcome = run_hornet({"bench", "--weights", classifier_checkpoint(), "--size", "64",
                                      "--seconds", "0.01", "--baseline", "--threads", "1"});
  expect_clean(outcome);
  for (const char* pattern :
       {"model +hornet_.*classification", "input +1x3x64x64, fp32\n", "device +cpu, 1 threads, ",
        "median +[0-9.]+ ms;.*\\([0-9]+ runs\\)\n", "rate +[0-9.]+ images/s, [0-9.]+ GFLOP/s",
        "memory +[0-9]+ MiB", "baseline +[0-9.]+ ms;", "ratio +[0-9.]+, baseline over model\n"}) {
    EXPECT_TRUE(std::regex_search(outcome.out, std::regex(pattern))) << pattern << outcome.out;
  }
}

struct Published {
  std::string input;
  double megaparameters, gigaflops;
};

// Measured on the authors' code: fvcore for classifiers, mmcv's counter for the others.
const std::map<std::string, Published> kPublished = {
    {"hornet_tiny_7x7", {"224x224", 22.41, 3.98}},
    {"hornet_tiny_gf", {"224x224", 22.99, 3.91}},
    {"hornet_small_7x7", {"224x224", 49.53, 8.83}},
    {"hornet_small_gf", {"224x224", 50.40, 8.73}},
    {"hornet_base_7x7", {"224x224", 87.26, 15.58}},
    {"hornet_base_gf", {"224x224", 88.42, 15.46}},
    {"hornet_large_7x7", {"224x224", 194.54, 34.82}},
    {"hornet_large_gf", {"224x224", 196.29, 34.64}},
    {"hornet_base_gf_img384", {"384x384", 92.10, 45.44}},
    {"hornet_large_gf_img384", {"384x384", 201.81, 101.81}},
    {"fpn_mask_rcnn_hornet_small_7x7", {"1280x800", 69.03, 351.34}},
    {"horfpn_7x7_mask_rcnn_hornet_small_7x7", {"1280x800", 67.67, 322.40}},
    {"horfpn_gf_mask_rcnn_hornet_small_7x7", {"1280x800", 68.44, 320.91}},
    {"cascade_mask_rcnn_hornet_base_7x7", {"1280x800", 144.47, 968.82}},
    {"cascade_mask_rcnn_hornet_base_gf", {"1280x800", 145.63, 965.49}},
    {"cascade_mask_rcnn_hornet_large_7x7", {"1280x800", 251.49, 1363.43}},
    {"cascade_mask_rcnn_hornet_large_gf", {"1280x800", 258.75, 1358.44}},
    {"cascade_mask_rcnn_hornet_small_7x7", {"1280x800", 106.87, 829.91}},
    {"cascade_mask_rcnn_hornet_small_gf", {"1280x800", 107.74, 827.42}},
    {"cascade_mask_rcnn_hornet_tiny_7x7", {"1280x800", 79.88, 729.94}},
    {"cascade_mask_rcnn_hornet_tiny_gf", {"1280x800", 80.47, 728.27}},
    {"horfpn_7x7_upernet_hornet_small_7x7", {"2048x512", 74.28, 577.43}},
    {"horfpn_gf_upernet_hornet_small_7x7", {"2048x512", 74.66, 575.14}},
    {"upernet_hornet_base_7x7", {"2048x512", 120.77, 1174.37}},
    {"upernet_hornet_base_gf", {"2048x512", 125.61, 1170.97}},
    {"upernet_hornet_large_7x7", {"2560x640", 231.77, 2472.83}},
    {"upernet_hornet_large_gf", {"2560x640", 239.03, 2464.85}},
    {"upernet_hornet_small_7x7", {"2048x512", 81.18, 1030.04}},
    {"upernet_hornet_small_gf", {"2048x512", 84.81, 1027.49}},
    {"upernet_hornet_tiny_7x7", {"2048x512", 52.20, 925.58}},
    {"upernet_hornet_tiny_gf", {"2048x512", 54.63, 923.87}}};

TEST(ProgramBench, ListsThePublishedModelsWithTheAuthorsCounts) {
  const auto outcomes = run_all({{"bench", "--list"}, {"info", "--list"}});
  expect_clean(outcomes[0]);
  EXPECT_EQ(outcomes[0].out, outcomes[1].out);
  const std::regex row("([a-z0-9_]+) +([0-9.]+) M +([0-9x]+) +([0-9.]+) G");
  std::map<std::string, Published> listed;
  for (const std::string& line : lines_of(outcomes[0].out)) {
    std::smatch match;
    if (!std::regex_match(line, match, row)) continue;
    listed[match[1]] = {match[3], std::stod(match[2]), std::stod(match[4])};
  }
  ASSERT_EQ(listed.size(), kPublished.size()) << outcomes[0].out;
  constexpr double kLastDigit = 0.0101;  // halves may be rounded either way
  for (const auto& [name, expected] : kPublished) {
    ASSERT_EQ(listed.count(name), 1u) << name;
    EXPECT_EQ(listed[name].input, expected.input) << name;
    EXPECT_NEAR(listed[name].megaparameters, expected.megaparameters, kLastDigit) << name;
    EXPECT_NEAR(listed[name].gigaflops, expected.gigaflops, kLastDigit) << name;
  }
}

TEST(ProgramBench, NamesWhatIsWrongWithACommandLine) {
  const Arguments tiny = {"bench", "--variant", "hornet_tiny_7x7"};
  const std::vector<std::pair<Arguments, std::vector<std::string>>> lines = {
      {{"bench"}, {"--weights", "--variant"}},
      {with(tiny, {"--weights", "model.pth"}), {"--weights", "--variant"}},
      {{"bench", "--variant", "hornet_huge"}, {"hornet_huge", "hornet_tiny_7x7"}},
      {{"bench", "--variant", "resnet50"}, {"resnet50"}},
      {with(tiny, {"--size", "16"}), {"--size 16", "32"}},
      {with(tiny, {"--threads", "0"}), {"--threads 0", "from 1"}},
      {with(tiny, {"--batch-size", "0"}), {"--batch-size 0", "from 1"}},
      {with(tiny, {"--seconds", "1e7"}), {"--seconds 10000000", "from 0"}},
      {with(tiny, {"--dtype", "int8"}), {"--dtype int8", "bf16"}},
      {with(tiny, {"--progress", "loud"}), {"loud", "plain"}}};
  std::vector<Arguments> arguments;
  for (const auto& item : lines) arguments.push_back(item.first);
  const auto outcomes = run_all(arguments);
  for (size_t i = 0; i < lines.size(); ++i) expect_error(outcomes[i], 2, lines[i].second);
  expect_error(run_hornet({"bench", "--weights", "missing.pth"}), 4, {"missing.pth"});
}

}  // namespace
}  // namespace hornet::testing
