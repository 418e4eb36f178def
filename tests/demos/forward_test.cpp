// `hornet forward`: the names and shapes that it writes, the authors' numbers, and bad inputs.
#include <gtest/gtest.h>
#include <hornet/backbone/weights/checkpoint.h>
#include <hornet/heads/model.h>
#include <torch/types.h>

#include <filesystem>
#include <set>

#include "tests/demos/program.h"
#include "tests/demos/samples.h"
#include "tests/pipelines/fixture.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Shape = std::vector<int64_t>;
using Names = std::set<std::string>;

const std::string kCascade = "cascade_mask_rcnn_hornet_tiny_gf_s2";
const std::string kSegmentor = "upernet_hornet_tiny_gf_s2";

Names numbered(const std::string& stem, int count) {
  Names names;
  for (int i = 0; i < count; ++i) names.insert(stem + std::to_string(i));
  return names;
}

Names all(const std::vector<Names>& parts) {
  Names names;
  for (const Names& part : parts) names.insert(part.begin(), part.end());
  return names;
}

Names detection_names(int stages) {
  std::vector<Names> parts = {
      {"input", "proposals", "mask_rois", "mask_prob", "boxes", "scores", "labels", "masks"},
      numbered("feat", 4),
      numbered("fpn", 5),
      numbered("rpn_cls", 5),
      numbered("rpn_reg", 5)};
  for (int k = 0; k < stages; ++k) {
    const std::string stage = "s" + std::to_string(k) + ".";
    parts.push_back({stage + "rois", stage + "roi_feats", stage + "cls_score", stage + "bbox_pred",
                     "m" + std::to_string(k) + ".mask_logits"});
  }
  return all(parts);
}

class ProgramForward : public TemporaryFolder {
 protected:
  std::string output() const { return path("out.safetensors"); }

  // An input file with `input` and, unless they are empty, the two sizes.
  std::string write_input(const torch::Tensor& input, const Shape& img_shape = {},
                          const Shape& ori_shape = {}) const {
    std::vector<std::pair<std::string, torch::Tensor>> tensors = {{"input", input}};
    if (!img_shape.empty()) tensors.emplace_back("img_shape", torch::tensor(img_shape));
    if (!ori_shape.empty()) tensors.emplace_back("ori_shape", torch::tensor(ori_shape));
    static int count = 0;
    const fs::path file = path("in" + std::to_string(count++) + ".safetensors");
    weights::save_tensors(tensors, file);
    return file;
  }

  weights::File run(const std::string& fixture, const Arguments& arguments) const {
    const Outcome outcome = run_hornet(with(
        {"forward", "--weights", checkpoint(fixture), "--output", output(), "--force"}, arguments));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    return weights::read(output());
  }

  static Names names_of(const weights::File& file) {
    Names names;
    for (const auto& [name, tensor] : file.tensors) names.insert(name);
    return names;
  }
  static Shape shape(const weights::File& file, const std::string& name) {
    return file.tensors.at(name).shape;
  }

  // Every tensor that the authors' case has is there, whole; those named agree with it.
  static void expect_case(const weights::File& got, const std::string& fixture, int index,
                          const Names& compared) {
    const fs::path folder = fs::path(checkpoint(fixture)).parent_path();
    const json description = read_json(folder / "manifest.json")["cases"][index];
    const weights::File expected = weights::read(folder / description["file"].get<std::string>());
    for (const auto& [name, entry] : description["tensors"].items()) {
      ASSERT_TRUE(got.tensors.count(name)) << name;
      EXPECT_EQ(shape(got, name), entry["shape"].get<Shape>()) << name;
      if (compared.count(name) == 0) continue;
      const torch::Tensor left = subsample(weights::to_torch(got.tensors.at(name)), entry);
      const torch::Tensor right = weights::to_torch(expected.tensors.at(name));
      const double error = (left.to(torch::kFloat64) - right).abs().max().item<double>();
      EXPECT_LE(error, entry["atol"].is_number() ? entry["atol"].get<double>() : 0) << name;
    }
  }
};

