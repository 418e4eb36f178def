// What plans fold into the weights of linear layers, in float64.
#pragma once

#include <ATen/ATen.h>
#include <hornet/backbone/plan/weight_watch.h>

namespace hornet::plan {

inline at::Tensor wide(const at::Tensor& weight) { return weight.to(at::kDouble); }

// A linear layer, into which others are folded.
struct Linear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out]
};

inline Linear linear(WeightWatch& watch, const at::Tensor& weight, const at::Tensor& bias) {
  return {wide(watch.add(weight)).flatten(1), wide(watch.add(bias))};
}

// linear(norm_weight * x + norm_bias)
inline Linear after_norm(const Linear& layer, const at::Tensor& norm_weight,
                         const at::Tensor& norm_bias) {
  return {layer.weight * wide(norm_weight), layer.bias + layer.weight.mv(wide(norm_bias))};
}

// scale * linear(x)
inline Linear scaled(const Linear& layer, const at::Tensor& scale) {
  if (!scale.defined()) return layer;
  return {layer.weight * wide(scale).unsqueeze(1), layer.bias * wide(scale)};
}

// A convolution without padding, [out, in, k, k], of norm_weight * x + norm_bias.
inline Linear convolution_after_norm(const at::Tensor& weight, const at::Tensor& bias,
                                     const at::Tensor& norm_weight, const at::Tensor& norm_bias) {
  return {wide(weight) * wide(norm_weight).view({1, -1, 1, 1}),
          wide(bias) + wide(weight).sum({2, 3}).mv(wide(norm_bias))};
}

}  // namespace hornet::plan
