// What the program loses between a network and a video: the bare detector on a video's frames, and
// `hornet detect` on the video, in turns.
//
//   bench_video PROGRAM VIDEO WORKING_FOLDER MODEL [FRAMES [ROUNDS]]
//
// MODEL is a checkpoint, or a published architecture with random weights. Both run the first frames
// at the size that the model runs at by default, one at a time, in float32. The bare detector gets
// them decoded and preprocessed, and ends with boxes and the masks' probabilities; the program's
// time is all of it, from its start to its end, with decoding, masks in full, drawing, and
// encoding. Prints one line of JSON.
#include <hornet/backbone/error.h>
#include <hornet/backbone/inference.h>
#include <hornet/backbone/weights/checkpoint.h>
#include <hornet/heads/model.h>
#include <hornet/pipelines/memory.h>
#include <hornet/pipelines/model_defaults.h>
#include <hornet/pipelines/preprocess.h>
#include <hornet/pipelines/video.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "benchmarks/turns.h"

namespace hornet {
namespace {

namespace fs = std::filesystem;

// The checkpoint, or one of random weights for a published name.
fs::path checkpoint_of(const std::string& model, const fs::path& folder) {
  if (fs::is_regular_file(model)) return model;
  torch::manual_seed(1);
  AnyModel random = build_model(official_architecture(model));
  const fs::path file = folder / (model + ".safetensors");
  weights::save(as_module(random), file);
  return file;
}

struct Frames {
  cv::Size size;  // of the network's input
  std::vector<torch::Tensor> inputs;
  std::vector<std::vector<ImageSize>> sizes;
};

Frames read_frames(const std::string& video, int64_t count, cv::Size box) {
  const cv::Size official(1333, 800);
  const PreprocessOptions options = detection_preprocess(box.empty() ? official : box);
  VideoRange range;
  range.max_frames = count;
  VideoSource source(video, range);
  Frames frames;
  while (const std::optional<Frame> frame = source.read()) {
    const Preprocessed image = preprocess(frame->bgr, options);
    frames.inputs.push_back(image.input);
    frames.sizes.push_back({{image.image_size.height, image.image_size.width}});
    frames.size = image.image_size;
  }
  return frames;
}

int run(const std::vector<std::string>& args) {
  const std::string program = args[0], video = args[1], name = args[3];
  const fs::path folder = args[2], checkpoint = checkpoint_of(name, folder);
  const int64_t count = args.size() > 4 ? std::stoll(args[4]) : 200;
  const int rounds = args.size() > 5 ? std::stoi(args[5]) : 3;

  keep_freed_memory();  // as the program does
  LoadedModel loaded = load_model(weights::read(checkpoint));
  MaskRcnn model = std::get<MaskRcnn>(loaded.module);
  model->eval();
  // As `hornet detect` by default: what is weaker is no result.
  model->roi_head->options.score_threshold(0.3);
  prepare_for_inference(*model);
  const Frames frames = read_frames(video, count, default_size(loaded.meta).value_or(cv::Size()));

  if (frames.inputs.empty()) throw Error(ErrorCode::kInput, video + ": has no frames");

  const auto quoted = [](const std::string& path) { return "'" + path + "'"; };
  const std::string common = quoted(program) +
                             " detect --force --device cpu --progress none --weights " +
                             quoted(checkpoint.string()) + " --input " + quoted(video) +
                             " --max-frames " + std::to_string(count);
  const std::string json = common + " --json " + quoted((folder / "bench.jsonl").string());
  const std::string drawn = common + " --output " + quoted((folder / "bench.mp4").string());
  const torch::InferenceMode inference;
  model->forward(frames.inputs.front(), frames.sizes.front());
  const auto bare = [&] {
    for (size_t i = 0; i < frames.inputs.size(); ++i) {
      model->forward(frames.inputs[i], frames.sizes[i]);
    }
  };
  const Turns turns = take_turns(bare, {json, drawn}, rounds);
  const nlohmann::ordered_json result = {{"model", fs::path(name).filename().string()},
                                         {"width", frames.size.width},
                                         {"height", frames.size.height},
                                         {"frames", frames.inputs.size()},
                                         {"bare_seconds", turns.bare},
                                         {"json_seconds", turns.programs[0]},
                                         {"json_to_bare_throughput", turns.throughputs[0]},
                                         {"video_seconds", turns.programs[1]},
                                         {"video_to_bare_throughput", turns.throughputs[1]}};
  std::cout << result.dump() << '\n';
  return 0;
}

}  // namespace
}  // namespace hornet

int main(int argc, char** argv) {
  return hornet::run_benchmark(argc, argv, 4,
                               "bench_video PROGRAM VIDEO WORKING_FOLDER MODEL [FRAMES [ROUNDS]]",
                               hornet::run);
}
