// `hornet eval`: figures of files and of models.
#include <gtest/gtest.h>
#include <hornet/backbone/weights/tensor_file.h>
#include <hornet/pipelines/classifier.h>
#include <hornet/pipelines/coco_eval.h>
#include <hornet/pipelines/results.h>
#include <hornet/pipelines/segmentor.h>

#include <cstdio>
#include <filesystem>
#include <opencv2/imgcodecs.hpp>
#include <set>

#include "tests/demos/program.h"
#include "tests/demos/samples.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class ProgramEvaluates : public TemporaryFolder {
 protected:
  // An image of the annotations that the tests make up.
  static json coco_image(int id, const std::string& name, cv::Size size) {
    return {{"id", id}, {"file_name", name}, {"width", size.width}, {"height", size.height}};
  }

  // Two images, and as their truth what the detector finds in them.
  json annotate_with_the_detector() {
    fs::create_directory(path("in"));
    json data = {{"images", json::array()}, {"annotations", json::array()}};
    for (int id : {1, 2}) {
      const std::string name = std::to_string(id) + ".png";
      const cv::Size size(100 + 20 * id, 90);
      write_image(path("in") / name, scene(size, id));
      data["images"].push_back(coco_image(id, name, size));
    }
    expect_clean(
        run_hornet({"detect", "--weights", detector_checkpoint(), "--size", "96x96", "--score-thr",
                    "0.05", "--input", path("in"), "--json", path("found.json")}));
    std::set<int> ids;
    for (json object : read_json(path("found.json"))) {
      object["id"] = data["annotations"].size() + 1;
      ids.insert(object["category_id"].get<int>());
      data["annotations"].push_back(std::move(object));
    }
    const auto classes =
        ClassTable::from_names(weights::read(detector_checkpoint()).meta.classes, 80);
    for (int label = 0; label < 80; ++label) {
      const int id = classes.category_id(label);
      if (ids.count(id)) data["categories"].push_back({{"id", id}, {"name", classes.name(label)}});
    }
    return data;
  }

  void write_json(const std::string& name, const json& document) {
    write_file(path(name), document.dump());
  }

  // Two images with the labels that the segmentor gives them; the second list line is broken.
  void write_labelled_images() {
    SegmentorOptions options;
    options.tile = 64;
    Segmentor segment(segmentor_, {"cpu", "fp32"}, options);
    fs::create_directory(path("labels"));
    for (const std::string name : {"a", "b"}) {
      const cv::Mat image = scene({90, 70}, name[0]);
      write_image(path(name + ".png"), image);
      write_image(path("labels/" + name + ".png"), segment(image));
    }
    write_file(path("val.lst"), "# image labels\na.png labels/a.png\n\nb.png labels/b.png\n");
  }

  const std::string segmentor_ = checkpoint("upernet_hornet_tiny_gf_s2");
};

TEST_F(ProgramEvaluates, ResultsOfAFileAsPycocotoolsDoes) {
  const json known = read_json(fs::path(HORNET_TEST_DATA) / "coco_eval.json")["cases"][2];
  write_json("data.json", known["data"]);
  write_json("results.json", known["results"]);
  const Arguments line = {"eval", "--data", path("data.json"), "--results", path("results.json")};
  const auto outcomes =
      run_all({with(line, {"--json", path("out.json")}), with(line, {"--iou-type", "bbox"})});
  for (const Outcome& outcome : outcomes) expect_clean(outcome);
  const json report = read_json(path("out.json"));
  EXPECT_EQ(report["task"], "detection");
  EXPECT_EQ(report["status"], "ok");
  EXPECT_EQ(report["images"], known["data"]["images"].size());
  for (const char* iou : {"bbox", "segm"}) {
    EXPECT_EQ(report["figures"][iou].size(), kNumCocoFigures);
    for (size_t i = 0; i < kNumCocoFigures; ++i) {
      const json& figure = report["figures"][iou][kCocoFigures[i]];
      const double expected = known[iou][i];
      EXPECT_EQ(figure.is_null(), expected < 0) << kCocoFigures[i];
      EXPECT_NEAR(figure.is_null() ? -1 : figure.get<double>(), expected, 1e-6) << kCocoFigures[i];
    }
    EXPECT_TRUE(has(outcomes[0].out, std::string("\n") + iou + "  ")) << outcomes[0].out;
  }
  char ap[16];
  std::snprintf(ap, sizeof(ap), "%.4f", known["bbox"][0].get<double>());
  EXPECT_TRUE(has(outcomes[1].out, ap)) << outcomes[1].out;
  EXPECT_FALSE(has(outcomes[1].out, "segm")) << outcomes[1].out;
  // One object without a mask, and masks cannot be measured: that is said.
  json data = known["data"];
  data["annotations"].back().erase("segmentation");
  write_json("data.json", data);
  const Outcome boxes = run_hornet(line);
  expect_clean(boxes);
  EXPECT_FALSE(has(boxes.out, "segm")) << boxes.out;
  EXPECT_TRUE(has(boxes.err, "data.json: masks are not measured")) << boxes.err;
}

