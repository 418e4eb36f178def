#include <ATen/Parallel.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/plan/cpu_level.h>
#include <hornet/heads/model.h>
#include <hornet/heads/model_complexity.h>
#include <hornet/heads/random_weights.h>
#include <hornet/pipelines/measure.h>
#include <hornet/pipelines/progress.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "demos/cli.h"
#include "demos/commands.h"
#include "demos/model_table.h"

namespace hornet::cli {
namespace {

using nlohmann::ordered_json;

constexpr int kSeed = 1, kMostThreads = 1024, kLargestBatch = 4096, kPadding = 32;

Command bench_command() {
  Command command;
  command.name = "bench";
  command.summary =
      "Times a network on random pixels: a checkpoint's whole model with its heads, or with "
      "random\n"
      "weights a variant's dense backbone, or a published model. Reading, resizing and writing\n"
      "images are not in it.\n"
      "Memory is resident memory of the whole process while the network runs.";
  command.usage = "hornet bench (--weights FILE | --variant NAME | --list) [--size WxH] [options]";
  command.examples =
      "  hornet bench --variant hornet_tiny_7x7 --size 1216x800 --threads 2\n"
      "  hornet bench --weights upernet_hornet_tiny_gf.pth --size 512 --batch-size 4 --dtype bf16\n"
      "  hornet bench --variant hornet_base_gf --baseline --seconds 20 --json\n"
      "  hornet bench --list";
  auto text = [](const char* name) { return po::value<std::string>()->value_name(name); };
  command.options.add_options()("weights", text("FILE"),
                                "checkpoint: .pth as the authors publish it, or .safetensors")(
      "variant", text("NAME"),
      "with random weights: a HorNet's backbone (hornet_tiny_gf, hornet_nano_7x7, ...), or a model "
      "of "
      "--list (upernet_hornet_tiny_7x7, ...)")(
      "list", po::bool_switch(),
      "print parameters and FLOPs (multiply-adds) of all published models")(
      "size", text("WxH"),
      "input; default: that of the authors' tables (224x224 or 384x384, 1280x800 for detection, "
      "2048x512 or 2560x640 for segmentation)")(
      "batch-size", po::value<int>()->value_name("N")->default_value(1), "images at once")(
      "threads", po::value<int>()->value_name("N"), "of one run; default: LibTorch's own choice")(
      "seconds", po::value<double>()->value_name("S")->default_value(5),
      "how long to measure, after two runs that do not count; at least five runs")(
      "baseline", po::bool_switch(),
      "take turns with the same model as plain modules, without what inference prepares")(
      "json", po::bool_switch(), "print one JSON object")(
      "progress", po::value<std::string>()->value_name("MODE")->default_value("auto"),
      "auto, plain or none, on stderr")("allow-partial", po::bool_switch(),
                                        "run although the checkpoint does not fit the model");
  add_runtime_options(command.options);
  return command;
}

void check_bench_options(const po::variables_map& values) {
  if (values.count("weights") == values.count("variant")) {
    throw Error(ErrorCode::kUsage,
                "give one of --weights, --variant and --list; see `hornet bench --help`");
  }
  check_range(values, "batch-size", 1, kLargestBatch);
  check_range(values, "seconds", 0, 1e6);
  if (values.count("threads")) check_range(values, "threads", 1, kMostThreads);
}

// What is measured. build() makes it anew, always with the same weights.
struct Subject {
  Architecture architecture;
  std::string weights;  // "" for random ones
  bool allow_partial = false;