TEST_F(ProgramForward, WritesTheStagesOfAClassifier) {
  const weights::File got =
      run("hornet_base_7x7_s3", {"--input", write_input(torch::randn({2, 3, 64, 96}))});
  EXPECT_EQ(names_of(got), all({{"input", "pooled", "logits"}, numbered("stage", 4)}));
  EXPECT_EQ(shape(got, "stage0"), (Shape{2, 4, 16, 24}));
  EXPECT_EQ(shape(got, "stage3"), (Shape{2, 32, 2, 3}));
  EXPECT_EQ(shape(got, "logits"), (Shape{2, 1000}));
}

TEST_F(ProgramForward, DetectsInThePartOfAnInputThatIsImage) {
  const torch::Tensor input = torch::randn({1, 3, 96, 128});
  const weights::File got = run(kCascade, {"--input", write_input(input, {80, 120}, {160, 200})});
  EXPECT_EQ(names_of(got), detection_names(3));
  EXPECT_EQ(shape(got, "feat0"), (Shape{1, 8, 24, 32}));
  EXPECT_EQ(shape(got, "fpn4"), (Shape{1, 16, 2, 2}));
  EXPECT_EQ(shape(got, "rpn_reg1"), (Shape{1, 12, 12, 16}));
  const int64_t rois = shape(got, "proposals")[0], found = shape(got, "boxes")[0];
  ASSERT_GT(found, 0);
  EXPECT_EQ(shape(got, "s2.cls_score"), (Shape{rois, 81}));
  EXPECT_EQ(shape(got, "m2.mask_logits"), (Shape{found, 28, 28}));
  EXPECT_EQ(shape(got, "masks"), (Shape{found, 160, 200}));
  EXPECT_EQ(got.tensors.at("masks").dtype, weights::DType::kUInt8);
  EXPECT_TRUE(torch::equal(weights::to_torch(got.tensors.at("input")), input));
  const torch::Tensor proposals = weights::to_torch(got.tensors.at("proposals"));
  const torch::Tensor boxes = weights::to_torch(got.tensors.at("boxes"));
  EXPECT_LE(proposals.select(1, 2).max().item<double>(), 120);  // not 128: padding is no image
  EXPECT_LE(proposals.select(1, 3).max().item<double>(), 80);
  EXPECT_LE(boxes.select(1, 2).max().item<double>(), 200 + 1e-3);
  EXPECT_LE(boxes.select(1, 3).max().item<double>(), 160 + 1e-3);
}

TEST_F(ProgramForward, SegmentsWholeImages) {
  const weights::File got =
      run(kSegmentor, {"--input", write_input(torch::randn({1, 3, 64, 96}), {60, 90}, {120, 180})});
  EXPECT_EQ(names_of(got),
            all({{"input", "ppm", "lowres_logits", "aux_logits", "logits", "ori_logits", "labels"},
                 numbered("feat", 4)}));
  EXPECT_EQ(shape(got, "lowres_logits"), (Shape{1, 150, 16, 24}));
  EXPECT_EQ(shape(got, "logits"), (Shape{1, 150, 64, 96}));
  EXPECT_EQ(shape(got, "ori_logits"), (Shape{1, 150, 120, 180}));
  EXPECT_EQ(shape(got, "labels"), (Shape{120, 180}));
}

TEST_F(ProgramForward, SegmentsInWindows) {
  const weights::File got = run(kSegmentor, {"--mode", "slide", "--tile", "64", "--stride", "48",
                                             "--input", write_input(torch::randn({1, 3, 80, 96}))});
  EXPECT_EQ(names_of(got), (Names{"input", "logits", "ori_logits", "labels"}));
  EXPECT_EQ(shape(got, "logits"), (Shape{1, 150, 80, 96}));
}

TEST_F(ProgramForward, GivesTheAuthorsNumbersForAnImageToClassify) {
  write_image(path("fish.png"), fixture_image("HappyFish_u8.safetensors"));
  const weights::File got = run("hornet_tiny_gf_s1", {"--image", path("fish.png")});
  EXPECT_EQ(shape(got, "resized_u8_rgb"), (Shape{224, 224, 3}));
  expect_case(got, "hornet_tiny_gf_s1", 0,
              all({{"input", "pooled", "logits"}, numbered("stage", 4)}));
}

