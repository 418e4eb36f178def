// What the program loses between a network and a file: the bare network on a raster's windows, and
// `hornet segment` on the raster, in turns.
//
//   bench_segment PROGRAM RASTER WORKING_FOLDER [MODEL [TILE [ROUNDS]]]
//
// MODEL is a published architecture with random weights. Both run the same windows, one at a time,
// in float32; the program's time is all of it, from its start to its end, with reading, resizing,
// adding up, and writing. Prints one line of JSON.
#include <hornet/backbone/weights/checkpoint.h>
#include <hornet/heads/model.h>
#include <hornet/pipelines/memory.h>
#include <hornet/pipelines/preprocess.h>
#include <hornet/pipelines/raster_reader.h>
#include <hornet/pipelines/segment_windows.h>
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

// The official pipeline's input for a window.
torch::Tensor input_of(RasterReader& raster, const cv::Rect& window) {
  return preprocess(raster.read(window).bgr, segmentation_preprocess(window.size())).input;
}

int run(const std::vector<std::string>& args) {
  const std::string program = args[0],
                    model_name = args.size() > 3 ? args[3] : "upernet_hornet_tiny_7x7";
  const fs::path folder = args[2];
  const int64_t tile = args.size() > 4 ? std::stoll(args[4]) : 512;
  const int rounds = args.size() > 5 ? std::stoi(args[5]) : 3;

  keep_freed_memory();  // as the program does
  torch::manual_seed(1);
  AnyModel any = build_model(official_architecture(model_name));
  as_module(any).eval();
  prepare_for_inference(as_module(any));
  UperNet model = std::get<UperNet>(any);
  const fs::path weights = folder / (model_name + ".safetensors");
  weights::save(as_module(any), weights);

  RasterReader raster(args[1], {});
  const Tiling tiling = make_tiling(raster.size(), {tile, tile * 2 / 3}, Blend::kMean);
  std::vector<torch::Tensor> inputs;
  for (int y : tiling.y.starts) {
    for (int x : tiling.x.starts) inputs.push_back(input_of(raster, {{x, y}, tiling.tile()}));
  }
  const std::string command = program + " segment --force --progress none --weights " +
                              weights.string() + " --input " + args[1] + " --output " +
                              (folder / "bench.tif").string() + " --tile " + std::to_string(tile) +
                              " --stride " + std::to_string(tile * 2 / 3) + " 2>/dev/null";
  const torch::InferenceMode inference;
  model->forward(inputs.front());
  const auto bare = [&] {
    for (const torch::Tensor& input : inputs) model->forward(input);
  };
  const Turns turns = take_turns(bare, {command}, rounds);
  const nlohmann::ordered_json result = {{"model", model_name},
                                         {"tile", tile},
                                         {"windows", inputs.size()},
                                         {"bare_seconds", turns.bare},
                                         {"program_seconds", turns.programs[0]},
                                         {"program_to_bare_throughput", turns.throughputs[0]}};
  std::cout << result.dump() << '\n';
  return 0;
}

}  // namespace
}  // namespace hornet

int main(int argc, char** argv) {
  return hornet::run_benchmark(
      argc, argv, 3, "bench_segment PROGRAM RASTER WORKING_FOLDER [MODEL [TILE [ROUNDS]]]",
      hornet::run);
}
