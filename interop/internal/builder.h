// Adds nodes to a graph, taking the weights of each from a checkpoint and ticking them off.
#pragma once

#include <hornet/backbone/weights/tensor_file.h>
#include <hornet/interop/graph.h>

#include <set>
#include <string>
#include <vector>

namespace hornet::graph::internal {

// One factor and one summand per channel.
struct Affine {
  std::vector<float> scale, shift;
};

// y = affine(convolution(x)) as one convolution.
void fold(Convolution& conv, const Affine& affine);
void fold(Convolution& conv, const std::vector<float>& scale);

class Builder {
 public:
  explicit Builder(const weights::File& file) : file_(file) {}

  bool has(const std::string& key) const { return file_.tensors.count(key) > 0; }
  // How many of prefix0suffix, prefix1suffix, ... there are.
  int count(const std::string& prefix, const std::string& suffix) const;
  // Size of dimension `dim` of a tensor that must be there.
  int64_t size(const std::string& key, size_t dim) const;
  int64_t channels(Value value) const { return channels_[value]; }

  Value add(const std::string& name, Operation operation, std::vector<Value> inputs,
            int64_t channels);

  // prefix.weight [out, in / groups, k, k] (or [out, in] for k = 1) and prefix.bias where it is.
  Convolution convolution(const std::string& prefix, int64_t in, int kernel, int groups = 1);
  // prefix.weight and prefix.bias [channels].
  LayerNorm layer_norm(const std::string& prefix, int64_t channels);
  // Batch norm in evaluation mode.
  Affine batch_norm(const std::string& prefix, int64_t channels);
  std::vector<float> vector(const std::string& key, int64_t size);
  Constant constant(const std::string& key, const std::vector<int64_t>& shape);

  Value conv(const std::string& prefix, Value x, Convolution convolution);
  Value norm(const std::string& prefix, Value x);
  Value slice(const std::string& name, Value x, int64_t begin, int64_t end);
  Value resize(const std::string& name, Value x, Value like, bool bilinear);
  Value sum(const std::string& name, Value a, Value b);
  Value product(const std::string& name, Value a, Value b);
  Value concat(const std::string& name, const std::vector<Value>& parts);
  // The same node under the name of an output.
  void output(const std::string& name, Value value);

  // Checks that nothing of the checkpoint is left over, but for what `skipped` starts with.
  Graph finish(const std::vector<std::string>& skipped);

  [[noreturn]] void fail(const std::string& what) const;

 private:
  const weights::File& file_;
  std::set<std::string> used_;
  std::vector<int64_t> channels_;
  Graph graph_;
};

}  // namespace hornet::graph::internal
