// The global filter in plain numbers, for runtimes that have no LibTorch: the same results as
// backbone/ops/global_filter.h.
#pragma once

#include <hornet/interop/graph.h>

#include <vector>

namespace hornet::graph {

// A learned filter [C,h,w,2] at the size of a map, bilinear with aligned corners: [C, height,
// width / 2 + 1, 2].
Constant interpolate_filter(const Constant& weight, int64_t height, int64_t width);

// Discrete Fourier transforms, norm "ortho", as matrices for rows of numbers times a matrix. With
// w = width / 2 + 1 columns of the half spectrum:
struct FourierMatrices {
  std::vector<float> real, imaginary;  // of a real row's spectrum: [width, w] each
  std::vector<float> forward;          // of a complex row (real | imaginary): [2 n, 2 n]
  std::vector<float> inverse;          // back: [2 n, 2 n]
  // Of a real row from its half spectrum, [w, width] each. The imaginary parts of column 0, and of
  // the last one for an even width, count for nothing.
  std::vector<float> from_real, from_imaginary;
};

// Matrices for the rows (width) and the columns (n = height) of a map.
FourierMatrices fourier_matrices(int64_t height, int64_t width);

}  // namespace hornet::graph