TEST_F(ProgramEvaluates, ResultsThatScoreEnough) {
  const json box = {0, 0, 40, 40};
  json found = {{"image_id", 1}, {"category_id", 1}, {"bbox", box}, {"score", 0.02}};
  json data;
  data["images"] = json::array({coco_image(1, "a.png", {64, 64})});
  data["categories"] = json::array({json{{"id", 1}, {"name", "a"}}});
  write_json("found.json", json::array({found}));
  found["id"] = 1;  // the same object, annotated
  data["annotations"] = json::array({found});
  write_json("data.json", data);
  const auto average = [&](const Arguments& more) {
    const Outcome outcome =
        run_hornet(with({"eval", "--data", path("data.json"), "--results", path("found.json"),
                         "--json", path("out.json"), "--force"},
                        more));
    expect_clean(outcome);
    return read_json(path("out.json"))["figures"]["bbox"]["AP"].get<double>();
  };
  EXPECT_GT(average({}), 0.99);
  EXPECT_GT(average({"--score-thr", "0.02"}), 0.99);
  EXPECT_EQ(average({"--score-thr", "0.03"}), 0);
}

TEST_F(ProgramEvaluates, ADetectorAgainstWhatItFinds) {
  json data = annotate_with_the_detector();
  ASSERT_GE(data["annotations"].size(), 4u);
  write_json("in/data.json", data);
  data["images"].push_back(coco_image(3, "gone.png", {64, 64}));
  data["categories"][0]["name"] = "unheard of";
  write_json("more.json", data);
  const Arguments line = {"eval", "--weights", detector_checkpoint(), "--size", "96x96"};
  const auto outcomes =
      run_all({with(line, {"--data", path("in/data.json"), "--json", path("out.json"),
                           "--batch-size", "2"}),
               with(line, {"--data", path("more.json"), "--images", path("in"), "--iou-type",
                           "bbox", "--skip-unreadable", "--json", path("more.out.json")}),
               with(line, {"--data", path("more.json"), "--images", path("in")})});
  expect_clean(outcomes[0]);
  EXPECT_TRUE(has(outcomes[0].err, "matched by name")) << outcomes[0].err;
  const json report = read_json(path("out.json"));
  EXPECT_GT(report["figures"]["bbox"]["AP"], 0.99);
  EXPECT_GT(report["figures"]["segm"]["AP"], 0.99);
  expect_clean(outcomes[1], 6);
  EXPECT_TRUE(has(outcomes[1].err, "gone.png: no such file")) << outcomes[1].err;
  const json more = read_json(path("more.out.json"));
  EXPECT_EQ(more["status"], "partial");
  EXPECT_EQ(more["images"], 2);
  EXPECT_EQ(more["skipped"].size(), 1u);
  EXPECT_EQ(more["classes"][0]["bbox"]["AP"], 0);  // the renamed category: the model lacks it
  EXPECT_GT(more["classes"][1]["bbox"]["AP"], 0.99);
  expect_clean(outcomes[2], 3);
  EXPECT_EQ(outcomes[2].out, "");
  EXPECT_TRUE(has(outcomes[2].err, "gone.png: no such file")) << outcomes[2].err;
}

