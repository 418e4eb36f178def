#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/internal/output.h>
#include <hornet/interop/fourier.h>
#include <hornet/interop/onnx_model.h>
#include <onnx/onnx_pb.h>

#include <limits>
#include <set>
#include <sstream>

namespace hornet::graph {
namespace {

constexpr int kFirstOpset = 12, kLastOpset = 17;  // our operations mean the same in all of them
constexpr int kIrVersion = 7;                     // what OpenCV 4.6 reads
constexpr float kLayerNormEps = 1e-6f, kSqrt2 = 1.41421356f;
constexpr int64_t kFormatLimit = std::numeric_limits<int32_t>::max();

using Names = std::vector<std::string>;
using Integers = std::vector<int64_t>;

// Lowers the graph's operations, one visit each, to ONNX's.
class OnnxWriter {
 public:
  OnnxWriter(const Graph& graph, const OnnxOptions& options)
      : graph_(graph),
        options_(options),
        shapes_(infer_shapes(graph, options.height, options.width)) {
    if (options.opset < kFirstOpset || options.opset > kLastOpset) {
      throw Error(ErrorCode::kUsage, "opset " + std::to_string(options.opset) +
                                         ": expected 12 (which OpenCV 4.6 reads) to 17");
    }
    model_.set_ir_version(kIrVersion);
    model_.set_producer_name("HorNet C++");
    model_.add_opset_import()->set_version(options.opset);
    out_ = model_.mutable_graph();
    out_->set_name("hornet");
  }

  const ::onnx::ModelProto& run() {
    for (current_ = 0; current_ < graph_.nodes.size(); ++current_) {
      std::visit(*this, graph_.nodes[current_].operation);
      expect_bytes(0);
    }
    for (const Value value : graph_.outputs) describe(out_->add_output(), value);
    return model_;
  }

  void operator()(const Input&) { describe(out_->add_input(), current_); }
  void operator()(const Relu&) { node("Relu", {in()}, name()); }
  void operator()(const Add&) { node("Add", {in(0), in(1)}, name()); }
  void operator()(const Multiply&) { node("Mul", {in(0), in(1)}, name()); }
  void operator()(const Flatten&) { set(node("Flatten", {in()}, name()), "axis", 1); }
  void operator()(const Convolution& conv);
  void operator()(const LayerNorm& norm);
  void operator()(const Gelu&);
  void operator()(const Slice& slice);
  void operator()(const Concat&);
  void operator()(const Interleave&);
  void operator()(const GlobalFilter& filter);
  void operator()(const Resize& resize);
  void operator()(const AdaptivePool& pool);
  void operator()(const Subsample&);

 private:
  const std::string& name() const { return graph_.nodes[current_].name; }
  const std::string& in(size_t i = 0) const {
    return graph_.nodes[graph_.nodes[current_].inputs[i]].name;
  }
  const Shape& shape_in(size_t i = 0) const { return shapes_[graph_.nodes[current_].inputs[i]]; }

  ::onnx::NodeProto* node(const std::string& type, const Names& inputs, const std::string& output);
  static void set(::onnx::NodeProto* node, const char* key, int64_t value);
  static void set(::onnx::NodeProto* node, const char* key, const Integers& values);
  static void set(::onnx::NodeProto* node, const char* key, const std::string& value);

  // A constant under a name; one that is there already is used again.
  std::string constant(const std::string& name, const Integers& shape,
                       const std::vector<float>& values);
  std::string constant(const std::string& name, const Integers& values);
  std::string scalar(const std::string& name, float value) { return constant(name, {}, {value}); }

  // Steps inside an operation; results are named after it.
  std::string step(const std::string& type, const Names& inputs, const char* suffix) {
    node(type, inputs, name() + suffix);
    return name() + suffix;
  }
  std::string transpose(const std::string& x, const Integers& order, const std::string& result) {
    set(node("Transpose", {x}, result), "perm", order);
    return result;
  }
  std::string swap_sides(const std::string& x, const char* suffix) {
    return transpose(x, {0, 1, 3, 2}, name() + suffix);
  }
  std::string slice_axis(const std::string& x, int64_t axis, int64_t begin, int64_t end,
                         const std::string& result);
  std::string join(const Names& parts, int64_t axis, const std::string& result);
  std::string channel_mean(const std::string& x, const std::string& result);
  std::string size_of(const Shape& shape, const std::string& like);
  void describe(::onnx::ValueInfoProto* info, Value value);
  // Throws if the file cannot hold so much more.
  void expect_bytes(int64_t more) const;