TEST_F(ProgramForward, GivesTheAuthorsNumbersForAnImageToDetectIn) {
  write_image(path("messi.png"), fixture_image("messi5_u8.safetensors"));
  const weights::File got = run(kCascade, {"--image", path("messi.png"), "--size", "517x333"});
  expect_case(got, kCascade, 1,
              all({{"resized_u8_rgb", "input"},
                   numbered("feat", 4),
                   numbered("fpn", 5),
                   numbered("rpn_cls", 5),
                   numbered("rpn_reg", 5)}));
  EXPECT_EQ(shape(got, "masks"), (Shape{shape(got, "boxes")[0], 342, 548}));
}

TEST_F(ProgramForward, GivesTheAuthorsNumbersForAnImageToSegment) {
  write_image(path("messi.png"), fixture_image("messi5_u8.safetensors"));
  const weights::File got =
      run(kSegmentor, {"--image", path("messi.png"), "--size", "2048x512", "--mode", "slide"});
  expect_case(got, kSegmentor, 1, {"resized_u8_rgb", "input", "logits", "ori_logits"});
}

// As `hornet detect` and `hornet segment` do.
TEST_F(ProgramForward, TakesImagesAsTheCheckpointSays) {
  write_image(path("messi.png"), fixture_image("messi5_u8.safetensors"));  // 548x342
  const auto trained = [&](const std::string& fixture, const std::string& mode) {
    LoadedModel model = load_model(weights::read(checkpoint(fixture)));
    weights::Metadata meta;
    meta.entries["hornet.size"] = "160x96";
    if (!mode.empty()) meta.entries["hornet.mode"] = mode;
    const fs::path file = path(fixture + ".safetensors");
    weights::save(as_module(model.module), file, meta);
    return file.string();
  };
  const auto run_image = [&](const std::string& weights, const Arguments& more) {
    const Outcome outcome = run_hornet(with({"forward", "--weights", weights, "--image",
                                             path("messi.png"), "--output", output(), "--force"},
                                            more));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return weights::read(output());
  };
  const std::string detector = trained("fpn_mask_rcnn_hornet_small_7x7_s1", "");
  EXPECT_EQ(shape(run_image(detector, {}), "resized_u8_rgb"), (Shape{96, 154, 3}));
  EXPECT_EQ(shape(run_image(detector, {"--size", "96x64"}), "resized_u8_rgb"), (Shape{60, 96, 3}));
  const std::string segmentor = trained(kSegmentor, "whole");
  const weights::File whole = run_image(segmentor, {});
  EXPECT_EQ(shape(whole, "resized_u8_rgb"), (Shape{96, 154, 3}));
  EXPECT_EQ(names_of(whole).count("lowres_logits"), 1u);
  const Arguments windows = {"--tile", "64", "--stride", "48"};
  EXPECT_EQ(names_of(run_image(segmentor, windows)).count("lowres_logits"), 0u);
}

TEST_F(ProgramForward, RefusesOptionsWithoutEffect) {
  const auto line = [&](const std::string& weights, const Arguments& more) {
    return with({"forward", "--weights", weights, "--image", "i.png", "--output", output()}, more);
  };
  const auto outcomes = run_all({line(classifier_checkpoint(), {"--mode", "slide"}),
                                 line(detector_checkpoint(), {"--mode", "slide"}),
                                 line(detector_checkpoint(), {"--tile", "64"}),
                                 line(checkpoint(kSegmentor), {"--mode", "whole", "--tile", "64"}),
                                 line(classifier_checkpoint(), {"--size", "224x384"})});
  expect_error(outcomes[0], 2, {"--mode", "segmentation", "classification"});
  expect_error(outcomes[1], 2, {"--mode", "segmentation", "instance segmentation"});
  expect_error(outcomes[2], 2, {"--tile", "instance segmentation"});
  expect_error(outcomes[3], 2, {"--tile", "--mode slide", "--mode whole"});
  expect_error(outcomes[4], 2, {"--size 224x384", "squares"});
  EXPECT_EQ(files_in_folder(), 0u);
}

