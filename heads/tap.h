// A tap sees the tensors that flow between the stages of a model, by name, while it runs:
//
//   model->forward(images, sizes, [](const std::string& name, const torch::Tensor& value) {
//     std::cerr << name << ' ' << value.sizes() << '\n'; });
//
// Names are those that `hornet forward` writes (listed in the README). An empty Tap costs
// nothing, and what only a tap wants is not computed without one.
#pragma once

#include <torch/types.h>

#include <functional>
#include <string>

namespace hornet {

using Tap = std::function<void(const std::string& name, const torch::Tensor& value)>;

inline void tap_value(const Tap& tap, const std::string& name, const torch::Tensor& value) {
  if (tap) tap(name, value);
}

// maps[0] as prefix + "0", and so on.
inline void tap_all(const Tap& tap, const std::string& prefix,
                    const std::vector<torch::Tensor>& maps) {
  for (size_t i = 0; i < maps.size(); ++i) tap_value(tap, prefix + std::to_string(i), maps[i]);
}

}  // namespace hornet