  const Graph& graph_;
  OnnxOptions options_;
  std::vector<Shape> shapes_;
  ::onnx::ModelProto model_;
  ::onnx::GraphProto* out_;
  std::set<std::string> constants_;
  int64_t constant_bytes_ = 0;
  Value current_ = 0;
};

::onnx::NodeProto* OnnxWriter::node(const std::string& type, const Names& inputs,
                                    const std::string& output) {
  ::onnx::NodeProto* node = out_->add_node();
  node->set_name(output);
  node->set_op_type(type);
  for (const std::string& input : inputs) node->add_input(input);
  node->add_output(output);
  return node;
}

void OnnxWriter::set(::onnx::NodeProto* node, const char* key, int64_t value) {
  ::onnx::AttributeProto* attribute = node->add_attribute();
  attribute->set_name(key);
  attribute->set_type(::onnx::AttributeProto::INT);
  attribute->set_i(value);
}

void OnnxWriter::set(::onnx::NodeProto* node, const char* key, const Integers& values) {
  ::onnx::AttributeProto* attribute = node->add_attribute();
  attribute->set_name(key);
  attribute->set_type(::onnx::AttributeProto::INTS);
  for (const int64_t value : values) attribute->add_ints(value);
}

void OnnxWriter::set(::onnx::NodeProto* node, const char* key, const std::string& value) {
  ::onnx::AttributeProto* attribute = node->add_attribute();
  attribute->set_name(key);
  attribute->set_type(::onnx::AttributeProto::STRING);
  attribute->set_s(value);
}

std::string OnnxWriter::constant(const std::string& name, const Integers& shape,
                                 const std::vector<float>& values) {
  if (!constants_.insert(name).second) return name;
  ::onnx::TensorProto* tensor = out_->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(::onnx::TensorProto::FLOAT);
  for (const int64_t size : shape) tensor->add_dims(size);
  tensor->set_raw_data(values.data(), values.size() * sizeof(float));
  constant_bytes_ += static_cast<int64_t>(values.size() * sizeof(float));
  return name;
}

std::string OnnxWriter::constant(const std::string& name, const Integers& values) {
  if (!constants_.insert(name).second) return name;
  ::onnx::TensorProto* tensor = out_->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(::onnx::TensorProto::INT64);
  tensor->add_dims(static_cast<int64_t>(values.size()));
  tensor->set_raw_data(values.data(), values.size() * sizeof(int64_t));
  return name;
}

std::string OnnxWriter::slice_axis(const std::string& x, int64_t axis, int64_t begin, int64_t end,
                                   const std::string& result) {
  const auto number = [this](int64_t value) {
    return constant("number." + std::to_string(value), {value});
  };
  node("Slice", {x, number(begin), number(end), number(axis)}, result);
  return result;
}

std::string OnnxWriter::join(const Names& parts, int64_t axis, const std::string& result) {
  set(node("Concat", parts, result), "axis", axis);
  return result;
}

void OnnxWriter::operator()(const Convolution& conv) {
  const int64_t kernel = conv.weight.shape[2], pad = conv.padding, stride = conv.stride;
  ::onnx::NodeProto* out =
      node("Conv",
           {in(), constant(name() + ".weight", conv.weight.shape, conv.weight.values),
            constant(name() + ".bias", conv.bias.shape, conv.bias.values)},
           name());
  set(out, "kernel_shape", Integers{kernel, kernel});
  set(out, "strides", Integers{stride, stride});
  set(out, "pads", Integers{pad, pad, pad, pad});
  set(out, "group", int64_t{conv.groups});
}

// The mean over the last axis of a map with its channels last. OpenCV takes a single pixel's mean
// for a number and will not repeat it by itself: then it is spread over the channels.
std::string OnnxWriter::channel_mean(const std::string& x, const std::string& result) {
  const auto& [channels, height, width] = shapes_[current_];
  if (height > 1 || width > 1) {
    set(node("ReduceMean", {x}, result), "axes", Integers{-1});
    return result;
  }
  const std::string count = std::to_string(channels);
  const std::vector<float> share(channels, 1.0f / static_cast<float>(channels));
  node("MatMul", {x, constant("mean." + count, {channels, 1}, share)}, result + ".one");
  const std::vector<float> ones(channels, 1.0f);
  node("MatMul", {result + ".one", constant("spread." + count, {1, channels}, ones)}, result);
  return result;
}

// As a mean over the last axis, which every runtime knows; weight and bias in the maps' own order,
// the only one in which OpenCV repeats them over the right axis.
void OnnxWriter::operator()(const LayerNorm& norm) {
  const std::string x = transpose(in(), {0, 2, 3, 1}, name() + ".last");
  const std::string centred = step("Sub", {x, channel_mean(x, name() + ".mean")}, ".centred");
  const std::string variance =
      channel_mean(step("Mul", {centred, centred}, ".squared"), name() + ".variance");
  const std::string deviation =
      step("Sqrt", {step("Add", {variance, scalar("layer_norm.eps", kLayerNormEps)}, ".eps")},
           ".deviation");
  const std::string unit =
      transpose(step("Div", {centred, deviation}, ".unit"), {0, 3, 1, 2}, name() + ".first");
  const Integers shape = {norm.weight.shape[0], 1, 1};
  const std::string scaled =
      step("Mul", {unit, constant(name() + ".weight", shape, norm.weight.values)}, ".scaled");
  node("Add", {scaled, constant(name() + ".bias", shape, norm.bias.values)}, name());
}

void OnnxWriter::operator()(const Gelu&) {
  const std::string erf = step("Erf", {step("Div", {in(), scalar("sqrt2", kSqrt2)}, ".z")}, ".erf");
  const std::string twice =
      step("Mul", {in(), step("Add", {erf, scalar("one", 1.0f)}, ".phi")}, ".twice");
  node("Mul", {twice, scalar("half", 0.5f)}, name());
}

void OnnxWriter::operator()(const Slice& slice) {
  slice_axis(in(), 1, slice.begin, slice.end, name());
}

void OnnxWriter::operator()(const Concat&) {
  Names parts;
  for (const Value value : graph_.nodes[current_].inputs) parts.push_back(graph_.nodes[value].name);
  join(parts, 1, name());
}

void OnnxWriter::operator()(const Interleave&) {
  const auto& [channels, height, width] = shapes_[current_];
  const auto reshape = [&](const std::string& x, const Integers& shape, const char* suffix) {
    std::ostringstream key;
    key << "shape";
    for (const int64_t size : shape) key << '.' << size;
    return step("Reshape", {x, constant(key.str(), shape)}, suffix);
  };
  const std::string both = join({in(0), in(1)}, 1, name() + ".halves");
  const std::string pairs = transpose(reshape(both, {0, 2, channels / 2, height, width}, ".two"),
                                      {0, 2, 1, 3, 4}, name() + ".pairs");
  reshape(pairs, {0, channels, height, width}, "");
}

// Rows, then columns, the filter, and back (fourier.h). In between, maps lie on their side, real
// and imaginary parts one after the other.
void OnnxWriter::operator()(const GlobalFilter& filter) {
  const auto& [channels, height, width] = shapes_[current_];
  const int64_t half = width / 2 + 1;
  const std::string size = std::to_string(height) + "x" + std::to_string(width);
  expect_bytes(4 * (4 * width * half + 8 * height * height + 2 * channels * half * height));
  const FourierMatrices dft = fourier_matrices(height, width);
  const std::string real = constant("dft." + size + ".real", {width, half}, dft.real);
  const std::string imaginary =
      constant("dft." + size + ".imaginary", {width, half}, dft.imaginary);
  const std::string forward =
      constant("dft." + size + ".forward", {2 * height, 2 * height}, dft.forward);
  const std::string inverse =
      constant("dft." + size + ".inverse", {2 * height, 2 * height}, dft.inverse);

  const Constant spectrum = interpolate_filter(filter.weight, height, width);
  std::vector<float> k[2];  // real and imaginary part as [C, half, height]
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t x = 0; x < half; ++x) {
      for (int64_t y = 0; y < height; ++y) {
        const float* value = &spectrum.values[((c * height + y) * half + x) * 2];
        k[0].push_back(value[0]);
        k[1].push_back(value[1]);
      }
    }
  }
  const Integers shape = {channels, half, height};
  const std::string kr = constant(name() + ".real", shape, k[0]);
  const std::string ki = constant(name() + ".imaginary", shape, k[1]);

