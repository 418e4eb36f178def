#include <hornet/backbone/error.h>
#include <hornet/pipelines/output_guard.h>
#include <hornet/pipelines/video.h>
#include <torch/version.h>

#include <chrono>
#include <iostream>
#include <opencv2/core/version.hpp>
#include <sstream>

#include "demos/cli.h"
#include "demos/commands.h"
#include "demos/eval_job.h"
#include "demos/segmentor_options.h"

namespace hornet::cli {
namespace {

namespace fs = std::filesystem;

Command eval_command() {
  Command command;
  command.name = "eval";
  command.summary =
      "Measures a model, or results that are there already, against annotated data: COCO's AP of\n"
      "boxes and masks, mIoU of label maps, top-1 and top-5 of classes. Tables go to stdout.";
  command.usage =
      "hornet eval --data DATA (--weights FILE | --results FILE | --predictions DIR) [options]";
  command.examples =
      "  hornet eval --weights cascade.pth --data annotations/instances_val2017.json --images "
      "val2017/\n"
      "  hornet eval --results found.json --data instances_val2017.json --json ap.json\n"
      "  hornet eval --weights upernet.pth --data camvid/val.lst --ignore-label 11\n"
      "  hornet eval --weights upernet.pth --data ade/val.lst --reduce-zero-label --size 2048x512\n"
      "  hornet eval --predictions labels/ --data camvid/val.lst --palette camvid\n"
      "  hornet eval --weights hornet_tiny_gf.pth --data imagenet/val/ --batch-size 32";
  auto text = [](const char* name) { return po::value<std::string>()->value_name(name); };
  auto number = [](int value) { return po::value<int>()->default_value(value)->value_name("N"); };
  command.options.add_options()("weights", text("FILE"),
                                "checkpoint: .pth as the authors publish it, or .safetensors; what "
                                "it is for decides what is measured")(
      "results", text("FILE"), "detection without a model: a COCO results array")(
      "predictions", text("DIR"),
      "segmentation without a model: label maps, named as the images with .png or .tif")(
      "data", text("DATA")->required(),
      "detection: COCO annotations (.json); segmentation: a list of lines IMAGE LABELS; "
      "classification: a folder with one for every class, or a list of lines IMAGE CLASS")(
      "images", text("DIR"), "detection: the images' folder; by default that of the annotations")(
      "iou-type", text("TYPES"),
      "detection: bbox, segm or bbox,segm; by default what the files have")(
      "score-thr", po::value<double>()->default_value(0.05, "0.05")->value_name("P"),
      "detection: leave out what scores lower; of --results by default nothing")(
      "ignore-label", po::value<int>()->value_name("N"),
      "segmentation: a true label that is not counted, -1 for none; by default the one that the "
      "model was trained with, or 255")(
      "reduce-zero-label", po::bool_switch(),
      "segmentation: true labels count from 1, and 0 is not counted (ADE20K)")(
      "num-classes", po::value<int>()->value_name("N"), "of --predictions")(
      "size", text("WxH"),
      "detection: box that images are scaled into, by default what the model was trained with, or "
      "1333x800; segmentation: the same, and the result back (official: 2048x512, HorNet-L "
      "2560x640); classification: square to crop")(
      "batch-size", number(1), "images (segmentation: windows) that run at once")(
      "skip-unreadable", po::bool_switch(), "leave out images that cannot be read, and list them")(
      "json", text("FILE"), "write the figures as JSON, too")(
      "progress", text("MODE")->default_value("auto"), "auto, plain or none")(
      "force", po::bool_switch(), "overwrite an existing --json")(
      "allow-partial", po::bool_switch(), "run although the checkpoint does not fit the model");
  add_segmentor_options(command.options);
  add_runtime_options(command.options);
  return command;
}

std::vector<CocoIou> parse_ious(const std::string& text) {
  std::vector<CocoIou> ious;
  std::istringstream stream(text);
  for (std::string name; std::getline(stream, name, ',');) {
    if (name != "bbox" && name != "segm") ious.clear();
    if (name != "bbox" && name != "segm") break;
    ious.push_back(name == "bbox" ? CocoIou::kBoxes : CocoIou::kMasks);
  }
  if (ious.empty() || ious.size() > 2 || (ious.size() == 2 && ious[0] == ious[1])) {
    throw Error(ErrorCode::kUsage, "--iou-type " + text + ": expected bbox, segm or bbox,segm");
  }
  return ious;
}

void check_one_source(const po::variables_map& values) {
  if (values.count("weights") + values.count("results") + values.count("predictions") == 1) return;
  throw Error(ErrorCode::kUsage,
              "give one of --weights, --results and --predictions; see `hornet eval --help`");
}

EvalJob parse_eval_job(const po::variables_map& values) {
  check_one_source(values);
  check_range(values, "score-thr", 0, 1);
  if (values.count("ignore-label")) check_range(values, "ignore-label", -1, 65535);
  if (values.count("num-classes")) check_range(values, "num-classes", 1, 65535);
  check_distinct(values, {"json"}, {"data", "weights", "results"});
  const auto path = [&](const char* name) {
    return values.count(name) ? fs::path(values[name].as<std::string>()) : fs::path();
  };
  EvalJob job;
  job.segmentor = segmentor_options(values);
  job.data = path("data");
  job.weights = path("weights");
  job.results = path("results");
  job.predictions = path("predictions");
  job.images = path("images");
  if (values.count("iou-type")) job.ious = parse_ious(values["iou-type"].as<std::string>());
  // Results that are there already have been chosen by whoever made them.
  const bool all_results = values.count("results") && values["score-thr"].defaulted();
  job.score_threshold = all_results ? 0 : values["score-thr"].as<double>();
  job.size = job.segmentor.size;
  job.batch_size = job.segmentor.batch_size;
  if (values.count("ignore-label")) job.ignore_label = values["ignore-label"].as<int>();
  job.reduce_zero_label = values["reduce-zero-label"].as<bool>();
  if (values.count("num-classes")) job.num_classes = values["num-classes"].as<int>();
  job.skip_unreadable = values["skip-unreadable"].as<bool>();
  job.allow_partial = job.segmentor.allow_partial;
  job.progress = parse_progress_mode(values["progress"].as<std::string>());
  job.runtime = runtime_options(values);
  return job;
}

Task task_of(const EvalJob& job) {
  if (!job.results.empty()) return Task::kDetection;
  if (!job.predictions.empty()) return Task::kSegmentation;
  const Task task = recognise(weights::read(job.weights)).task;
  if (task != Task::kBackbone) return task;
  throw Error(ErrorCode::kWeights, job.weights.string() +
                                       ": is a backbone alone, which gives nothing to measure; "
                                       "expected a model with its head");
}

const char* name_of(Task task) {
  if (task == Task::kDetection) return "detection";
  return task == Task::kSegmentation ? "segmentation" : "classification";
}

// Options and data that belong to another task.
void check_task(const po::variables_map& values, Task task) {
  const std::pair<Task, std::vector<const char*>> owners[] = {
      {Task::kDetection, {"images", "iou-type", "score-thr"}},
      {Task::kSegmentation,
       {"ignore-label", "reduce-zero-label", "num-classes", "mode", "tile", "stride", "blend",
        "tta", "max-memory", "palette"}}};
  for (const auto& [owner, options] : owners) {
    for (const char* option : options) {
      if (owner == task || !values.count(option) || values[option].defaulted()) continue;
      throw Error(ErrorCode::kUsage, std::string("--") + option + ": is for " + name_of(owner) +
                                         "; this is " + name_of(task));
    }
  }
  const std::string data = values["data"].as<std::string>();
  const bool annotations = fs::path(data).extension() == ".json";
  if (annotations == (task == Task::kDetection)) return;
  throw Error(ErrorCode::kUsage, "--data " + data + ": " + name_of(task) + " is measured against " +
                                     (annotations ? "a list of images, found a .json"
                                                  : "COCO annotations, expected a .json"));
}

// Options of a model where none runs, and of files where one does.
void check_source(const po::variables_map& values) {
  const auto refuse = [&](const std::vector<const char*>& options, const std::string& why) {
    for (const char* option : options) {
      if (!values.count(option) || values[option].defaulted()) continue;
      throw Error(ErrorCode::kUsage, std::string("--") + option + ": " + why);
    }
  };
  if (values.count("weights")) {
    return refuse({"num-classes"}, "is for --predictions; the model of --weights has its own");
  }
  refuse({"size", "batch-size", "device", "dtype", "allow-partial", "mode", "tile", "stride",
          "blend", "tta", "max-memory"},
         "is for --weights; here no model runs");
  if (!values.count("results")) return;
  refuse({"images", "skip-unreadable"}, "is for --weights; --results need no images");
}

Evaluation evaluate(const EvalJob& job, Task task) {
  switch (task) {
    case Task::kDetection:
      return evaluate_detection(job);
    case Task::kSegmentation:
      return evaluate_segmentation(job);
    default:
      return evaluate_classification(job);
  }
}

nlohmann::ordered_json to_json(const Evaluation& evaluation, Task task,
                               const po::variables_map& values, double seconds) {
  nlohmann::ordered_json out = {
      {"schema_version", 1},
      {"status", evaluation.skipped.empty() ? "ok" : "partial"},
      {"command", "eval"},
      {"task", name_of(task)},
      {"arguments", arguments_of(values)},
      {"versions",
       {{"hornet", HORNET_VERSION}, {"libtorch", TORCH_VERSION}, {"opencv", CV_VERSION}}},
      {"device", nullptr},
      {"seconds", seconds},
      {"images", evaluation.images},
      {"skipped", evaluation.skipped},
      {"warnings", evaluation.warnings},
      {"figures", evaluation.figures},
      {"classes", evaluation.classes}};
  if (evaluation.device) out["device"] = *evaluation.device;
  if (evaluation.ignore_label) out["ignore_label"] = *evaluation.ignore_label;
  return out;
}

}  // namespace

int run_eval(int argc, char** argv) {
  const auto values = parse(eval_command(), argc, argv);
  if (!values) return 0;
  silence_codecs();
  const auto began = std::chrono::steady_clock::now();
  const EvalJob job = parse_eval_job(*values);
  const Task task = task_of(job);
  check_task(*values, task);
  check_source(*values);
  std::optional<OutputFile> json;
  if (values->count("json")) {
    json.emplace((*values)["json"].as<std::string>(), (*values)["force"].as<bool>());
  }
  const Evaluation evaluation = evaluate(job, task);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
  for (const std::string& warning : evaluation.warnings) std::cerr << "hornet: " << warning << '\n';
  for (const std::string& reason : evaluation.skipped) std::cerr << "hornet: " << reason << '\n';
  if (!evaluation.skipped.empty()) {
    std::cerr << "hornet: " << evaluation.skipped.size() << " images could not be read; the "
              << "figures are of the other " << evaluation.images << '\n';
  }
  std::cout << evaluation.table;
  if (json) {
    write_text(std::move(*json), json_text(to_json(evaluation, task, *values, seconds.count())));
  }
  return evaluation.skipped.empty() ? 0 : static_cast<int>(ErrorCode::kPartial);
}

}  // namespace hornet::cli