TEST_F(ProgramEvaluates, LabelMaps) {
  write_labelled_images();
  cv::Mat other = cv::imread(path("labels/b.png").string(), cv::IMREAD_UNCHANGED);
  other.rowRange(0, 35).setTo(149);  // half of it is wrong
  fs::create_directory(path("other"));
  fs::copy(path("labels/a.png"), path("other"));
  write_image(path("other/b.png"), other);
  const Arguments data = {"eval", "--data", path("val.lst")};
  const auto outcomes =
      run_all({with(data, {"--weights", segmentor_, "--tile", "64", "--json", path("model.json")}),
               with(data, {"--predictions", path("other"), "--num-classes", "150", "--json",
                           path("files.json")}),
               with(data, {"--predictions", path("labels"), "--palette", "ade20k",
                           "--reduce-zero-label", "--json", path("reduced.json")})});
  for (const Outcome& outcome : outcomes) expect_clean(outcome);
  EXPECT_GT(read_json(path("model.json"))["figures"]["mIoU"], 0.99);
  EXPECT_TRUE(has(outcomes[0].out, "mIoU")) << outcomes[0].out;
  const json files = read_json(path("files.json"));
  EXPECT_NEAR(files["figures"]["aAcc"].get<double>(), 0.75, 0.02);
  EXPECT_EQ(files["classes"].size(), 150u);
  EXPECT_EQ(read_json(path("reduced.json"))["figures"]["aAcc"], 0);  // all are one too high
}

// The option's, else the checkpoint's, else 255.
TEST_F(ProgramEvaluates, LeavesOutTheIgnoredLabelOfTraining) {
  write_labelled_images();
  cv::Mat labels = cv::imread(path("labels/b.png").string(), cv::IMREAD_UNCHANGED);
  labels.rowRange(0, 35).setTo(200);
  write_image(path("labels/b.png"), labels);
  const auto trained_with = [&](const std::string& label) {
    LoadedModel model = load_model(weights::read(segmentor_));
    weights::Metadata meta;
    meta.entries["hornet.ignore_label"] = label;
    const auto file = path("ignores_" + label + ".safetensors");
    weights::save(as_module(model.module), file, meta);
    return file;
  };
  const auto line = [&](const std::filesystem::path& weights, const std::string& json) {
    return Arguments{"eval",   "--data", path("val.lst"), "--weights", weights,
                     "--tile", "64",     "--json",        path(json)};
  };
  const auto outcomes =
      run_all({line(segmentor_, "usual.json"), line(trained_with("200"), "own.json"),
               with(line(trained_with("201"), "asked.json"), {"--ignore-label", "200"}),
               line(trained_with("7"), "class.json")});
  for (const Outcome& outcome : outcomes) expect_clean(outcome);
  // What is counted although it has no class is found wrongly.
  const auto mean_iou = [&](const char* json, int ignored) {
    const auto report = read_json(path(json));
    EXPECT_EQ(report["ignore_label"], ignored) << json;
    return report["figures"]["mIoU"].get<double>();
  };
  EXPECT_LT(mean_iou("usual.json", 255), 0.9);
  EXPECT_GT(mean_iou("own.json", 200), 0.99);
  EXPECT_GT(mean_iou("asked.json", 200), 0.99);
  EXPECT_LT(mean_iou("class.json", 255), 0.9) << "a class is not left out";
}

TEST_F(ProgramEvaluates, Classes) {
  ClassifierOptions options;
  options.size = 64;
  options.count = 1000;
  Classifier classify(classifier_checkpoint(), {"cpu", "fp32"}, options);
  std::string list;
  for (int i = 0; i < 4; ++i) {
    const std::string name = std::to_string(i) + ".png";
    write_image(path(name), scene({90, 80}, i));
    const auto ranked = classify(cv::imread(path(name).string()));
    EXPECT_EQ(ranked.size(), static_cast<size_t>(classify.num_classes()));
    // The best class, twice the third, the worst.
    const int label = (i == 0 ? ranked.front() : i < 3 ? ranked[2] : ranked.back()).label;
    list += name + " " + std::to_string(label) + "\n";
  }
  write_file(path("val.txt"), list);
  const Arguments line = {"eval",   "--weights", classifier_checkpoint(), "--data", path("val.txt"),
                          "--size", "64",        "--batch-size",          "3"};
  expect_clean(run_hornet(with(line, {"--json", path("out.json")})));
  const json report = read_json(path("out.json"));
  EXPECT_EQ(report["figures"], (json{{"top1", 0.25}, {"top5", 0.75}}));
  EXPECT_EQ(report["images"], 4);
}

