#include <hornet/backbone/error.h>
#include <hornet/interop/internal/builder.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace hornet::graph::internal {
namespace {

constexpr double kBatchNormEps = 1e-5;

std::string shape_text(const std::vector<int64_t>& shape) {
  std::ostringstream text;
  text << '[';
  for (size_t i = 0; i < shape.size(); ++i) text << (i ? "," : "") << shape[i];
  text << ']';
  return text.str();
}

bool starts_with(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

// A counter of BatchNorm's that inference has no use for.
bool is_counter(const std::string& key) {
  return key.find("num_batches_tracked") != std::string::npos;
}

}  // namespace

void fold(Convolution& conv, const Affine& affine) {
  const size_t out = conv.bias.values.size(), row = conv.weight.values.size() / out;
  for (size_t o = 0; o < out; ++o) {
    const double scale = affine.scale[o];
    for (size_t k = 0; k < row; ++k) {
      float& weight = conv.weight.values[o * row + k];
      weight = static_cast<float>(weight * scale);
    }
    conv.bias.values[o] = static_cast<float>(conv.bias.values[o] * scale + affine.shift[o]);
  }
}

void fold(Convolution& conv, const std::vector<float>& scale) {
  fold(conv, Affine{scale, std::vector<float>(scale.size(), 0.0f)});
}

void Builder::fail(const std::string& what) const {
  throw Error(ErrorCode::kWeights, file_.path.string() + " " + what);
}

int Builder::count(const std::string& prefix, const std::string& suffix) const {
  int n = 0;
  while (has(prefix + std::to_string(n) + suffix)) ++n;
  return n;
}

int64_t Builder::size(const std::string& key, size_t dim) const {
  const auto found = file_.tensors.find(key);
  if (found == file_.tensors.end()) fail("lacks '" + key + "'");
  const std::vector<int64_t>& shape = found->second.shape;
  if (dim >= shape.size() || shape[dim] < 1) {
    fail("has '" + key + "' of shape " + shape_text(shape) + ", which no HorNet has");
  }
  return shape[dim];
}

Constant Builder::constant(const std::string& key, const std::vector<int64_t>& shape) {
  const auto found = file_.tensors.find(key);
  if (found == file_.tensors.end()) {
    fail("lacks '" + key + "' of shape " + shape_text(shape));
  }
  if (found->second.shape != shape) {
    fail("has '" + key + "' of shape " + shape_text(found->second.shape) + "; expected " +
         shape_text(shape));
  }
  used_.insert(key);
  return {shape, weights::to_floats(found->second)};
}

std::vector<float> Builder::vector(const std::string& key, int64_t size) {
  return constant(key, {size}).values;
}

Convolution Builder::convolution(const std::string& prefix, int64_t in, int kernel, int groups) {
  const std::string key = prefix + ".weight";
  const int64_t out = size(key, 0);
  if (in % groups != 0) fail("has '" + key + "' for channels that cannot be split");
  std::vector<int64_t> shape = {out, in / groups, kernel, kernel};
  const auto found = file_.tensors.find(key);
  const bool linear =
      kernel == 1 && found != file_.tensors.end() && found->second.shape.size() == 2;
  Convolution conv;
  conv.weight = constant(key, linear ? std::vector<int64_t>{out, in} : shape);
  conv.weight.shape = shape;
  const bool biased = has(prefix + ".bias");
  conv.bias = biased ? constant(prefix + ".bias", {out})
                     : Constant{{out}, std::vector<float>(static_cast<size_t>(out), 0.0f)};
  conv.padding = kernel / 2;
  conv.groups = groups;
  return conv;
}

LayerNorm Builder::layer_norm(const std::string& prefix, int64_t channels) {
  return {constant(prefix + ".weight", {channels}), constant(prefix + ".bias", {channels})};
}

Affine Builder::batch_norm(const std::string& prefix, int64_t channels) {
  Affine affine{vector(prefix + ".weight", channels), vector(prefix + ".bias", channels)};
  const std::vector<float> mean = vector(prefix + ".running_mean", channels);
  const std::vector<float> variance = vector(prefix + ".running_var", channels);
  for (size_t c = 0; c < mean.size(); ++c) {
    const double scale = affine.scale[c] / std::sqrt(variance[c] + kBatchNormEps);
    affine.scale[c] = static_cast<float>(scale);
    affine.shift[c] = static_cast<float>(affine.shift[c] - mean[c] * scale);
  }
  return affine;
}

Value Builder::add(const std::string& name, Operation operation, std::vector<Value> inputs,
                   int64_t channels) {
  graph_.nodes.push_back({name, std::move(operation), std::move(inputs)});
  channels_.push_back(channels);
  return graph_.nodes.size() - 1;
}

Value Builder::conv(const std::string& prefix, Value x, Convolution convolution) {
  const int64_t out = convolution.weight.shape[0];
  return add(prefix, std::move(convolution), {x}, out);
}

Value Builder::norm(const std::string& prefix, Value x) {
  return add(prefix, layer_norm(prefix, channels(x)), {x}, channels(x));
}

Value Builder::slice(const std::string& name, Value x, int64_t begin, int64_t end) {
  return add(name, Slice{begin, end}, {x}, end - begin);
}

Value Builder::resize(const std::string& name, Value x, Value like, bool bilinear) {
  return add(name, Resize{bilinear}, {x, like}, channels(x));
}

Value Builder::sum(const std::string& name, Value a, Value b) {
  if (channels(a) != channels(b)) fail("has different channels on both sides of '" + name + "'");
  return add(name, Add{}, {a, b}, channels(a));
}

Value Builder::product(const std::string& name, Value a, Value b) {
  if (channels(a) != channels(b)) fail("has different channels on both sides of '" + name + "'");
  return add(name, Multiply{}, {a, b}, channels(a));
}

Value Builder::concat(const std::string& name, const std::vector<Value>& parts) {
  int64_t total = 0;
  for (const Value part : parts) total += channels(part);
  return add(name, Concat{}, parts, total);
}

void Builder::output(const std::string& name, Value value) {
  graph_.nodes[value].name = name;
  graph_.outputs.push_back(value);
}

Graph Builder::finish(const std::vector<std::string>& skipped) {
  for (const auto& item : file_.tensors) {
    const std::string& key = item.first;
    const bool known = used_.count(key) > 0 || is_counter(key) ||
                       std::any_of(skipped.begin(), skipped.end(), [&key](const std::string& part) {
                         return starts_with(key, part);
                       });
    if (!known) fail("has '" + key + "', which no HorNet network has");
  }
  return std::move(graph_);
}

}  // namespace hornet::graph::internal
