// A network as an ONNX file, for the runtimes that people already have: float32, by default opset
// 12, and nothing in it that OpenCV 4.6 cannot read. Global filters become constant real matrix
// products for the size of export: the same numbers, and no Fourier transform.
//
//   hornet::graph::Graph net =
//   hornet::graph::read_graph(hornet::weights::read("hornet_tiny_gf.pth"));
//   hornet::graph::write_onnx(net, "hornet_tiny_gf.onnx", {224, 224});
//
// One input "input" [N,3,H,W]; the outputs have the graph's names. What the network depends on is
// in the file: another size of input needs another export.
#pragma once

#include <hornet/interop/graph.h>

#include <filesystem>

namespace hornet::graph {

struct OnnxOptions {
  int64_t height = 0, width = 0;  // of the input, at least 32
  int opset = 12;                 // 12 to 17; OpenCV 4.6 reads 12
  bool dynamic_batch = false;     // N is named "batch" and may be anything; otherwise it is 1
};

// The file appears when it is complete. Error(kUsage) if size or opset do not do, or make the file
// larger than the 2 GiB that the format holds; Error(kOutput) if it cannot be written.
void write_onnx(const Graph& graph, const std::filesystem::path& path, const OnnxOptions& options);

}  // namespace hornet::graph
