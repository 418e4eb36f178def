#include <hornet/backbone/error.h>
#include <hornet/interop/internal/opencv_layers.h>
#include <hornet/interop/opencv_net.h>

#include <mutex>
#include <opencv2/dnn/layer.hpp>

namespace hornet::opencv {
namespace {

using cv::dnn::DictValue;
using cv::dnn::LayerParams;

// A copy: layers own their numbers.
cv::Mat to_blob(const graph::Constant& constant) {
  const std::vector<int> shape(constant.shape.begin(), constant.shape.end());
  cv::Mat blob(static_cast<int>(shape.size()), shape.data(), CV_32F);
  std::copy(constant.values.begin(), constant.values.end(), blob.ptr<float>());
  return blob;
}

DictValue array(std::vector<int> values) {
  return DictValue::arrayInt(values.data(), static_cast<int>(values.size()));
}

// What OpenCV calls an operation and its parameters.
struct LayerOf {
  LayerParams& params;

  std::string operator()(const graph::Convolution& conv) const {
    params.blobs = {to_blob(conv.weight), to_blob(conv.bias)};
    const bool depthwise = conv.groups > 1 && conv.groups == conv.weight.shape[0];
    if (depthwise && conv.stride == 1) return "HorNetDepthwise";
    params.set("kernel_size", static_cast<int>(conv.weight.shape[2]));
    params.set("stride", conv.stride);
    params.set("pad", conv.padding);
    params.set("group", conv.groups);
    params.set("num_output", static_cast<int>(conv.weight.shape[0]));
    params.set("bias_term", true);
    return "Convolution";
  }
  std::string operator()(const graph::LayerNorm& norm) const {
    params.blobs = {to_blob(norm.weight), to_blob(norm.bias)};
    return "HorNetLayerNorm";
  }
  std::string operator()(const graph::Gelu&) const { return "HorNetGelu"; }
  std::string operator()(const graph::Relu&) const { return "ReLU"; }
  std::string operator()(const graph::Add&) const { return eltwise("sum"); }
  std::string operator()(const graph::Multiply&) const { return eltwise("prod"); }
  std::string operator()(const graph::Slice& slice) const {
    params.set("begin", array({0, static_cast<int>(slice.begin)}));
    params.set("end", array({INT_MAX, static_cast<int>(slice.end)}));
    return "Slice";
  }
  std::string operator()(const graph::Concat&) const {
    params.set("axis", 1);
    return "Concat";
  }
  std::string operator()(const graph::GlobalFilter& filter) const {
    params.blobs = {to_blob(filter.weight)};
    return "HorNetGlobalFilter";
  }
  std::string operator()(const graph::Resize& resize) const {
    params.set("interpolation", resize.bilinear ? "opencv_linear" : "nearest");
    return "Resize";
  }
  std::string operator()(const graph::AdaptivePool& pool) const {
    params.set("bins", pool.bins);
    return "HorNetAdaptivePool";
  }
  std::string operator()(const graph::Subsample&) const {
    params.set("pool", "max");
    params.set("kernel_size", 1);
    params.set("stride", 2);
    params.set("ceil_mode", false);
    return "Pooling";
  }
  std::string operator()(const graph::Flatten&) const { return "Flatten"; }
  std::string operator()(const graph::Interleave&) const { return "Concat"; }
  std::string operator()(const graph::Input&) const { return ""; }

  std::string eltwise(const char* operation) const {
    params.set("operation", operation);
    return "Eltwise";
  }
};

class NetBuilder {
 public:
  void add(const graph::Node& node) {
    if (std::holds_alternative<graph::Input>(node.operation)) {
      net_.setInputsNames({node.name});
      layers_.push_back(0);
      return;
    }
    LayerParams params;
    const std::string type = std::visit(LayerOf{params}, node.operation);
    const bool interleave = std::holds_alternative<graph::Interleave>(node.operation);
    int layer =
        add_layer(interleave ? node.name + ".concat" : node.name, type, params, node.inputs);
    if (interleave) layer = add_shuffle(node.name, layer);
    layers_.push_back(layer);
  }

  cv::dnn::Net take() { return net_; }

 private:
  int add_layer(const std::string& name, const std::string& type, LayerParams& params,
                const std::vector<graph::Value>& inputs) {
    const int layer = net_.addLayer(name, type, params);
    for (size_t i = 0; i < inputs.size(); ++i) {
      net_.connect(layers_[inputs[i]], 0, layer, static_cast<int>(i));
    }
    return layer;
  }

  // Two halves, one after the other, become pairs.
  int add_shuffle(const std::string& name, int concatenated) {
    LayerParams params;
    params.set("group", 2);
    const int layer = net_.addLayer(name, "ShuffleChannel", params);
    net_.connect(concatenated, 0, layer, 0);
    return layer;
  }

  cv::dnn::Net net_;
  std::vector<int> layers_;  // of every value of the graph
};

}  // namespace

void register_layers() {
  static std::once_flag once;
  std::call_once(once, [] {
    using cv::dnn::LayerFactory;
    LayerFactory::registerLayer("HorNetLayerNorm", make_layer_norm);
    LayerFactory::registerLayer("HorNetGelu", make_gelu);
    LayerFactory::registerLayer("HorNetGlobalFilter", make_global_filter);
    LayerFactory::registerLayer("HorNetAdaptivePool", make_adaptive_pool);
    LayerFactory::registerLayer("HorNetDepthwise", make_depthwise);
  });
}

cv::dnn::Net make_net(const std::filesystem::path& checkpoint, const NetOptions& options) {
  register_layers();
  const graph::Graph graph = graph::read_graph(weights::read(checkpoint), options.pixels);
  NetBuilder builder;
  for (const graph::Node& node : graph.nodes) builder.add(node);
  cv::dnn::Net net = builder.take();
  net.setPreferableBackend(cv::dnn::DNN_BACKEND_OPENCV);
  if (!options.size.empty()) {
    graph::infer_shapes(graph, options.size.height, options.size.width);  // checks the size
    net.setInputShape("input", {1, 3, options.size.height, options.size.width});
  }
  return net;
}

}  // namespace hornet::opencv
