#include <hornet/backbone/error.h>
#include <hornet/pipelines/forward.h>
#include <hornet/pipelines/model_defaults.h>
#include <hornet/pipelines/output_guard.h>
#include <hornet/pipelines/video.h>

#include <iostream>
#include <sstream>

#include "demos/cli.h"
#include "demos/commands.h"

namespace hornet::cli {
namespace {

Command forward_command() {
  Command command;
  command.name = "forward";
  command.summary =
      "Runs a model once and writes every named tensor between its input and its result to a\n"
      ".safetensors file: features, proposals, logits, boxes, masks, labels (see the README).";
  command.usage =
      "hornet forward --weights FILE (--input FILE | --image FILE [--size WxH]) --output FILE";
  command.examples =
      "  hornet forward --weights model.pth --image street.jpg --output out.safetensors\n"
      "  hornet forward --weights upernet.pth --image street.jpg --size 2048x512 --mode slide "
      "--output out.safetensors\n"
      "  hornet forward --weights model.pth --input in.safetensors --output out.safetensors";
  auto text = [](const char* name) { return po::value<std::string>()->value_name(name); };
  command.options.add_options()("weights", text("FILE")->required(),
                                "checkpoint: .pth as the authors publish it, or .safetensors")(
      "input", text("FILE"),
      "safetensors with `input` [N,3,H,W] (normalised float32) and, if they differ from H and W, "
      "`img_shape` and `ori_shape` (int64 [2]: height, width)")(
      "image", text("FILE"), "image, put through the official preprocessing of the model's task")(
      "size", text("WxH"),
      "with --image: size to resize to; by default what the model was trained with, or the "
      "authors': 1333x800 for detection, 2048x512 (HorNet-L 2560x640) for segmentation, 224 or 384 "
      "for classification")(
      "mode", text("MODE"),
      "segmentation: whole, or slide in windows; by default whole with --input, and with --image "
      "what the checkpoint says, otherwise slide")("tile", po::value<int>()->value_name("N"),
                                                   "slide: window size; default the model's own")(
      "stride", po::value<int>()->value_name("N"), "slide: window step; default the model's own")(
      "output", text("FILE")->required(), "safetensors file to write")(
      "force", po::bool_switch(), "overwrite an existing output")(
      "allow-partial", po::bool_switch(), "run although the checkpoint does not fit the model");
  add_runtime_options(command.options);
  return command;
}

// What is wrong with the command line alone, before anything is opened.
void check_forward_options(const po::variables_map& values) {
  if (values.count("input") == values.count("image")) {
    throw Error(ErrorCode::kUsage, "give either --input or --image; see `hornet forward --help`");
  }
  if (values.count("size")) {
    parse_size(values["size"].as<std::string>(), "--size");
    if (values.count("input")) {
      throw Error(ErrorCode::kUsage, "--size: goes with --image; --input has its size already");
    }
  }
  const std::string mode = values.count("mode") ? values["mode"].as<std::string>() : "whole";
  if (mode != "whole" && mode != "slide") {
    throw Error(ErrorCode::kUsage, "--mode " + mode + ": expected whole or slide");
  }
  for (const char* name : {"tile", "stride"}) {
    if (values.count(name)) check_range(values, name, 32, 65536);
  }
}

// "float32 [1,3,224,224]"
std::string describe(const weights::Tensor& tensor) {
  std::ostringstream text;
  text << weights::dtype_name(tensor.dtype) << " [";
  for (size_t i = 0; i < tensor.shape.size(); ++i) text << (i > 0 ? "," : "") << tensor.shape[i];
  text << ']';
  return text.str();
}

std::string size_text(const ImageSize& size) {
  return std::to_string(size.height) + "x" + std::to_string(size.width);
}

// An int64 [2] tensor (height, width) of the file, or `fallback` if it is not there.
ImageSize read_size(const weights::File& file, const std::string& name, const ImageSize& fallback) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end()) return fallback;
  const auto& tensor = found->second;
  if (tensor.dtype != weights::DType::kInt64 || tensor.shape != std::vector<int64_t>{2}) {
    throw Error(ErrorCode::kInput, file.path.string() + ": expected '" + name +
                                       "' as int64 [2] (height, width), found " + describe(tensor));
  }
  const torch::Tensor size = weights::to_torch(tensor);
  const int64_t height = size[0].item<int64_t>(), width = size[1].item<int64_t>();
  constexpr int64_t kLargest = 1 << 16;
  if (height < 1 || width < 1 || height > kLargest || width > kLargest) {
    throw Error(ErrorCode::kInput, file.path.string() + ": expected '" + name +
                                       "' from 1x1 to 65536x65536, found " +
                                       size_text({height, width}));
  }
  return {height, width};
}

