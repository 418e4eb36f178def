#include <hornet/backbone/error.h>
#include <torch/version.h>

#include <chrono>
#include <iostream>
#include <opencv2/core/version.hpp>

#include "demos/cli.h"
#include "demos/commands.h"
#include "demos/detect_job.h"

namespace hornet::cli {
namespace {

namespace fs = std::filesystem;

void add_tile_options(po::options_description& options) {
  auto share = [](double value, const char* text) {
    return po::value<double>()->default_value(value, text)->value_name("P");
  };
  options.add_options()("tile", po::value<int>()->value_name("N"),
                        "images: search tiles of NxN pixels, for small objects in large images")(
      "overlap", share(0.2, "0.2"), "of neighbouring tiles, 0 to 0.9")(
      "whole-image-too", po::bool_switch(), "search the image as a whole, too")(
      "merge", po::value<std::string>()->default_value("nms")->value_name("RULE"),
      "what several tiles found: nms keeps the best, ios unites it")(
      "merge-thr", share(0.5, "0.5"), "overlap from which boxes are one object, 0 to 1");
  add_raster_options(options);
}

Command detect_command() {
  Command command;
  command.name = "detect";
  command.summary =
      "Finds objects with boxes and masks, draws them, and writes them as JSON.\n"
      "Videos become videos of the same rate and size, images images, folders folders.";
  command.usage =
      "hornet detect --weights FILE --input INPUT [--output OUTPUT] [--json FILE] [options]";
  command.examples =
      "  hornet detect --weights model.pth --input street.mp4 --output found.mp4 --json "
      "found.jsonl\n"
      "  hornet detect --weights model.pth --input photos/ --output found/ --json found.json\n"
      "  hornet detect --weights model.pth --input photo.jpg --json -\n"
      "  hornet detect --weights model.pth --input scene.tif --tile 800 --output found.tif --json "
      "found.json\n"
      "  hornet detect --weights model.pth --input 0 --output camera.mp4 --max-frames 500";
  auto text = [](const char* name) { return po::value<std::string>()->value_name(name); };
  auto number = [](int value) { return po::value<int>()->default_value(value)->value_name("N"); };
  command.options.add_options()("weights", text("FILE")->required(),
                                "checkpoint: .pth as the authors publish it, or .safetensors")(
      "input", text("INPUT")->required(), "video, image, folder of images, or a camera's number")(
      "output", text("OUTPUT"), "annotated video (.mp4, .mov, .mkv, .avi), image, or folder")(
      "json", text("FILE"),
      "results: JSON Lines for videos and cameras, a COCO array for images; - for stdout")(
      "score-thr", po::value<double>()->default_value(0.3, "0.3")->value_name("P"),
      "leave out what scores lower, 0 to 1")(
      "size", text("WxH"),
      "box that images are scaled into, either way round; by default what the model was trained "
      "with, or 1333x800")("batch-size", number(1),
                           "images that run at once, if their sizes agree")(
      "start", number(0), "videos: first frame")("stride", number(1),
                                                 "videos: take every N-th frame")(
      "max-frames", number(0), "videos: stop after N frames; 0 for all")(
      "allow-truncated", po::bool_switch(), "videos: keep the results if the file ends early")(
      "progress", text("MODE")->default_value("auto"), "auto, plain or none")(
      "force", po::bool_switch(), "overwrite existing outputs")(
      "allow-partial", po::bool_switch(), "run although the checkpoint does not fit the model");
  add_tile_options(command.options);
  add_runtime_options(command.options);
  return command;
}

void check_needs_tile(const po::variables_map& values) {
  for (const char* option :
       {"overlap", "whole-image-too", "merge", "merge-thr", "range", "bands"}) {
    if (!values.count(option) || values[option].defaulted()) continue;
    throw Error(ErrorCode::kUsage, std::string("--") + option +
                                       ": is for images that are searched in tiles; add --tile, "
                                       "for example --tile 800");
  }
}

void check_has_tiles(const std::string& input) {
  const InputKind kind = input_kind(input);
  std::error_code ignored;  // of a name that cannot exist: opening it will say so
  const bool moving =
      kind == InputKind::kCamera ||
      (kind == InputKind::kVideo && fs::exists(input, ignored) && !is_raster(input));
  if (!moving) return;
  throw Error(ErrorCode::kUsage, input +
                                     ": --tile is for images and folders of images; leave it out "
                                     "for videos and cameras");
}

std::optional<TiledDetectionOptions> tile_options(const po::variables_map& values) {
  if (!values.count("tile")) {
    check_needs_tile(values);
    return std::nullopt;
  }
  check_range(values, "tile", 32, 16384);
  check_range(values, "overlap", 0, 0.9);
  check_range(values, "merge-thr", 0, 1);
  check_has_tiles(values["input"].as<std::string>());
  TiledDetectionOptions options;
  options.tile = values["tile"].as<int>();
  options.overlap = values["overlap"].as<double>();
  options.rule = parse_merge_rule(values["merge"].as<std::string>());
  options.threshold = values["merge-thr"].as<double>();
  options.batch_size = values["batch-size"].as<int>();
  return options;
}

void check_has_frames(const po::variables_map& values) {
  const InputKind kind = input_kind(values["input"].as<std::string>());
  const bool images =
      kind == InputKind::kImage || kind == InputKind::kFolder || values.count("tile");
  for (const char* option : {"start", "stride", "max-frames", "allow-truncated"}) {
    if (!images || values[option].defaulted()) continue;
    throw Error(ErrorCode::kUsage, std::string("--") + option +
                                       ": is for videos and cameras; leave it out for images");
  }
}

DetectJob parse_detect_job(const po::variables_map& values) {
  check_range(values, "score-thr", 0, 1);
  check_range(values, "batch-size", 1, 1024);
  check_range(values, "start", 0, 1e9);
  check_range(values, "stride", 1, 1e9);
  check_range(values, "max-frames", 0, 1e9);
  DetectJob job;
  job.input = values["input"].as<std::string>();
  if (values.count("output")) job.output = values["output"].as<std::string>();
  if (values.count("json")) job.json = values["json"].as<std::string>();
  if (job.output.empty() && job.json.empty()) {
    throw Error(ErrorCode::kUsage, "nothing to write: give --output, --json or both");
  }
  check_distinct(values, {"output", "json"}, {"input", "weights"});
  job.force = values["force"].as<bool>();
  job.allow_truncated = values["allow-truncated"].as<bool>();
  job.batch_size = values["batch-size"].as<int>();
  job.range.start = values["start"].as<int>();
  job.range.stride = values["stride"].as<int>();
  if (values["max-frames"].as<int>() > 0) job.range.max_frames = values["max-frames"].as<int>();
  job.progress = parse_progress_mode(values["progress"].as<std::string>());
  job.tiles = tile_options(values);
  check_has_frames(values);
  job.raster = raster_options(values);
  return job;
}

DetectorOptions detector_options(const po::variables_map& values) {
  DetectorOptions options;
  if (values.count("size")) options.size = parse_size(values["size"].as<std::string>(), "--size");
  options.score_threshold = values["score-thr"].as<double>();
  options.allow_partial = values["allow-partial"].as<bool>();
  return options;
}

// Beside the results; nowhere if they go to stdout.
void write_report_of(const DetectJob& job, const RunReport& report) {
  const bool to_file = !job.json.empty() && job.json != "-";
  if (!to_file && job.output.empty()) return;
  const bool folder = !to_file && input_kind(job.input) == InputKind::kFolder;
  const fs::path results = to_file ? fs::path(job.json) : job.output;
  write_report(folder ? results : results.parent_path(), report, results, job.force);
}

int detect(Detector& detector, const DetectJob& job, RunReport& report) {
  if (job.tiles) return detect_in_tiles(detector, job, report);
  const InputKind kind = input_kind(job.input);
  const bool moving = kind == InputKind::kVideo || kind == InputKind::kCamera;
  return moving ? detect_in_video(detector, job, report) : detect_in_images(detector, job, report);
}

}  // namespace

int run_detect(int argc, char** argv) {
  const auto values = parse(detect_command(), argc, argv);
  if (!values) return 0;
  silence_codecs();
  const auto began = std::chrono::steady_clock::now();
  DetectJob job = parse_detect_job(*values);
  Detector detector((*values)["weights"].as<std::string>(), runtime_options(*values),
                    detector_options(*values));
  if (job.tiles && (*values)["whole-image-too"].as<bool>()) {
    job.tiles->whole_image = detector.size();
  }
  std::cerr << "hornet: " << architecture_name(detector.architecture()) << ", "
            << detector.load_report().table() << ", " << detector.runtime().device_name() << '\n';

  RunReport report;
  report.command = "detect";
  report.arguments = arguments_of(*values);
  report.versions = {
      {"hornet", HORNET_VERSION}, {"libtorch", TORCH_VERSION}, {"opencv", CV_VERSION}};
  report.device = detector.runtime().device_name();
  const int code = detect(detector, job, report);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
  report.seconds = seconds.count();
  report.status = status_of(code);
  report.peak_device_bytes = detector.runtime().peak_device_bytes();
  for (const std::string& warning : report.warnings) std::cerr << "hornet: " << warning << '\n';
  write_report_of(job, report);
  return code;
}

}  // namespace hornet::cli