TEST_F(ProgramForward, RefusesWindowsThatLeaveGaps) {
  const Arguments line = {"forward",
                          "--weights",
                          checkpoint(kSegmentor),
                          "--output",
                          output(),
                          "--mode",
                          "slide",
                          "--tile",
                          "64",
                          "--stride",
                          "65",
                          "--input",
                          write_input(torch::zeros({1, 3, 64, 96}))};
  expect_error(run_hornet(line), 2, {"--stride 65", "--tile 64"});
}

TEST_F(ProgramForward, LeavesAnExistingOutputAlone) {
  write_file(output(), "precious");
  const Arguments line = {"forward",
                          "--weights",
                          classifier_checkpoint(),
                          "--output",
                          output(),
                          "--input",
                          write_input(torch::randn({1, 3, 32, 32}))};
  expect_error(run_hornet(line), 7, {output(), "exists", "--force"});
  EXPECT_EQ(read_file(output()), "precious");
  EXPECT_EQ(files_in_folder(), 2u);
  EXPECT_EQ(run_hornet(with(line, {"--force"})).code, 0);
  EXPECT_EQ(weights::read(output()).tensors.count("logits"), 1u);
  EXPECT_EQ(files_in_folder(), 2u);
}

TEST_F(ProgramForward, NamesWhatIsWrongWithAnInput) {
  write_file(path("junk.safetensors"), "junk");
  write_file(path("zero.png"), "");
  const torch::Tensor good = torch::zeros({1, 3, 64, 64});
  const std::vector<std::tuple<std::string, std::string, std::vector<std::string>>> inputs = {
      {"--input", write_input(good.to(torch::kFloat64)), {"float32 [N,3,H,W]", "float64"}},
      {"--input", write_input(good[0]), {"float32 [N,3,H,W]", "found float32 [3,64,64]"}},
      {"--input", write_input(good.slice(2, 0, 16)), {"32x32", "16x64"}},
      {"--input", write_input(good, {65, 64}), {"'img_shape'", "64x64", "65x64"}},
      {"--input", write_input(good, {64}), {"'img_shape'", "int64 [2]", "found int64 [1]"}},
      {"--input", write_input(good, {64, 64}, {64, 70000}), {"'ori_shape'", "64x70000"}},
      {"--input", path("junk.safetensors"), {"neither"}},
      {"--input", path("missing.safetensors"), {"No such file"}},
      {"--input", detector_checkpoint(), {"'input'", "found none"}},
      {"--image", path("zero.png"), {"empty"}},
      {"--image", path("missing.png"), {"no such file"}}};
  std::vector<Arguments> lines;
  for (const auto& [option, file, words] : inputs) {
    lines.push_back(
        {"forward", "--weights", detector_checkpoint(), "--output", output(), option, file});
  }
  const auto before = files_in_folder();
  const auto outcomes = run_all(lines);
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::vector<std::string> words = std::get<2>(inputs[i]);
    words.push_back(std::get<1>(inputs[i]));
    expect_error(outcomes[i], 3, words);
  }
  EXPECT_EQ(files_in_folder(), before);
}

TEST_F(ProgramForward, NamesAnOutputThatCannotBeWritten) {
  write_file(path("file"), "");
  std::vector<Arguments> lines;
  const std::vector<std::string> outputs = {path("missing") / "o.safetensors",
                                            path("file") / "o.safetensors", path(""),
                                            "/proc/o.safetensors"};
  for (const std::string& name : outputs) {
    lines.push_back(
        {"forward", "--weights", classifier_checkpoint(), "--image", "i.png", "--output", name});
  }
  const auto outcomes = run_all(lines);
  for (size_t i = 0; i < outputs.size(); ++i) expect_error(outcomes[i], 7, {outputs[i]});
  EXPECT_EQ(names_in(path("")), (std::vector<std::string>{"file"}));
}

}  // namespace
}  // namespace hornet::testing