TEST_F(ProgramEvaluates, RefusesInOneLine) {
  write_file(path("data.json"), R"({"images": [{"id": 1}], "categories": [{"id": 1}],
      "annotations": [{"id": 5, "image_id": 1, "category_id": 1}]})");
  write_file(path("empty.json"), R"({"images": [{"id": 1}], "categories": [], "annotations": []})");
  write_file(path("results.json"),
             R"([{"image_id": 2, "category_id": 1, "score": 1, "bbox": [0, 0, 1, 1]}])");
  write_file(path("list.txt"), "a.png\n");
  write_file(path("labels.txt"), "a.png cat\n");
  for (const char* name : {"folders/cat", "folders/dog"}) {
    fs::create_directories(path(name));
    write_image(path(name) / "a.png", scene({64, 64}, 1));
  }
  const auto data = [&](const std::string& name, const Arguments& more) {
    return with({"eval", "--data", path(name)}, more);
  };
  const std::string results = path("results.json"), classifier = classifier_checkpoint();
  const auto outcomes = run_all({
      data("data.json", {}),
      data("data.json", {"--results", results, "--weights", classifier}),
      data("data.json", {"--results", results}),
      data("empty.json", {"--results", results}),
      data("empty.json", {"--results", path("none.json")}),
      data("empty.json", {"--results", results, "--iou-type", "points"}),
      data("empty.json", {"--results", results, "--ignore-label", "3"}),
      data("list.txt", {"--results", results}),
      data("list.txt", {"--predictions", path("")}),
      data("list.txt", {"--weights", classifier}),
      data("empty.json", {"--results", results, "--json", results}),
      data("labels.txt", {"--weights", classifier}),
      data("folders", {"--weights", classifier}),
      data("empty.json", {"--results", results, "--size", "640x480"}),
      data("empty.json", {"--results", results, "--batch-size", "2"}),
      data("empty.json", {"--results", results, "--images", path("")}),
      data("empty.json", {"--results", results, "--allow-partial"}),
      data("list.txt", {"--predictions", path(""), "--mode", "whole"}),
      data("list.txt", {"--predictions", path(""), "--tile", "64"}),
      data("list.txt", {"--predictions", path(""), "--tta"}),
      data("list.txt", {"--weights", segmentor_, "--num-classes", "150"}),
  });
  expect_error(outcomes[0], 2, {"--weights, --results and --predictions"});
  expect_error(outcomes[1], 2, {"--weights, --results and --predictions"});
  expect_error(outcomes[2], 3, {"data.json: annotation 5", "neither"});
  expect_error(outcomes[3], 3, {"result 0", "image_id 2", "empty.json"});
  expect_error(outcomes[4], 3, {"none.json", "no such file"});
  expect_error(outcomes[5], 2, {"--iou-type points", "bbox"});
  expect_error(outcomes[6], 2, {"--ignore-label", "segmentation", "detection"});
  expect_error(outcomes[7], 2, {"list.txt", ".json"});
  expect_error(outcomes[8], 3, {"list.txt: line 1", "a label"});
  expect_error(outcomes[9], 3, {"list.txt: line 1"});
  expect_error(outcomes[10], 2, {"both"});
  expect_error(outcomes[11], 3, {"labels.txt: line 1: 'cat'", "0 to 999"});
  expect_error(outcomes[12], 3, {"folders", "2 folders", "1000 classes"});
  const std::vector<std::string> without_effect = {
      "--size", "--batch-size", "--images", "--allow-partial", "--mode", "--tile", "--tta"};
  for (size_t i = 0; i < without_effect.size(); ++i) {
    expect_error(outcomes[13 + i], 2, {without_effect[i] + ": is for --weights"});
  }
  expect_error(outcomes[20], 2, {"--num-classes: is for --predictions"});
}

}  // namespace
}  // namespace hornet::testing
