#include <hornet/backbone/error.h>
#include <hornet/heads/model.h>
#include <hornet/heads/model_complexity.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "demos/cli.h"
#include "demos/commands.h"
#include "demos/model_table.h"

namespace hornet::cli {
namespace {

Command info_command() {
  Command command;
  command.name = "info";
  command.summary =
      "Says what a checkpoint holds: the model recognised from its tensors, parameters, FLOPs,\n"
      "classes, and whether every tensor found its place.";
  command.usage = "hornet info (--weights FILE [--size WxH] [--json] | --list)";
  command.examples =
      "  hornet info --weights cascade_mask_rcnn_hornet_tiny_gf.pth\n"
      "  hornet info --weights hornet_base_gf.pth --size 384 --json\n"
      "  hornet info --list";
  command.options.add_options()("weights", po::value<std::string>()->value_name("FILE"),
                                "checkpoint: .pth as the authors publish it, or .safetensors")(
      "list", po::bool_switch(), "list the published models that can be loaded")(
      "size", po::value<std::string>()->value_name("WxH"),
      "input for which FLOPs are counted; default: that of the authors' tables (224x224 or "
      "384x384, "
      "1280x800 for detection, 2048x512 or 2560x640 for segmentation)")("json", po::bool_switch(),
                                                                        "print one JSON object")(
      "allow-partial", po::bool_switch(), "go on although the checkpoint does not fit the model");
  return command;
}

nlohmann::ordered_json filter_sizes(const HorNetOptions& options) {
  nlohmann::ordered_json sizes = nlohmann::ordered_json::array();
  for (const StageOptions& stage : options.stages) {
    if (stage.global_filter) sizes.push_back({stage.global_filter->h, stage.global_filter->w});
  }
  return sizes;
}

void describe_backbone(const HorNetOptions& options, nlohmann::ordered_json& out) {
  out["base_dim"] = options.base_dim;
  out["global_filters"] = filter_sizes(options);
  for (const StageOptions& stage : options.stages) {
    out["depths"].push_back(stage.depth);
    out["orders"].push_back(stage.order);
  }
}

void describe_backbone(const ResNetOptions& options, nlohmann::ordered_json& out) {
  out["base_width"] = options.base_width;
  out["depths"] = options.depths;
  out["frozen_norm"] = options.frozen_norm;
  out["norm_eps"] = options.norm_eps;
}

nlohmann::ordered_json describe(const LoadedModel& model, const weights::File& file,
                                cv::Size size) {
  const Architecture& architecture = model.architecture;
  const Complexity complexity = model_complexity(architecture, {size.height, size.width});
  nlohmann::ordered_json out;
  out["file"] = file.path.string();
  out["format"] = file.format;
  out["model"] = architecture_name(architecture);
  out["task"] = task_name(architecture.task);
  if (architecture.detector) {
    const bool torchvision = architecture.detector->conventions == Conventions::kTorchvision;
    out["conventions"] = torchvision ? "torchvision" : "mmdet";
  }
  std::visit([&](const auto& options) { describe_backbone(options, out); }, architecture.backbone);
  out["parameters"] = complexity.parameters;
  out["flops"] = complexity.flops;
  out["flops_size"] = {size.width, size.height};
  out["num_classes"] = architecture.num_classes;
  out["classes"] = model.meta.classes;
  out["tensors_loaded"] = model.report.loaded;
  out["tensors_expected"] = model.report.expected;
  return out;
}

std::string join(const nlohmann::ordered_json& list, const char* separator) {
  std::string text;
  for (const auto& item : list) {
    text += (text.empty() ? "" : separator) +
            (item.is_string() ? item.get<std::string>() : item.dump());
  }
  return text;
}

void info_line(const char* name, const std::string& value) {
  std::printf("%-12s %s\n", name, value.c_str());
}

// What the blocks of a HorNet, or of a ResNet, have of their own.
void print_mixers(const nlohmann::ordered_json& info) {
  if (info.contains("norm_eps")) {
    info_line("batch norm", std::string(info["frozen_norm"] ? "frozen" : "trainable") +
                                ", epsilon " + info["norm_eps"].dump());
    return;
  }
  info_line("orders", join(info["orders"], ", "));
  const auto& filters = info["global_filters"];
  info_line("filters", filters.empty() ? "none (7x7 depthwise)" : join(filters, ", "));
}

void print_info(const nlohmann::ordered_json& info) {
  char numbers[96];
  const auto& size = info["flops_size"];
  info_line("model", info["model"]);
  info_line("task", info["task"]);
  info_line("file",
            info["file"].get<std::string>() + " (" + info["format"].get<std::string>() + ")");
  if (info.contains("conventions")) info_line("conventions", info["conventions"]);
  info_line("depths", join(info["depths"], ", "));
  print_mixers(info);
  std::snprintf(numbers, sizeof numbers, "%.2f M", info["parameters"].get<double>() / 1e6);
  info_line("parameters", numbers);
  std::snprintf(numbers, sizeof numbers, "%.2f G multiply-adds at %dx%d",
                info["flops"].get<double>() / 1e9, size[0].get<int>(), size[1].get<int>());
  info_line("FLOPs", numbers);
  const std::string names = join(info["classes"], ", ");
  info_line("classes", info["num_classes"].dump() + (names.empty() ? "" : ": " + names));
  info_line("tensors",
            "loaded " + info["tensors_loaded"].dump() + "/" + info["tensors_expected"].dump());
}

}  // namespace

int run_info(int argc, char** argv) {
  const auto values = parse(info_command(), argc, argv);
  if (!values) return 0;
  if ((*values)["list"].as<bool>()) {
    print_model_table();
    return 0;
  }
  if (!values->count("weights")) {
    throw Error(ErrorCode::kUsage, "give --weights FILE or --list; see `hornet info --help`");
  }
  const weights::File file = weights::read((*values)["weights"].as<std::string>());
  const LoadedModel model = load_model(file, (*values)["allow-partial"].as<bool>());
  const cv::Size size = values->count("size")
                            ? parse_size((*values)["size"].as<std::string>(), "--size")
                            : official_size(model.architecture);
  const nlohmann::ordered_json info = describe(model, file, size);
  if ((*values)["json"].as<bool>()) {
    std::cout << json_text(info);
  } else {
    print_info(info);
    if (!model.report.complete()) std::cerr << "hornet: " << model.report.table() << '\n';
  }
  return 0;
}

}  // namespace hornet::cli
