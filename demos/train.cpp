#include <hornet/backbone/error.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/training/architecture.h>
#include <hornet/training/classification_task.h>
#include <hornet/training/data_parallel.h>
#include <hornet/training/detection_task.h>
#include <hornet/training/initialise.h>
#include <hornet/training/pretrained.h>
#include <hornet/training/segmentation_task.h>
#include <hornet/training/trainer.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>
#include <tuple>

#include "demos/cli.h"
#include "demos/commands.h"

namespace hornet::cli {
namespace {

namespace fs = std::filesystem;

po::typed_value<std::string>* text(const char* name) {
  return po::value<std::string>()->value_name(name);
}

po::typed_value<std::string>* text(const char* name, const char* standard) {
  return text(name)->default_value(standard);
}

po::typed_value<int>* number(int standard) {
  return po::value<int>()->default_value(standard)->value_name("N");
}

po::typed_value<double>* real(double standard, const char* shown) {
  return po::value<double>()->default_value(standard, shown)->value_name("X");
}

void add_what(po::options_description& options) {
  auto add = options.add_options();
  add("task", text("TASK")->required(), "detect, segment or classify");
  add("data", text("LIST")->required(),
      "detect: COCO annotations (.json), with or without masks; segment: file with a line `image "
      "label` a sample, relative to its folder; classify: folder with a folder of images for every "
      "class");
  add("validation", text("LIST"), "the same, of images that are never trained on");
  add("images", text("DIR"), "detect: the images' folder; by default that of --data");
  add("validation-images", text("DIR"), "detect: the same of --validation");
  add("output", text("FOLDER")->required(),
      "where state.safetensors, model.safetensors, best.safetensors, losses.csv, metrics.csv and "
      "curves.png go");
  add("model", text("NAME", "hornet_pico_gf"),
      "variant (hornet_pico_gf, hornet_tiny_7x7, upernet_hornet_small_gf, ...), or a checkpoint to "
      "fine-tune");
  add("pretrained", text("FILE"),
      "checkpoint with weights to start from: whatever has the model's names, a backbone alone "
      "too");
  add("resume", po::bool_switch(), "go on with the run in --output; give its other options again");
  add("classes", text("NAMES"),
      "segment: ade20k, cityscapes, camvid, a palette file, or a file with a name a line; by "
      "default the checkpoint's; detect: the same, by default the categories of --data");
  add("ignore-label", number(255), "label of pixels without a class");
  add("reduce-zero-label", po::bool_switch(),
      "labels count classes from 1, and 0 is none, as ADE20K's");
  add("width", po::value<int>()->value_name("N"), "channels of the first stage");
  add("depths", text("A,B,C,D"), "blocks of the four stages");
  add("head-channels", po::value<int>()->value_name("N"), "of UperNet, or of the pyramid");
  add("anchor-scales", text("A,B"), "detect: sizes of anchors, times the stride; by default 8");
  add("anchor-ratios", text("A,B"), "detect: their height / width; by default 0.5,1,2");
  add("pyramid-levels", po::value<int>()->value_name("N"), "detect: 4 to 8; by default 5");
  add("initialisation", text("HOW", "fan-in"),
      "fan-in: gnConv works from the start, for training from nothing; official: std 0.02");
}

void add_recipe(po::options_description& options) {
  auto add = options.add_options();
  add("iterations", number(20000), "steps of the whole run");
  add("batch-size", number(8),
      "images a step, of all processes together; segment: 2 or more in each");
  add("lr", po::value<double>()->value_name("X"),
      "by default 0.0001 with weights from a file, else 0.002");
  add("rate-decay", text("HOW"),
      "none, layer:0.7 or stage:0.9: lower rates towards the stem; by default stage:0.9 with "
      "weights from a file, else none");
  add("weight-decay", real(0.05, "0.05"), "not of norms and biases");
  add("schedule", text("HOW", "poly"), "constant, poly, cosine or step");
  add("hold", real(0, "0"), "share of the iterations before poly or cosine begin");
  add("warmup", po::value<int>()->value_name("N"), "iterations; by default 5 %, at most 1500");
  add("clip", real(1, "1"), "largest norm of the gradient; 0: any");
  add("ema", real(0.998, "0.998"), "of averaged weights; 0: none");
  add("drop-path", real(0, "0"), "stochastic depth of the last block");
  add("dropout", real(0.1, "0.1"), "before UperNet's classifiers");
  add("class-weights", text("HOW", "none"),
      "segment: none; balanced, by frequency; or balanced:0.5 (a power), which is milder");
  add("rois", number(512), "detect: regions of an image that the heads are trained on");
  add("label-smoothing", real(0.1, "0.1"), "classify");
  add("seed", number(1), "of all that is random");
}

void add_images(po::options_description& options) {
  auto add = options.add_options();
  add("crop", text("WxH"), "size of training images; by default 512x512, classify 224x224");
  add("size", text("WxH"),
      "scale images into this box first, as `hornet detect` and `hornet segment` then do");
  add("scale", text("LOW,HIGH", "0.5,2"), "detect, segment: random scale");
  add("object-height", text("LOW,HIGH"),
      "detect: scale images so that an object of each has a height of so many pixels, instead");
  add("aspect", real(0, "0"), "detect: how much more or less widths are scaled than heights");
  add("paste", real(0, "0"),
      "detect: probability that objects cut out of other images are pasted on an image");
  add("pasted-height", text("LOW,HIGH", "28,260"), "detect: their height in pixels");
  add("degrade", po::bool_switch(), "detect: blur, noise and JPEG's artefacts");
  add("grey-crowds", po::bool_switch(), "detect: paint crowds over instead of leaving them out");
  add("no-flip", po::bool_switch(), "no mirror images");
  add("no-colour", po::bool_switch(), "colours as they are");
  add("mode", text("MODE", "slide"),
      "segment: how the model will be used, and is validated: slide, in windows of the crop's "
      "size, or whole");
  add("cache", text("SIZE", "1G"), "decoded images that are kept in memory");
  add("threads", number(1), "batches prepared at the same time; 0: none ahead");
  add("on-bad-sample", text("HOW", "error"),
      "image, labels or annotation that cannot be read: error, or skip (name it and leave the "
      "image out)");
}

void add_run(po::options_description& options) {
  auto add = options.add_options();
  add("validate-every", number(1000), "iterations");
  add("save-every", real(300, "300"), "seconds");
  add("export", text("TYPE", "fp16"), "of the models' weights: fp16 or fp32");
  add("progress", text("MODE", "auto"), "auto, plain or none");
  add("force", po::bool_switch(), "overwrite a run in --output");
  add_runtime_options(options, "fp32, tf32 (on GPUs) or bf16");
}

Command train_command() {
  Command command;
  command.name = "train";
  command.summary =
      "Trains a model, from nothing or from a checkpoint. Ctrl-C saves; --resume goes on, and on\n"
      "one thread (OMP_NUM_THREADS=1) ends with the same bits as a run without a break. Started "
      "by\n"
      "mpirun or srun, the processes share each batch.";
  command.usage = "hornet train --task TASK --data LIST --output FOLDER [options]";
  command.examples =
      "  hornet train --task segment --data camvid/train.lst --validation camvid/val.lst --classes "
      "camvid --ignore-label 11 --class-weights balanced:0.25 --size 640x480 --crop 480 --mode "
      "whole --batch-size 4 --output street\n"
      "  hornet train --task segment --data ade/train.lst --classes ade20k --reduce-zero-label "
      "--model hornet_tiny_gf "
      "--pretrained hornet_tiny_gf.pth --iterations 160000 --drop-path 0.4 --output tiny_gf\n"
      "  hornet train --task segment --data mine.lst --classes names.txt --model "
      "street/best.safetensors --output fine_tuned\n"
      "  hornet train --task detect --data instances_train.json --images train2017 --validation "
      "instances_val.json --validation-images val2017 --model cascade_mask_rcnn_hornet_tiny_gf "
      "--pretrained hornet_tiny_gf.pth --size 1333x800 --crop 512 --rate-decay layer:0.7 --output "
      "cascade\n"
      "  hornet train --task classify --data photos/train --validation photos/val --model "
      "hornet_nano_7x7 --output nano\n"
      "  mpirun -n 4 --map-by slot:PE=8 hornet train --task segment --data train.lst --classes "
      "camvid --batch-size 16 --output street";
  add_what(command.options);
  add_recipe(command.options);
  add_images(command.options);
  add_run(command.options);
  return command;
}

// "0.5,2" or "2,2,6,2" as `count` numbers above 0; 0: as many as there are, up to 16.
std::vector<double> numbers(const po::variables_map& values, const char* option, size_t count) {
  constexpr size_t kMost = 16;
  const std::string given = values[option].as<std::string>();
  std::vector<double> out;
  std::istringstream stream(given);
  for (std::string item; std::getline(stream, item, ',');) {
    char* end = nullptr;
    out.push_back(std::strtod(item.c_str(), &end));
    if (item.empty() || *end != '\0' || !(out.back() > 0 && out.back() <= 1000)) out.clear();
    if (out.empty()) break;
  }
  if (count > 0 ? out.size() == count : !out.empty() && out.size() <= kMost) return out;
  throw Error(ErrorCode::kUsage, "--" + std::string(option) + " " + given + ": expected " +
                                     (count > 0 ? std::to_string(count) + " " : "") +
                                     "numbers above 0 with commas between");
}

// One of several words.
std::string choice(const po::variables_map& values, const char* option,
                   const std::vector<std::string>& words) {
  const std::string given = values[option].as<std::string>();
  std::string expected;
  for (const std::string& word : words) {
    if (given == word) return given;
    expected += (expected.empty() ? "" : " or ") + word;
  }
  throw Error(ErrorCode::kUsage,
              "--" + std::string(option) + " " + given + ": expected " + expected);
}

// none, balanced or balanced:POWER.
double class_balance(const std::string& text) {
  if (text == "none") return 0;
  if (text == "balanced") return 1;
  const std::string prefix = "balanced:";
  if (text.compare(0, prefix.size(), prefix) == 0) {
    char* end = nullptr;
    const double power = std::strtod(text.c_str() + prefix.size(), &end);
    if (text.size() > prefix.size() && *end == '\0' && power > 0 && power <= 2) return power;
  }
  throw Error(ErrorCode::kUsage,
              "--class-weights " + text +
                  ": expected none, balanced, or balanced:POWER with a power above 0 and up to 2");
}

void check_ranges(const po::variables_map& values) {
  struct Range {
    const char* option;
    double low, high;
  };
  constexpr Range kRanges[] = {
      {"iterations", 1, 1e9},  {"batch-size", 1, 4096},    {"weight-decay", 0, 1},
      {"hold", 0, 1},          {"clip", 0, 1e9},           {"ema", 0, 0.999999},
      {"drop-path", 0, 0.95},  {"dropout", 0, 0.95},       {"threads", 0, 64},
      {"seed", 0, 2147483647}, {"save-every", 0, 1e9},     {"label-smoothing", 0, 0.99},
      {"rois", 1, 1e5},        {"validate-every", 0, 1e9}, {"ignore-label", 0, 65535}};
  for (const Range& range : kRanges) check_range(values, range.option, range.low, range.high);
  if (values.count("lr")) check_range(values, "lr", 1e-12, 1e3);
  if (values.count("width")) check_range(values, "width", 1, 4096);
  if (values.count("head-channels")) check_range(values, "head-channels", 1, 4096);
  if (values.count("warmup")) check_range(values, "warmup", 0, 1e9);
  if (values.count("pyramid-levels")) check_range(values, "pyramid-levels", 4, 8);
  check_range(values, "aspect", 0, 0.5);
  check_range(values, "paste", 0, 1);
}

ModelChanges model_changes(const po::variables_map& values) {
  ModelChanges changes;
  if (values.count("width")) changes.width = values["width"].as<int>();
  if (values.count("head-channels")) changes.head_channels = values["head-channels"].as<int>();
  if (values.count("depths")) {
    const auto depths = numbers(values, "depths", 4);
    changes.depths.emplace();
    for (size_t i = 0; i < depths.size(); ++i) {
      (*changes.depths)[i] = std::lround(depths[i]);
      if (std::floor(depths[i]) != depths[i]) {
        throw Error(ErrorCode::kUsage,
                    "--depths: expected four whole numbers, for example 2,2,6,2");
      }
    }
  }
  if (values.count("anchor-scales")) changes.anchor_scales = numbers(values, "anchor-scales", 0);
  if (values.count("anchor-ratios")) changes.anchor_ratios = numbers(values, "anchor-ratios", 0);
  if (values.count("pyramid-levels")) changes.pyramid_levels = values["pyramid-levels"].as<int>();
  changes.drop_path = values["drop-path"].as<double>();
  changes.dropout = values["dropout"].as<double>();
  return changes;
}

// "LOW,HIGH".
std::pair<double, double> interval(const po::variables_map& values, const char* option) {
  const auto ends = numbers(values, option, 2);
  if (ends[0] <= ends[1]) return {ends[0], ends[1]};
  throw Error(ErrorCode::kUsage,
              "--" + std::string(option) + ": expected LOW,HIGH with LOW up to HIGH");
}

cv::Size crop_size(const po::variables_map& values, const char* standard) {
  return parse_size(values.count("crop") ? values["crop"].as<std::string>() : standard, "--crop");
}

std::optional<cv::Size> box_size(const po::variables_map& values) {
  if (!values.count("size")) return std::nullopt;
  return parse_size(values["size"].as<std::string>(), "--size");
}

DetectionAugment detection_augment(const po::variables_map& values) {
  DetectionAugment options;
  options.crop = crop_size(values, "512");
  options.box = box_size(values);
  std::tie(options.min_scale, options.max_scale) = interval(values, "scale");
  if (values.count("object-height")) options.object_height = interval(values, "object-height");
  options.least_side = 0.6;  // smaller images would leave most of a crop without a picture
  options.aspect = values["aspect"].as<double>();
  options.flip = !values["no-flip"].as<bool>();
  options.recolour = !values["no-colour"].as<bool>();
  options.degrade = values["degrade"].as<bool>();
  options.grey_crowds = values["grey-crowds"].as<bool>();
  options.paste = values["paste"].as<double>();
  options.pasted_height = interval(values, "pasted-height");
  return options;
}

AugmentOptions augment_options(const po::variables_map& values, const char* crop) {
  AugmentOptions options;
  options.crop = crop_size(values, crop);
  options.box = box_size(values);
  std::tie(options.min_scale, options.max_scale) = interval(values, "scale");
  options.flip = !values["no-flip"].as<bool>();
  options.recolour = !values["no-colour"].as<bool>();
  return options;
}

// The checkpoint that --model names, if it is one.
std::optional<weights::File> model_file(const po::variables_map& values) {
  const fs::path path = values["model"].as<std::string>();
  if (!path.has_parent_path() && !path.has_extension() && !fs::is_regular_file(path)) return {};
  return weights::read(path);
}

Palette palette_for(const po::variables_map& values, const std::optional<weights::File>& file) {
  if (values.count("classes")) return read_classes(values["classes"].as<std::string>());
  if (!file || file->meta.classes.empty()) {
    throw Error(ErrorCode::kUsage,
                "give --classes: ade20k, cityscapes, camvid, or a file with a name a line");
  }
  const auto classes = static_cast<int>(file->meta.classes.size());
  std::vector<cv::Vec3b> colours;
  for (const auto& [red, green, blue] : file->meta.palette) colours.emplace_back(blue, green, red);
  if (static_cast<int>(colours.size()) != classes) colours.clear();
  return Palette::make("", classes, file->meta.classes, colours);
}

std::unique_ptr<TrainingTask> make_segmentation(const po::variables_map& values,
                                                const std::optional<weights::File>& file) {
  SegmentationOptions options;
  options.palette = palette_for(values, file);
  ModelChanges changes = model_changes(values);
  changes.classes = options.palette.size();
  options.architecture =
      file ? segmentation_architecture(*file, changes)
           : segmentation_architecture(values["model"].as<std::string>(), changes);
  options.augment = augment_options(values, "512");
  options.ignore_label = values["ignore-label"].as<int>();
  options.reduce_zero_label = values["reduce-zero-label"].as<bool>();
  options.class_balance = class_balance(values["class-weights"].as<std::string>());
  options.whole = choice(values, "mode", {"slide", "whole"}) == "whole";
  options.tile = std::max(options.augment.crop.width, options.augment.crop.height);
  options.stride = options.tile * 2 / 3;
  options.cache_bytes = parse_bytes(values["cache"].as<std::string>(), "--cache");
  std::vector<SamplePaths> validation;
  if (values.count("validation")) {
    validation = read_sample_list(values["validation"].as<std::string>());
  }
  return std::make_unique<SegmentationTask>(read_sample_list(values["data"].as<std::string>()),
                                            std::move(validation), options);
}

bool skips_bad_samples(const po::variables_map& values) {
  return choice(values, "on-bad-sample", {"error", "skip"}) == "skip";
}

AnnotatedImages annotated_images(const po::variables_map& values, const std::string& which,
                                 const std::string& folder, std::vector<std::string> classes,
                                 int64_t cache) {
  const fs::path file = values[which].as<std::string>();
  const fs::path images =
      values.count(folder) ? fs::path(values[folder].as<std::string>()) : file.parent_path();
  const auto bad = skips_bad_samples(values) ? BadAnnotations::kNote : BadAnnotations::kRefuse;
  return {read_coco_dataset(file, bad), images, std::move(classes), cache};
}

std::unique_ptr<TrainingTask> make_detection(const po::variables_map& values,
                                             const std::optional<weights::File>& file) {
  const int64_t cache = parse_bytes(values["cache"].as<std::string>(), "--cache");
  std::vector<std::string> classes;
  if (values.count("classes")) classes = read_classes(values["classes"].as<std::string>()).names;
  AnnotatedImages training = annotated_images(values, "data", "images", classes, cache);
  std::optional<AnnotatedImages> validation;
  if (values.count("validation")) {
    validation.emplace(
        annotated_images(values, "validation", "validation-images", training.classes(), cache / 4));
  }
  ModelChanges changes = model_changes(values);
  changes.classes = static_cast<int64_t>(training.classes().size());
  DetectionOptions options;
  options.architecture = file ? detection_architecture(*file, changes)
                              : detection_architecture(values["model"].as<std::string>(), changes);
  options.augment = detection_augment(values);
  options.losses = DetectionLossOptions(options.architecture.detector->roi.cascade());
  options.losses.roi_sample.number = values["rois"].as<int>();
  options.size = options.augment.box;
  return std::make_unique<DetectionTask>(std::move(training), std::move(validation), options);
}

std::unique_ptr<TrainingTask> make_classification(const po::variables_map& values,
                                                  const std::optional<weights::File>& file) {
  const auto training = read_class_folders(values["data"].as<std::string>());
  std::vector<ImageClass> validation;
  if (values.count("validation")) {
    validation = read_class_folders(values["validation"].as<std::string>());
  }
  ClassificationOptions options;
  ModelChanges changes = model_changes(values);
  changes.classes = static_cast<int64_t>(training.size());
  options.architecture =
      file ? classification_architecture(*file, changes)
           : classification_architecture(values["model"].as<std::string>(), changes);
  options.augment = augment_options(values, "224");
  if (options.augment.crop.width != options.augment.crop.height) {
    throw Error(ErrorCode::kUsage, "--crop: classifiers are trained on squares, for example 224");
  }
  options.label_smoothing = values["label-smoothing"].as<double>();
  return std::make_unique<ClassificationTask>(training, validation, options);
}

// The recipe's own defaults depend on whether there are weights to start from.
TrainerOptions trainer_options(const po::variables_map& values, const RuntimeOptions& runtime,
                               bool from_weights) {
  TrainerOptions options;
  const int iterations = values["iterations"].as<int>();
  options.output = values["output"].as<std::string>();
  options.loader.batch_size = values["batch-size"].as<int>();
  options.loader.seed = static_cast<uint64_t>(values["seed"].as<int>());
  options.loader.threads = values["threads"].as<int>();
  options.loader.skip_bad = skips_bad_samples(values);
  options.learning_rate = values.count("lr") ? values["lr"].as<double>()
                          : from_weights     ? 1e-4
                                             : 2e-3;
  options.rate_decay =
      parse_rate_decay(values.count("rate-decay") ? values["rate-decay"].as<std::string>()
                       : from_weights             ? "stage:0.9"
                                                  : "none");
  options.schedule.decay = parse_decay(values["schedule"].as<std::string>());
  options.schedule.iterations = iterations;
  options.schedule.hold = values["hold"].as<double>();
  options.schedule.warmup =
      values.count("warmup") ? values["warmup"].as<int>() : std::min(1500, iterations / 20);
  options.adamw.weight_decay = values["weight-decay"].as<double>();
  options.clip_norm = values["clip"].as<double>();
  options.ema = values["ema"].as<double>();
  options.runtime = runtime;
  options.validate_every = values["validate-every"].as<int>();
  options.save_every = values["save-every"].as<double>();
  options.export_half = choice(values, "export", {"fp16", "fp32"}) == "fp16";
  options.progress = parse_progress_mode(values["progress"].as<std::string>());
  const nlohmann::ordered_json arguments = arguments_of(values);
  for (const auto& [name, value] : arguments.items()) {
    static const std::set<std::string> kFree = {"output",  "resume", "force",  "progress",
                                                "threads", "cache",  "device", "save-every"};
    if (kFree.count(name)) continue;
    options.settings[name] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return options;
}

// What a run leaves in --output, its state first.
std::vector<fs::path> files_of_run(const po::variables_map& values) {
  std::vector<fs::path> files;
  for (const char* name : {"state.safetensors", "model.safetensors", "best.safetensors",
                           "losses.csv", "metrics.csv", "curves.png"}) {
    files.push_back(fs::path(values["output"].as<std::string>()) / name);
  }
  return files;
}

// Refuses to write over a run.
void check_output(const po::variables_map& values) {
  const std::vector<fs::path> files = files_of_run(values);
  if (values["resume"].as<bool>()) {
    if (fs::exists(files.front())) return;
    throw Error(ErrorCode::kUsage, "--resume: there is no " + files.front().string());
  }
  if (values["force"].as<bool>()) return;
  for (const fs::path& file : files) {
    if (!fs::exists(file)) continue;
    throw Error(ErrorCode::kOutput, file.string() +
                                        ": exists; --resume goes on with a run whose "
                                        "state is there, --force starts a new one");
  }
}

// The run that --force gives up goes when the new one is about to begin: whatever is wrong with
// the options or the data has been said by then.
void remove_old_run(const po::variables_map& values) {
  if (values["resume"].as<bool>()) return;
  for (const fs::path& file : files_of_run(values)) fs::remove(file);
}

// Options of another task.
void check_task(const po::variables_map& values, const std::string& task) {
  using Tasks = std::set<std::string>;
  static const std::vector<std::pair<Tasks, std::vector<const char*>>> kOwners = {
      {{"detect"},
       {"images", "validation-images", "anchor-scales", "anchor-ratios", "pyramid-levels", "rois",
        "object-height", "aspect", "paste", "pasted-height", "degrade", "grey-crowds"}},
      {{"segment"}, {"ignore-label", "reduce-zero-label", "dropout", "class-weights", "mode"}},
      {{"classify"}, {"label-smoothing"}},
      {{"detect", "segment"}, {"classes", "head-channels", "size", "scale", "cache"}}};
  for (const auto& [tasks, options] : kOwners) {
    if (tasks.count(task)) continue;
    for (const char* option : options) {
      if (!values.count(option) || values[option].defaulted()) continue;
      throw Error(ErrorCode::kUsage, std::string("--") + option + ": is not for --task " + task);
    }
  }
}

void load_weights(TrainingTask& task, const po::variables_map& values,
                  const std::optional<weights::File>& model, bool says_so) {
  torch::manual_seed(static_cast<uint64_t>(values["seed"].as<int>()));
  initialise(task.model(), parse_initialisation(values["initialisation"].as<std::string>()));
  const auto load = [&](const weights::File& file) {
    std::istringstream report(file.path.string() + ": " +
                              load_pretrained(task.model(), file).text());
    if (!says_so) return;
    for (std::string line; std::getline(report, line);) std::cerr << "hornet: " << line << '\n';
  };
  if (model) load(*model);
  if (values.count("pretrained")) load(weights::read(values["pretrained"].as<std::string>()));
}

int64_t parameters_of(torch::nn::Module& model) {
  int64_t count = 0;
  for (const torch::Tensor& parameter : model.parameters()) count += parameter.numel();
  return count;
}

void check_batch_size(int batch_size, const std::string& task, int processes) {
  if (task != "segment" || batch_size >= 2 * processes) return;
  throw Error(ErrorCode::kUsage,
              "--batch-size " + std::to_string(batch_size) +
                  ": segmentation takes at least 2 images a step" +
                  (processes > 1 ? " in each of " + std::to_string(processes) + " processes" : "") +
                  ", because the maps that its head pools to 1x1 are normalised over the batch");
}

void say_what_begins(const Trainer& trainer, TrainingTask& task, const TrainerOptions& options,
                     const ProcessTeam& team) {
  const std::string processes =
      team.size() > 1 ? std::to_string(team.size()) + " processes, each " : "";
  std::cerr << "hornet: training " << parameters_of(task.model()) << " parameters on "
            << task.size() << " images, from iteration " << trainer.iteration() << " to "
            << options.schedule.iterations << ", " << processes
            << Runtime(options.runtime).device_name() << '\n';
}

int train(const po::variables_map& values, const RuntimeOptions& runtime, const ProcessTeam& team) {
  choice(values, "dtype", {"fp32", "tf32", "bf16"});  // fp16 would need its losses scaled
  check_ranges(values);
  const std::string what = choice(values, "task", {"detect", "segment", "classify"});
  check_batch_size(values["batch-size"].as<int>(), what, team.size());
  const std::optional<weights::File> model = model_file(values);
  const TrainerOptions options =
      trainer_options(values, runtime, model.has_value() || values.count("pretrained"));
  check_task(values, what);
  if (team.leads()) check_output(values);
  const InterruptGuard guard;
  const auto make = what == "detect"    ? make_detection
                    : what == "segment" ? make_segmentation
                                        : make_classification;
  const std::unique_ptr<TrainingTask> task = make(values, model);
  const bool resumes = values["resume"].as<bool>();
  if (!resumes) load_weights(*task, values, model, team.leads());
  Trainer trainer(*task, options, team);
  const std::vector<std::string> changes = resumes ? trainer.resume() : std::vector<std::string>();
  if (team.leads()) remove_old_run(values);
  if (team.leads()) {
    for (const std::string& note : task->notes()) std::cerr << "hornet: " << note << '\n';
    for (const std::string& change : changes) std::cerr << "hornet: now " << change << '\n';
    say_what_begins(trainer, *task, options, team);
  }
  return trainer.run();
}

// A process that fails would leave the others waiting for it: all end, with its message. What all
// of them fail at is said once, by process 0, which has ended the others before they speak.
void end_together(const ProcessTeam& team, const Error& error) {
  if (team.size() == 1) throw error;
  std::string who;
  if (!team.leads()) {
    std::this_thread::sleep_for(std::chrono::seconds(2));
    who = "process " + std::to_string(team.rank()) + " of " + std::to_string(team.size()) + ": ";
  }
  std::cerr << "hornet: " << who << error.what() << std::endl;
  team.abort(static_cast<int>(error.code()));
}

}  // namespace

int run_train(int argc, char** argv) {
  const auto values = parse(train_command(), argc, argv);
  if (!values) return 0;
  RuntimeOptions runtime = runtime_options(*values);
  const ProcessTeam team = join_team(runtime);
  int code = 0;
  try {
    translate_errors([&] { code = train(*values, runtime, team); });
  } catch (const Error& error) {
    end_together(team, error);
  }
  return code;
}

}  // namespace hornet::cli
