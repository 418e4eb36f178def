// Weights in the form that the kernels read, made from tensors of a module. What is folded into
// them is folded in float64.
#pragma once

#include <hornet/backbone/plan/fold.h>
#include <hornet/backbone/plan/kernels.h>

namespace hornet::plan {

inline int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// weight [outputs, inputs] (any floating type, any strides), bias [outputs] or undefined. As the
// operands of `kernels`: bf16 are rounded.
PackedMatrix pack_matrix(const Kernels& kernels, const at::Tensor& weight, const at::Tensor& bias);
inline PackedMatrix pack_matrix(const Kernels& kernels, const Linear& layer) {
  return pack_matrix(kernels, layer.weight, layer.bias);
}

inline int64_t floats_of(const PackedMatrix& matrix) {
  return matrix.panels.size() + matrix.bias.size();
}

// weight [C,1,k,k], bias [C] or undefined.
Depthwise pack_depthwise(const Kernels& kernels, const at::Tensor& weight, const at::Tensor& bias);

// A vector of channels, followed by zeros up to a whole vector.
AlignedBuffer pack_vector(const Kernels& kernels, const at::Tensor& values);

// complex_weight [C,h,w,2], resized to a map's size.
Filter make_filter(const Kernels& kernels, const at::Tensor& complex_weight, MapSize size);

}  // namespace hornet::plan
