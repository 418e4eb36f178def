#include <hornet/backbone/error.h>
#include <hornet/pipelines/interrupt.h>
#include <torch/version.h>

#include <chrono>
#include <iostream>
#include <opencv2/core/version.hpp>

#include "demos/cli.h"
#include "demos/commands.h"
#include "demos/segment_job.h"
#include "demos/segmentor_options.h"

namespace hornet::cli {
namespace {

namespace fs = std::filesystem;

Command segment_command() {
  Command command;
  command.name = "segment";
  command.summary =
      "Gives every pixel of an image its class. Images of any size: windows slide over them, and\n"
      "memory does not grow with the image's height. A folder of images becomes a folder.";
  command.usage = "hornet segment --weights FILE --input INPUT --output OUTPUT [options]";
  command.examples =
      "  hornet segment --weights upernet.pth --input street.jpg --output labels.png --overlay "
      "look.jpg\n"
      "  hornet segment --weights upernet.pth --input photos/ --output labels/ --size 2048x512\n"
      "  hornet segment --weights upernet.pth --input scene.tif --output labels.tif --blend hann "
      "--overlay look.tif --max-memory 1G\n"
      "  hornet segment --weights upernet.pth --input 16bit.tif --bands 4,3,2 --range 0,4095 "
      "--output labels.tif\n"
      "  torchrun --no-python --nproc-per-node 4 hornet segment --weights upernet.pth --input "
      "scene.tif --output labels.vrt";
  auto text = [](const char* name) { return po::value<std::string>()->value_name(name); };
  command.options.add_options()("weights", text("FILE")->required(),
                                "checkpoint of a UperNet: .pth as the authors publish it, or "
                                ".safetensors")(
      "input", text("INPUT")->required(),
      "image or raster of any format that GDAL reads, or a folder of them")(
      "output", text("OUTPUT")->required(),
      "label map: .png, .tif (tiled GeoTIFF), .vrt (parts), or a folder")(
      "overlay", text("FILE"), "image with its labels' colours, to look at; a folder for a folder")(
      "probabilities", text("FILE"), ".tif with a float band for every class")(
      "size", text("WxH"),
      "scale the image into this box first and the result back, as the official test pipeline "
      "does (2048x512; HorNet-L 2560x640); in memory")(
      "batch-size", po::value<int>()->default_value(1)->value_name("N"),
      "windows that run at once")("opacity",
                                  po::value<double>()->default_value(0.5, "0.5")->value_name("P"),
                                  "of the overlay's colours, 0 to 1")(
      "resume", po::bool_switch(), "go on with a run that was interrupted")(
      "merge-output", po::bool_switch(),
      "several processes: one .tif instead of a .vrt over parts")(
      "progress", text("MODE")->default_value("auto"), "auto, plain or none")(
      "force", po::bool_switch(), "overwrite existing outputs")(
      "allow-partial", po::bool_switch(), "run although the checkpoint does not fit the model");
  add_segmentor_options(command.options);
  add_raster_options(command.options);
  add_runtime_options(command.options);
  return command;
}

nlohmann::ordered_json fingerprint(const po::variables_map& values, const Runtime& runtime) {
  const std::string device = runtime.device().is_cpu() ? runtime.device_name() : "GPU";  // any
  nlohmann::ordered_json job = {{"version", HORNET_VERSION}, {"device", device}};
  for (const char* option : {"input", "weights"}) {
    job["--" + std::string(option)] = identity_of(values[option].as<std::string>());
  }
  const nlohmann::ordered_json given = arguments_of(values);
  for (const char* option : {"mode", "tile", "stride", "blend", "size", "tta", "batch-size",
                             "palette", "range", "bands", "dtype", "probabilities"}) {
    job["--" + std::string(option)] = given.value(option, nlohmann::ordered_json());
  }
  return job;
}

void check_opacity(const po::variables_map& values) {
  check_range(values, "opacity", 0, 1);
  if (values["opacity"].defaulted() || values.count("overlay")) return;
  throw Error(ErrorCode::kUsage,
              "--opacity: is of the overlay's colours; add --overlay, or leave it out");
}

SegmentJob parse_segment_job(const po::variables_map& values) {
  check_opacity(values);
  check_distinct(values, {"output", "overlay", "probabilities"}, {"input", "weights"});
  const auto path = [&](const char* name) {
    return values.count(name) ? fs::path(values[name].as<std::string>()) : fs::path();
  };
  SegmentJob job;
  job.input = path("input");
  job.output = path("output");
  job.overlay = path("overlay");
  job.probabilities = path("probabilities");
  job.opacity = values["opacity"].as<double>();
  job.force = values["force"].as<bool>();
  job.merge_output = values["merge-output"].as<bool>();
  job.raster = raster_options(values);
  job.progress = parse_progress_mode(values["progress"].as<std::string>());
  job.group = ProcessGroup::from_environment();
  job.resume = values["resume"].as<bool>() || job.group.restarted;
  for (const char* option : {"weights", "palette"}) {
    if (values.count(option)) job.also_read.push_back(path(option));
  }
  if (!job.probabilities.empty() && !is_tiff(job.probabilities) && !fs::is_directory(job.input)) {
    throw Error(ErrorCode::kUsage, "--probabilities " + job.probabilities.string() +
                                       ": expected a .tif, it has a float band for every class");
  }
  return job;
}

bool is_shared(const SegmentJob& job) {
  return job.group.size > 1 || job.output.extension() == ".vrt";
}

int run_job(Segmentor& segmentor, const SegmentJob& job, RunReport& report) {
  const InterruptGuard guard;
  if (fs::is_directory(job.input)) return segment_folder(segmentor, job, report);
  return is_shared(job) ? segment_shared(segmentor, job, report)
                        : segment_one(segmentor, job, report);
}

}  // namespace

nlohmann::ordered_json identity_of(const fs::path& path) {
  std::error_code ignored;
  const std::string name = utf8(fs::absolute(path, ignored));
  if (fs::is_directory(path, ignored)) return name;
  const auto bytes = fs::is_regular_file(path, ignored) ? fs::file_size(path, ignored) : 0;
  const auto time = fs::last_write_time(path, ignored).time_since_epoch().count();
  return {name, bytes, time};
}

int run_segment(int argc, char** argv) {
  const auto values = parse(segment_command(), argc, argv);
  if (!values) return 0;
  const auto began = std::chrono::steady_clock::now();
  const SegmentorOptions options = segmentor_options(*values);
  SegmentJob job = parse_segment_job(*values);
  if (!fs::exists(job.input)) {
    throw Error(ErrorCode::kInput, job.input.string() + ": no such file or folder");
  }
  RuntimeOptions runtime = runtime_options(*values);
  runtime.device = own_device(runtime.device, job.group.local_rank, gpu_count());
  Segmentor segmentor((*values)["weights"].as<std::string>(), runtime, options);
  job.fingerprint = fingerprint(*values, segmentor.runtime());
  const bool leads = job.group.rank == 0;
  if (leads) {
    std::cerr << "hornet: " << architecture_name(segmentor.architecture()) << ", "
              << segmentor.load_report().table() << ", " << segmentor.runtime().device_name()
              << '\n';
  }
  RunReport report;
  report.command = "segment";
  report.arguments = arguments_of(*values);
  report.versions = {
      {"hornet", HORNET_VERSION}, {"libtorch", TORCH_VERSION}, {"opencv", CV_VERSION}};
  report.device = segmentor.runtime().device_name();
  const int code = run_job(segmentor, job, report);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
  report.seconds = seconds.count();
  report.status = status_of(code);
  report.peak_device_bytes = segmentor.runtime().peak_device_bytes();
  for (const std::string& warning : report.warnings) std::cerr << "hornet: " << warning << '\n';
  if (leads) {
    const bool folder = fs::is_directory(job.input);
    const fs::path beside = folder ? job.output : job.output.parent_path();
    write_report(beside, report, job.output, job.force);
  }
  return code;
}

}  // namespace hornet::cli
