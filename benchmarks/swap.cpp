// The same network by every way that C++ has to it: LibTorch's modules, a cv::dnn::Net made from
// the checkpoint, and OpenCV's importer on the exported ONNX file, in turns.
//
//   bench_swap MODEL SIZE FOLDER [ROUNDS]
//
// MODEL is a published architecture; its random weights and its export are left in FOLDER. Prints
// one line of JSON: medians in milliseconds, and how far the results are from LibTorch's.
#include <hornet/backbone/weights/checkpoint.h>
#include <hornet/heads/model.h>
#include <hornet/heads/random_weights.h>
#include <hornet/interop/network.h>
#include <hornet/interop/onnx_model.h>
#include <hornet/interop/opencv_net.h>
#include <hornet/pipelines/measure.h>
#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <filesystem>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hornet {
namespace {

namespace fs = std::filesystem;

struct Way {
  std::string name;
  std::function<torch::Tensor()> run;
};

torch::Tensor to_tensor(const cv::Mat& mat) {
  const std::vector<int64_t> shape(mat.size.p, mat.size.p + mat.dims);
  return torch::from_blob(const_cast<float*>(mat.ptr<float>()), shape);
}

std::function<torch::Tensor()> run_net(cv::dnn::Net net, const cv::Mat& blob) {
  return [net, blob]() mutable {
    net.setInput(blob, "input");
    return to_tensor(net.forward());
  };
}

// The largest difference, as a share of the largest value.
double difference(const torch::Tensor& result, const torch::Tensor& expected) {
  return ((result - expected).abs().max() / expected.abs().max()).item<double>();
}

int run(const std::string& name, int size, const fs::path& folder, int rounds) {
  torch::manual_seed(1);
  AnyModel any = build_model(official_architecture(name));
  torch::nn::Module& module = as_module(any);
  randomise_weights(module);
  module.eval();
  const fs::path weights = folder / (name + ".safetensors"), exported = folder / (name + ".onnx");
  weights::save(module, weights);
  graph::write_onnx(graph::read_graph(weights::read(weights)), exported, {size, size});

  HorNetClassifier model = std::get<HorNetClassifier>(any);
  const torch::InferenceMode inference;
  const torch::Tensor input = torch::randn({1, 3, size, size});
  const cv::Mat blob(std::vector<int>{1, 3, size, size}, CV_32F, input.data_ptr());
  opencv::NetOptions options{{size, size}, graph::Pixels::kNormalised};
  const std::vector<Way> ways = {
      {"libtorch", [&] { return model->forward(input); }},
      {"opencv_make_net", run_net(opencv::make_net(weights, options), blob)},
      {"opencv_read_onnx", run_net(cv::dnn::readNet(exported.string()), blob)}};
  const torch::Tensor expected = ways.front().run().clone();
  nlohmann::ordered_json result = {{"model", name}, {"size", size}};
  std::vector<std::function<void()>> runs;
  for (const Way& way : ways) {
    result["error"][way.name] = difference(way.run(), expected);
    runs.push_back(way.run);
  }
  MeasureOptions turns;
  turns.seconds = 0;
  turns.least_runs = rounds;
  const std::vector<Durations> times = measure(runs, turns);
  for (size_t i = 0; i < ways.size(); ++i) result["median_ms"][ways[i].name] = times[i].median();
  std::cout << result.dump() << '\n';
  return 0;
}

}  // namespace
}  // namespace hornet

int main(int argc, char** argv) {
  if (argc < 4 || argc > 5) {
    std::cerr << "usage: bench_swap MODEL SIZE FOLDER [ROUNDS]\n";
    return 2;
  }
  try {
    return hornet::run(argv[1], std::stoi(argv[2]), argv[3], argc > 4 ? std::stoi(argv[4]) : 7);
  } catch (const std::exception& error) {
    std::cerr << "bench_swap: " << error.what() << '\n';
    return 1;
  }
}