ForwardInput read_input(const std::string& path) {
  const weights::File file = [&] {
    try {
      return weights::read(path);
    } catch (const Error& error) {
      throw Error(ErrorCode::kInput, error.what());
    }
  }();
  const auto found = file.tensors.find("input");
  const bool usable =
      found != file.tensors.end() && found->second.dtype == weights::DType::kFloat32 &&
      found->second.shape.size() == 4 && found->second.shape[1] == 3 && found->second.shape[0] > 0;
  if (!usable) {
    const std::string what = found == file.tensors.end() ? "none" : describe(found->second);
    throw Error(ErrorCode::kInput, path +
                                       ": expected a tensor 'input' of float32 [N,3,H,W], "
                                       "normalised, found " +
                                       what);
  }
  ForwardInput input;
  input.input = weights::to_torch(found->second);
  const ImageSize padded = {input.input.size(2), input.input.size(3)};
  if (padded.height < 32 || padded.width < 32) {
    throw Error(ErrorCode::kInput,
                path + ": expected 'input' of at least 32x32 pixels, found " + size_text(padded));
  }
  input.image_size = read_size(file, "img_shape", padded);
  if (input.image_size.height > padded.height || input.image_size.width > padded.width) {
    throw Error(ErrorCode::kInput, path + ": expected 'img_shape' within the " + size_text(padded) +
                                       " of 'input', found " + size_text(input.image_size));
  }
  input.original_size = read_size(file, "ori_shape", input.image_size);
  return input;
}

PreprocessOptions preprocess_options(const LoadedModel& model, const po::variables_map& values) {
  PreprocessOptions options = official_preprocess(model);
  if (!values.count("size")) return options;
  const std::string size = values["size"].as<std::string>();
  options.scale = parse_size(size, "--size");
  if (options.kind == PreprocessOptions::Kind::kClassification &&
      options.scale.width != options.scale.height) {
    throw Error(ErrorCode::kUsage,
                "--size " + size + ": classification takes squares, for example 224");
  }
  return options;
}

// Whether a segmentor takes its input at once: as --mode says, else, for images in which no windows
// are asked for, as the checkpoint does.
bool takes_whole_input(const LoadedModel& model, const po::variables_map& values) {
  if (values.count("mode")) return values["mode"].as<std::string>() == "whole";
  if (values.count("input")) return true;
  if (values.count("tile") || values.count("stride")) return false;
  return segment_defaults(model.meta).whole.value_or(false);
}

ForwardOptions forward_options(const LoadedModel& model, const po::variables_map& values) {
  const auto refuse = [&](const std::vector<const char*>& options, const std::string& why) {
    for (const char* option : options) {
      if (values.count(option)) {
        throw Error(ErrorCode::kUsage, std::string("--") + option + ": is for segmentation" + why);
      }
    }
  };
  if (model.architecture.task != Task::kSegmentation) {
    refuse({"mode", "tile", "stride"},
           std::string("; this is ") + task_name(model.architecture.task));
    return {};
  }
  if (takes_whole_input(model, values)) {
    refuse({"tile", "stride"}, " with --mode slide; this is with --mode whole");
    return {};
  }
  ForwardOptions options;
  options.slide = official_slide(model);
  if (values.count("tile")) options.slide->tile = values["tile"].as<int>();
  if (values.count("stride")) options.slide->stride = values["stride"].as<int>();
  if (options.slide->stride > options.slide->tile) {
    throw Error(ErrorCode::kUsage, "--stride " + std::to_string(options.slide->stride) +
                                       ": expected at most the window's size, --tile " +
                                       std::to_string(options.slide->tile));
  }
  return options;
}

}  // namespace

int run_forward(int argc, char** argv) {
  const auto values = parse(forward_command(), argc, argv);
  if (!values) return 0;
  silence_codecs();
  check_forward_options(*values);
  check_distinct(*values, {"output"}, {"input", "image", "weights"});
  OutputFile output((*values)["output"].as<std::string>(), (*values)["force"].as<bool>());
  const Runtime runtime(runtime_options(*values));
  LoadedModel model = load_model(weights::read((*values)["weights"].as<std::string>()),
                                 (*values)["allow-partial"].as<bool>());
  const PreprocessOptions preprocessing = preprocess_options(model, *values);
  const ForwardOptions options = forward_options(model, *values);
  const ForwardInput input =
      values->count("input")
          ? read_input((*values)["input"].as<std::string>())
          : forward_input(load_image((*values)["image"].as<std::string>()), preprocessing);
  const NamedTensors tensors = forward_stages(model, input, options, runtime);
  weights::save_tensors(tensors, output.partial());
  output.commit();
  for (const auto& [name, value] : tensors) {
    std::cerr << name << ' ' << value.dtype() << ' ' << value.sizes() << '\n';
  }
  return 0;
}

}  // namespace hornet::cli
