#include <hornet/backbone/error.h>
#include <hornet/interop/graph.h>

#include <algorithm>

namespace hornet::graph {
namespace {

constexpr int64_t kSmallest = 32, kLargest = 65536;  // pixels a side

// What an operation makes of its inputs' shapes.
struct ShapeOf {
  const std::vector<Shape>& in;
  Shape image;

  Shape operator()(const Input& input) const { return {input.channels, image.height, image.width}; }
  Shape operator()(const Convolution& conv) const {
    const auto side = [&conv](int64_t size) {
      return (size + 2 * conv.padding - conv.weight.shape[2]) / conv.stride + 1;
    };
    return {conv.weight.shape[0], side(in[0].height), side(in[0].width)};
  }
  Shape operator()(const Slice& slice) const {
    return {slice.end - slice.begin, in[0].height, in[0].width};
  }
  Shape operator()(const Concat&) const { return all_channels(); }
  Shape operator()(const Interleave&) const { return all_channels(); }
  Shape operator()(const Resize&) const { return {in[0].channels, in[1].height, in[1].width}; }
  Shape operator()(const AdaptivePool& pool) const {
    return {in[0].channels, pool.bins, pool.bins};
  }
  Shape operator()(const Subsample&) const {
    return {in[0].channels, (in[0].height + 1) / 2, (in[0].width + 1) / 2};
  }
  template <typename Other>
  Shape operator()(const Other&) const {
    return in[0];
  }

  Shape all_channels() const {
    Shape shape = in[0];
    for (size_t i = 1; i < in.size(); ++i) shape.channels += in[i].channels;
    return shape;
  }
};

}  // namespace

std::vector<Shape> infer_shapes(const Graph& graph, int64_t height, int64_t width) {
  if (std::min(height, width) < kSmallest || std::max(height, width) > kLargest) {
    throw Error(ErrorCode::kUsage,
                "a network of strides up to 32 needs inputs from 32x32 to 65536x65536, got " +
                    std::to_string(width) + "x" + std::to_string(height));
  }
  std::vector<Shape> shapes;
  for (const Node& node : graph.nodes) {
    std::vector<Shape> in;
    for (const Value value : node.inputs) in.push_back(shapes[value]);
    shapes.push_back(std::visit(ShapeOf{in, {0, height, width}}, node.operation));
  }
  return shapes;
}

std::vector<float> pooling_matrix(int64_t size, int64_t bins) {
  std::vector<float> matrix(bins * size, 0.0f);
  for (int64_t i = 0; i < bins; ++i) {
    const int64_t begin = i * size / bins, end = ((i + 1) * size + bins - 1) / bins;
    for (int64_t k = begin; k < end; ++k) {
      matrix[i * size + k] = 1.0f / static_cast<float>(end - begin);
    }
  }
  return matrix;
}

}  // namespace hornet::graph
