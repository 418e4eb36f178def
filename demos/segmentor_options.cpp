#include "demos/segmentor_options.h"

#include <hornet/backbone/error.h>

namespace hornet::cli {

void add_segmentor_options(po::options_description& options) {
  auto text = [](const char* name) { return po::value<std::string>()->value_name(name); };
  auto number = [](const char* name) { return po::value<int>()->value_name(name); };
  options.add_options()("mode", text("MODE"),
                        "slide: in windows; whole: the image at once, in memory; by default, and "
                        "without --tile, --stride and --blend hann, what the checkpoint says, "
                        "otherwise slide")(
      "tile", number("N"), "window size; by default what the model was trained with")(
      "stride", number("N"), "window step; by default the model's, or 2/3 of another --tile")(
      "blend", text("HOW")->default_value("mean"),
      "mean of overlapping windows, or hann: weighted so that no seam shows")(
      "tta", po::bool_switch(),
      "average six scales and their mirror images: 20 times the work; of each window, or, "
      "if it is taken as a whole, of the image")(
      "max-memory", text("SIZE")->default_value("2G"),
      "bound of the memory, for example 512M; wide images are done in column blocks")(
      "palette", text("NAME"),
      "ade20k, cityscapes, camvid or a .json file; by default the checkpoint's");
}

SegmentorOptions segmentor_options(const po::variables_map& values) {
  SegmentorOptions options;
  if (values.count("mode")) {
    const std::string mode = values["mode"].as<std::string>();
    if (mode != "whole" && mode != "slide") {
      throw Error(ErrorCode::kUsage, "--mode " + mode + ": expected whole or slide");
    }
    options.whole = mode == "whole";
  }
  const bool whole = options.whole.value_or(false);
  for (const char* name : {"tile", "stride"}) {
    if (!values.count(name)) continue;
    if (whole) {
      throw Error(ErrorCode::kUsage, "--" + std::string(name) + ": goes with --mode slide");
    }
    check_range(values, name, 1, 65536);
    (name[0] == 't' ? options.tile : options.stride) = values[name].as<int>();
  }
  if (values.count("size")) options.size = parse_size(values["size"].as<std::string>(), "--size");
  options.blend = parse_blend(values["blend"].as<std::string>());
  if (options.blend != Blend::kMean && (whole || options.size)) {
    throw Error(ErrorCode::kUsage, "--blend hann: goes with --mode slide and without --size");
  }
  options.tta = values["tta"].as<bool>();
  check_range(values, "batch-size", 1, 1024);
  options.batch_size = values["batch-size"].as<int>();
  options.max_memory = parse_bytes(values["max-memory"].as<std::string>(), "--max-memory");
  if (values.count("palette")) options.palette = values["palette"].as<std::string>();
  options.allow_partial = values["allow-partial"].as<bool>();
  return options;
}

}  // namespace hornet::cli
