// `hornet info` on every checkpoint of the fixtures, and on files that are none.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>

#include "tests/demos/program.h"
#include "tests/demos/samples.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Expected {
  std::string checkpoint;
  json manifest;
};

std::vector<Expected> fixtures() {
  std::vector<Expected> found;
  for (const auto& entry : fs::directory_iterator(fs::path(HORNET_TEST_DATA) / "fixtures")) {
    const fs::path manifest = entry.path() / "manifest.json";
    if (fs::exists(manifest)) {
      found.push_back({(entry.path() / "model.pth").string(), read_json(manifest)});
    }
  }
  return found;
}

std::string task_of(const std::string& kind) {
  if (kind == "det") return "instance segmentation";
  return kind == "seg" ? "semantic segmentation" : "classification";
}

int classes_of(const std::string& kind) { return kind == "det" ? 80 : kind == "seg" ? 150 : 1000; }

// "fpn_mask_rcnn_hornet_small_7x7" -> "fpn_mask_rcnn_hornet_": narrow models keep the family.
std::string family_of(const std::string& name) {
  return std::regex_replace(name, std::regex("(tiny|small|base|large).*"), "");
}

TEST(ProgramInfo, RecognisesEveryFixtureAsJson) {
  const auto all = fixtures();
  ASSERT_GE(all.size(), 7u);
  std::vector<Arguments> lines;
  for (const Expected& fixture : all) {
    lines.push_back({"info", "--weights", fixture.checkpoint, "--json"});
  }
  const auto outcomes = run_all(lines);
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string name = all[i].manifest["name"], kind = all[i].manifest["kind"];
    expect_clean(outcomes[i]);
    EXPECT_EQ(outcomes[i].err, "") << name;
    const json info = json::parse(outcomes[i].out);
    EXPECT_EQ(info["model"].get<std::string>().find(family_of(name)), 0u) << info["model"];
    EXPECT_EQ(info["task"], task_of(kind)) << name;
    EXPECT_EQ(info["parameters"], all[i].manifest["params"]) << name;
    EXPECT_EQ(info["num_classes"], classes_of(kind)) << name;
    EXPECT_EQ(info["base_dim"], all[i].manifest["base_dim"]) << name;
    EXPECT_EQ(info["format"], "torch " + all[i].manifest["format"].get<std::string>()) << name;
    EXPECT_EQ(info["tensors_loaded"], info["tensors_expected"]) << name;
    EXPECT_GT(info["tensors_loaded"].get<int>(), 100) << name;
    EXPECT_GT(info["flops"].get<double>(), 1e6) << name;
  }
}

TEST(ProgramInfo, PrintsTheSameForPeople) {
  const auto all = fixtures();
  std::vector<Arguments> lines;
  for (const Expected& fixture : all) lines.push_back({"info", "--weights", fixture.checkpoint});
  const auto outcomes = run_all(lines);
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string name = all[i].manifest["name"], kind = all[i].manifest["kind"];
    expect_clean(outcomes[i]);
    const std::string& text = outcomes[i].out;
    EXPECT_TRUE(std::regex_search(text, std::regex("model +" + family_of(name)))) << text;
    EXPECT_TRUE(std::regex_search(text, std::regex("task +" + task_of(kind) + "\n"))) << text;
    EXPECT_TRUE(std::regex_search(text, std::regex("parameters +0\\.[0-9]{2} M\n"))) << text;
    EXPECT_TRUE(std::regex_search(text, std::regex("tensors +loaded ([0-9]+)/\\1\n"))) << text;
    const std::string classes = std::to_string(classes_of(kind));
    EXPECT_TRUE(std::regex_search(text, std::regex("classes +" + classes))) << text;
  }
}

TEST(ProgramInfo, CountsFlopsAtTheSizeAskedFor) {
  const Arguments info = {"info", "--weights", detector_checkpoint(), "--json", "--size"};
  const auto outcomes = run_all({with(info, {"640x400"}), with(info, {"1280x800"})});
  const json small = json::parse(outcomes[0].out), large = json::parse(outcomes[1].out);
  EXPECT_EQ(small["flops_size"], json({640, 400}));
  EXPECT_LT(small["flops"].get<double>(), large["flops"].get<double>());
}

TEST(ProgramInfo, ListsThePublishedModels) {
  const Outcome outcome = run_hornet({"info", "--list"});
  expect_clean(outcome);
  for (const char* name : {"hornet_tiny_gf", "hornet_large_gf_img384", "upernet_hornet_base_gf",
                           "cascade_mask_rcnn_hornet_large_7x7"}) {
    EXPECT_NE(outcome.out.find(name), std::string::npos) << outcome.out;
  }
}

using ProgramInfoOnBadFiles = TemporaryFolder;

TEST_F(ProgramInfoOnBadFiles, TakesPathsThatAreNotUtf8) {
  const std::string weights = path("\xdf.pth");
  fs::copy(classifier_checkpoint(), weights);
  const auto outcomes =
      run_all({{"info", "--weights", weights, "--json"},
               {"bench", "--weights", weights, "--size", "32", "--seconds", "0", "--json"}});
  for (const Outcome& outcome : outcomes) {
    expect_clean(outcome);
    EXPECT_EQ(json::parse(outcome.out)["task"], "classification");
  }
}

TEST_F(ProgramInfoOnBadFiles, NamesTheFileAndWhatIsWrong) {
  const std::string whole = read_file(detector_checkpoint());
  write_file(path("cut.pth"), whole.substr(0, whole.size() / 2));
  write_file(path("zero.pth"), "");
  write_file(path("notes.pth"), "These are no weights.\n");
  const fs::path data = fs::path(HORNET_TEST_DATA) / "checkpoints";
  const std::vector<std::pair<std::string, std::string>> files = {
      {path("cut.pth"), "cut short"},
      {path("zero.pth"), "empty"},
      {path("notes.pth"), "neither"},
      {path("missing.pth"), "No such file"},
      {path(""), "not a file"},
      {data / "zip.pth", "expected a HorNet checkpoint"},
      {data / "hostile_module.pth", "classes are never loaded"}};
  std::vector<Arguments> lines;
  for (const auto& file : files) lines.push_back({"info", "--weights", file.first});
  const auto outcomes = run_all(lines);
  for (size_t i = 0; i < files.size(); ++i) {
    expect_error(outcomes[i], 4, {files[i].first, files[i].second});
  }
}

}  // namespace
}  // namespace hornet::testing