  const std::string sideways =
      join({swap_sides(step("MatMul", {in(), real}, ".row_re"), ".column_re"),
            swap_sides(step("MatMul", {in(), imaginary}, ".row_im"), ".column_im")},
           3, name() + ".columns");
  const std::string f = step("MatMul", {sideways, forward}, ".spectrum");
  const std::string re = slice_axis(f, 3, 0, height, name() + ".re");
  const std::string im = slice_axis(f, 3, height, 2 * height, name() + ".im");
  const std::string filtered_re = step(
      "Sub", {step("Mul", {re, kr}, ".re_re"), step("Mul", {im, ki}, ".im_im")}, ".filtered_re");
  const std::string filtered_im = step(
      "Add", {step("Mul", {re, ki}, ".re_im"), step("Mul", {im, kr}, ".im_re")}, ".filtered_im");
  const std::string back =
      step("MatMul", {join({filtered_re, filtered_im}, 3, name() + ".filtered"), inverse}, ".back");
  const std::string back_re =
      swap_sides(slice_axis(back, 3, 0, height, name() + ".back_re"), ".rows_re");
  const std::string back_im =
      swap_sides(slice_axis(back, 3, height, 2 * height, name() + ".back_im"), ".rows_im");
  node("Add",
       {step("MatMul",
             {back_re, constant("dft." + size + ".from_real", {half, width}, dft.from_real)},
             ".from_re"),
        step("MatMul",
             {back_im,
              constant("dft." + size + ".from_imaginary", {half, width}, dft.from_imaginary)},
             ".from_im")},
       name());
}