  AnyModel build() const {
    if (!weights.empty()) return load_model(weights::read(weights), allow_partial).module;
    torch::manual_seed(kSeed);
    AnyModel model = build_model(architecture);
    randomise_weights(as_module(model));
    return model;
  }
};

Subject subject_of(const po::variables_map& values) {
  Subject subject;
  if (values.count("weights")) {
    subject.weights = values["weights"].as<std::string>();
    subject.allow_partial = values["allow-partial"].as<bool>();
    subject.architecture = recognise(weights::read(subject.weights));
    return subject;
  }
  const std::string name = values["variant"].as<std::string>();
  if (name.compare(0, 7, "hornet_") == 0) {
    subject.architecture.backbone = hornet_variant(name);
  } else {
    subject.architecture = official_architecture(name);
  }
  return subject;
}

// A batch for the model; detectors take sizes that are padded to a multiple of 32.
struct Input {
  torch::Tensor images;
  std::vector<ImageSize> sizes;  // without padding
};

Input random_input(const Subject& subject, cv::Size size, int batch, torch::Device device) {
  const bool padded = subject.architecture.task == Task::kDetection;
  const auto side = [&](int pixels) {
    return padded ? (pixels + kPadding - 1) / kPadding * kPadding : pixels;
  };
  torch::manual_seed(kSeed);
  torch::Tensor images = torch::randn({batch, 3, side(size.height), side(size.width)});
  images.slice(2, size.height).zero_();
  images.slice(3, size.width).zero_();
  return {images.to(device), std::vector<ImageSize>(batch, {size.height, size.width})};
}

void forward(AnyModel& any, const Input& input) {
  std::visit(
      [&](auto& model) {
        if constexpr (std::is_same_v<std::decay_t<decltype(model)>, MaskRcnn>) {
          model->forward(input.images, input.sizes);
        } else {
          model->forward(input.images);
        }
      },
      any);
}

// One run of the model from the input to its result, waited for.
std::function<void()> runner(AnyModel model, const Input& input, const Runtime& runtime) {
  return [model, &input, &runtime]() mutable {
    runtime.run([&] {
      forward(model, input);
      return 0;
    });
    if (runtime.device().is_cuda()) torch::cuda::synchronize(runtime.device().index());
  };
}

// The model as the other commands run it, and as plain modules.
AnyModel prepared(AnyModel model, const Runtime& runtime) {
  runtime.place(as_module(model));
  return model;
}

AnyModel plain(AnyModel model, const Runtime& runtime) {
  as_module(model).eval();
  as_module(model).to(runtime.device());
  return model;
}

struct Result {
  std::optional<MemoryUse> memory;
  Durations times;
  std::optional<Durations> baseline;
};

Result measure_subject(const Subject& subject, const Input& input, const Runtime& runtime,
                       const po::variables_map& values) {
  Progress progress(
      {parse_progress_mode(values["progress"].as<std::string>()), "bench", {}, "rounds"});
  MeasureOptions options;
  options.seconds = values["seconds"].as<double>();
  options.on_round = [&](int64_t rounds) { progress.update(rounds); };
  std::vector<std::function<void()>> functions = {
      runner(prepared(subject.build(), runtime), input, runtime)};
  Result result;
  result.memory = memory_of([&] {
    for (int64_t i = 0; i < options.warm_up; ++i) functions.front()();
  });
  if (values["baseline"].as<bool>()) {
    functions.push_back(runner(plain(subject.build(), runtime), input, runtime));
  }
  const std::vector<Durations> times = measure(functions, options);
  result.times = times.front();
  if (times.size() > 1) result.baseline = times.back();
  return result;
}

void add_times(const Durations& times, ordered_json& out) {
  out["median_ms"] = times.median();
  out["p10_ms"] = times.percentile(10);
  out["p90_ms"] = times.percentile(90);
  out["min_ms"] = times.percentile(0);
}

ordered_json describe_run(const Subject& subject, const po::variables_map& values,
                          const Input& input, const Runtime& runtime) {
  const Architecture& architecture = subject.architecture;
  ordered_json out;
  out["model"] = architecture_name(architecture);
  out["task"] = task_name(architecture.task);
  out["weights"] = subject.weights.empty() ? ordered_json(nullptr) : ordered_json(subject.weights);
  out["width"] = input.sizes.front().width;
  out["height"] = input.sizes.front().height;
  out["batch_size"] = values["batch-size"].as<int>();
  out["dtype"] = runtime.dtype_name();
  out["device"] = runtime.device().str();
  out["threads"] = at::get_num_threads();
  out["isa"] = cpu_level_name(runtime.dtype_name() == "bf16" ? cpu_level() : float_level());
  out["versions"] = {{"hornet", HORNET_VERSION}, {"libtorch", TORCH_VERSION}};
  return out;
}

ordered_json or_null(const std::optional<int64_t>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

void add_result(const Result& result, const Subject& subject, const Input& input,
                const Runtime& runtime, ordered_json& out) {
  const ImageSize& size = input.sizes.front();
  const Complexity complexity = model_complexity(subject.architecture, {size.height, size.width});
  const double images = static_cast<double>(input.sizes.size());
  const double rate = 1000 * images / result.times.median();
  out["runs"] = result.times.milliseconds.size();
  add_times(result.times, out);
  out["images_per_second"] = rate;
  out["parameters"] = complexity.parameters;
  out["multiply_adds"] = complexity.flops;
  out["gflops_per_second"] = 2e-9 * static_cast<double>(complexity.flops) * rate;
  const auto memory = [&](int64_t MemoryUse::*member) {
    return result.memory ? ordered_json((*result.memory).*member) : ordered_json(nullptr);
  };
  out["peak_memory_bytes"] = memory(&MemoryUse::peak);
  out["memory_before_bytes"] = memory(&MemoryUse::before);
  out["peak_device_bytes"] = or_null(runtime.peak_device_bytes());
  out["baseline"] = nullptr;
  if (!result.baseline) return;
  ordered_json baseline;
  add_times(*result.baseline, baseline);
  baseline["ratio"] = paired_ratio(*result.baseline, result.times);
  out["baseline"] = baseline;
}

void bench_line(const char* name, const std::string& value) {
  std::printf("%-10s %s\n", name, value.c_str());
}

// printf's formats, for a few numbers at a time.
template <typename... Numbers>
std::string format(const char* pattern, Numbers... numbers) {
  char text[160];
  std::snprintf(text, sizeof text, pattern, numbers...);
  return text;
}

std::string times_text(const ordered_json& times) {
  return format("%.2f ms; p10 %.2f, p90 %.2f, min %.2f", times["median_ms"].get<double>(),
                times["p10_ms"].get<double>(), times["p90_ms"].get<double>(),
                times["min_ms"].get<double>());
}

std::string memory_text(const ordered_json& out) {
  const auto mebibytes = [&](const char* key) { return out[key].get<double>() / (1 << 20); };
  std::string text = "not known on this system";
  if (!out["peak_memory_bytes"].is_null()) {
    text = format("%.0f MiB at the most, %.0f MiB before the first run",
                  mebibytes("peak_memory_bytes"), mebibytes("memory_before_bytes"));
  }
  if (out["peak_device_bytes"].is_null()) return text;
  return text + format("; %.0f MiB on the device", mebibytes("peak_device_bytes"));
}

void print_bench(const ordered_json& out) {
  const std::string weights =
      out["weights"].is_null() ? "random weights" : out["weights"].get<std::string>();
  bench_line("model", out["model"].get<std::string>() + " (" + out["task"].get<std::string>() +
                          "), " + weights);
  bench_line("input", format("%dx3x%dx%d, ", out["batch_size"].get<int>(), out["height"].get<int>(),
                             out["width"].get<int>()) +
                          out["dtype"].get<std::string>());
  bench_line("device", format("%s, %d threads, %s", out["device"].get<std::string>().c_str(),
                              out["threads"].get<int>(), out["isa"].get<std::string>().c_str()));
  bench_line("median", times_text(out) + format(" (%d runs)", out["runs"].get<int>()));
  bench_line("rate",
             format("%.2f images/s, %.1f GFLOP/s of 2 x %.2f G multiply-adds an image",
                    out["images_per_second"].get<double>(), out["gflops_per_second"].get<double>(),
                    out["multiply_adds"].get<double>() / 1e9));
  bench_line("memory", memory_text(out));
  const ordered_json& baseline = out["baseline"];
  if (baseline.is_null()) return;
  bench_line("baseline", times_text(baseline));
  bench_line("ratio", format("%.2f, baseline over model", baseline["ratio"].get<double>()));
}

}  // namespace

int run_bench(int argc, char** argv) {
  const auto values = parse(bench_command(), argc, argv);
  if (!values) return 0;
  if ((*values)["list"].as<bool>()) {
    print_model_table();
    return 0;
  }
  check_bench_options(*values);
  if (values->count("threads")) at::set_num_threads((*values)["threads"].as<int>());
  const Runtime runtime(runtime_options(*values));
  const Subject subject = subject_of(*values);
  const cv::Size size = values->count("size")
                            ? parse_size((*values)["size"].as<std::string>(), "--size")
                            : official_size(subject.architecture);
  const Input input =
      random_input(subject, size, (*values)["batch-size"].as<int>(), runtime.device());
  const Result result = measure_subject(subject, input, runtime, *values);
  ordered_json out = describe_run(subject, *values, input, runtime);
  add_result(result, subject, input, runtime, out);
  if ((*values)["json"].as<bool>()) {
    std::cout << json_text(out);
  } else {
    print_bench(out);
  }
  return 0;
}

}  // namespace hornet::cli
