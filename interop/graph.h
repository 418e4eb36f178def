// A network as a list of operations: what a runtime other than LibTorch is told to do.
//
// read_graph() (network.h) makes one from a checkpoint, without LibTorch; make_net() (opencv_net.h)
// and write_onnx() (onnx_model.h) turn it into what their runtimes understand. A node's inputs
// stand before it in the list. Maps are float32 [N,C,H,W]; only the number of channels is part of a
// graph, sizes are inferred for an input by infer_shapes().
//
//   for (const hornet::graph::Node& node : graph.nodes) std::cout << node.name << '\n';
//
// What a checkpoint computes in steps that linear algebra can merge is merged: batch norms, layer
// scale and gnConv's constant factor are in the weights of the convolutions beside them.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace hornet::graph {

struct Constant {
  std::vector<int64_t> shape;
  std::vector<float> values;  // row-major
};

// Zero-padded by `padding` on all sides. weight [out, in / groups, k, k], bias [out].
struct Convolution {
  Constant weight, bias;
  int stride = 1, padding = 0, groups = 1;
};

// Over the channels of every pixel: biased variance, epsilon 1e-6; weight and bias [C].
struct LayerNorm {
  Constant weight, bias;
};

struct Gelu {};  // x * Phi(x), the exact one
struct Relu {};
struct Add {};       // of two equal shapes
struct Multiply {};  // of two equal shapes

// Channels begin ... end - 1.
struct Slice {
  int64_t begin = 0, end = 0;
};

struct Concat {};      // of the channels
struct Interleave {};  // two equally wide maps: a0, b0, a1, b1, ...

// irfft2(rfft2(x) * K), K being `weight` [C,h,w,2] interpolated to the map (ops/global_filter.h).
struct GlobalFilter {
  Constant weight;
};

// To the height and width of the second input. Nearest as in FPN, or bilinear without aligned
// corners.
struct Resize {
  bool bilinear = false;
};

// Means over bins: bins x bins values, bin i of n covering floor(i H / n) ... ceil((i + 1) H / n).
struct AdaptivePool {
  int bins = 1;
};

struct Subsample {};  // every second pixel, the first one included
struct Flatten {};    // [N,C,1,1] to [N,C]

struct Input {
  int64_t channels = 3;
};

using Operation =
    std::variant<Input, Convolution, LayerNorm, Gelu, Relu, Add, Multiply, Slice, Concat,
                 Interleave, GlobalFilter, Resize, AdaptivePool, Subsample, Flatten>;

using Value = size_t;  // a node's index: its result

struct Node {
  std::string name;  // unique; that of an output for the nodes that give one
  Operation operation;
  std::vector<Value> inputs;
};

struct Graph {
  std::vector<Node> nodes;     // the first is the input, called "input"
  std::vector<Value> outputs;  // named as `hornet forward` names them
};

struct Shape {
  int64_t channels = 0, height = 0, width = 0;
};

// The shape of every node's result for an input of height x width pixels. Error(kUsage) unless
// both are from 32 to 65536.
std::vector<Shape> infer_shapes(const Graph& graph, int64_t height, int64_t width);

// Bins or intervals of one axis as a matrix [bins, size] whose rows average: AdaptivePool's.
std::vector<float> pooling_matrix(int64_t size, int64_t bins);

}  // namespace hornet::graph