// [N, C, height, width] as a tensor of four numbers; N is taken from `like` where it is not 1.
std::string OnnxWriter::size_of(const Shape& shape, const std::string& like) {
  const std::string sides = std::to_string(shape.channels) + "x" + std::to_string(shape.height) +
                            "x" + std::to_string(shape.width);
  if (!options_.dynamic_batch) {
    return constant("size.1x" + sides, {1, shape.channels, shape.height, shape.width});
  }
  const std::string whole = step("Shape", {like}, ".shape");
  const std::string batch = slice_axis(whole, 0, 0, 1, name() + ".batch");
  return join({batch, constant("size.Nx" + sides, {shape.channels, shape.height, shape.width})}, 0,
              name() + ".size");
}

void OnnxWriter::operator()(const Resize& resize) {
  const std::string none = constant("none", {0}, {});
  ::onnx::NodeProto* out =
      node("Resize", {in(), none, none, size_of(shapes_[current_], in())}, name());
  set(out, "mode", std::string(resize.bilinear ? "linear" : "nearest"));
  set(out, "coordinate_transformation_mode",
      std::string(resize.bilinear ? "half_pixel" : "asymmetric"));
  if (!resize.bilinear) set(out, "nearest_mode", std::string("floor"));
}

// Bins of unequal sizes as matrix products; the mean of everything has an operation of its own.
void OnnxWriter::operator()(const AdaptivePool& pool) {
  if (pool.bins == 1) {
    node("GlobalAveragePool", {in()}, name());
    return;
  }
  const auto matrix = [&](int64_t size) {
    const std::vector<float> rows = pooling_matrix(size, pool.bins);
    std::vector<float> columns;
    for (int64_t i = 0; i < size; ++i) {
      for (int64_t bin = 0; bin < pool.bins; ++bin) columns.push_back(rows[bin * size + i]);
    }
    return constant("pool." + std::to_string(size) + "to" + std::to_string(pool.bins),
                    {size, pool.bins}, columns);
  };
  const std::string rows = step("MatMul", {in(), matrix(shape_in().width)}, ".rows");
  const std::string columns =
      step("MatMul", {swap_sides(rows, ".side"), matrix(shape_in().height)}, ".columns");
  swap_sides(columns, "");
}

void OnnxWriter::operator()(const Subsample&) {
  ::onnx::NodeProto* out = node("MaxPool", {in()}, name());
  set(out, "kernel_shape", Integers{1, 1});
  set(out, "strides", Integers{2, 2});
}

void OnnxWriter::describe(::onnx::ValueInfoProto* info, Value value) {
  info->set_name(graph_.nodes[value].name);
  ::onnx::TypeProto_Tensor* type = info->mutable_type()->mutable_tensor_type();
  type->set_elem_type(::onnx::TensorProto::FLOAT);
  ::onnx::TensorShapeProto* shape = type->mutable_shape();
  ::onnx::TensorShapeProto_Dimension* batch = shape->add_dim();
  if (options_.dynamic_batch) {
    batch->set_dim_param("batch");
  } else {
    batch->set_dim_value(1);
  }
  shape->add_dim()->set_dim_value(shapes_[value].channels);
  if (std::holds_alternative<Flatten>(graph_.nodes[value].operation)) return;
  shape->add_dim()->set_dim_value(shapes_[value].height);
  shape->add_dim()->set_dim_value(shapes_[value].width);
}

void OnnxWriter::expect_bytes(int64_t more) const {
  constexpr int64_t kNodeBytes = 1024;  // names and attributes, generously
  if (constant_bytes_ + more + kNodeBytes * out_->node_size() < kFormatLimit) return;
  throw Error(ErrorCode::kUsage, "at " + std::to_string(options_.width) + "x" +
                                     std::to_string(options_.height) +
                                     " the network's constants exceed the 2 GiB that an ONNX file "
                                     "holds; export it for a smaller size");
}

}  // namespace

void write_onnx(const Graph& graph, const std::filesystem::path& path, const OnnxOptions& options) {
  OnnxWriter writer(graph, options);
  std::string bytes;
  if (!writer.run().SerializeToString(&bytes)) {
    throw Error(ErrorCode::kRuntime, path.string() + ": protobuf could not serialise the network");
  }
  weights::internal::OutputFile file(path);
  file.write(bytes.data(), bytes.size());
  file.commit();
}

}  // namespace hornet::graph
