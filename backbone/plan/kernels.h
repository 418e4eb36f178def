// The arithmetic of the fast path, once per vector level. Maps are matrices of pixels: [rows, C]
// with `stride` floats from row to row, a row holding a pixel's channels. Nothing here allocates or
// starts threads; a call works on the rows, or the channels, that it is given.
//
// What matrix products multiply are operands: floats, or bf16 where that was asked for, two in the
// place of a float and zeros behind them up to a whole panel, `operand_floats` in all. Sums, and
// everything else, are floats.
//
// Vector loads may read up to a vector beyond a row's end, never write there: every matrix ends
// with slack (AlignedBuffer). Tensors of others do not; to_operands keeps to the rows it is given,
// and so does multiply to rows of floats.
#pragma once

#include <hornet/backbone/plan/aligned_buffer.h>
#include <hornet/backbone/plan/cpu_level.h>
#include <hornet/backbone/plan/fourier.h>

#include <vector>

namespace hornet::plan {

struct ConstRows {
  const float* data = nullptr;
  int64_t stride = 0;
  const float* row(int64_t i) const { return data + i * stride; }
};

struct Rows {
  float* data = nullptr;
  int64_t stride = 0;
  float* row(int64_t i) const { return data + i * stride; }
  operator ConstRows() const { return {data, stride}; }
};

// A weight matrix [inputs, outputs] of operands in panels of `panel` outputs, zeros behind the last
// one, and a bias, also padded. Linear layers and 1x1 convolutions hold it transposed.
struct PackedMatrix {
  int64_t inputs = 0, outputs = 0;
  int64_t depth = 0;  // floats that a column of inputs takes
  AlignedBuffer panels;
  AlignedBuffer bias;
};

enum class Epilogue {
  kStore,       // out = product + bias
  kGelu,        // out = gelu(product + bias), as operands
  kGate,        // out = (product + bias) * gate, as operands
  kAccumulate,  // out += product + bias
  kRelu,        // out = max(product + bias, 0)
};

// rows of operands `in` times inputs [input_begin, input_end) and outputs [output_begin,
// output_end) of a matrix. `in` starts at input_begin, `out` at output_begin. Both, and ends that
// are not the matrix's, are multiples of the panel.
struct Product {
  ConstRows in;
  int64_t rows = 0;
  const PackedMatrix* matrix = nullptr;
  Rows out;
  Epilogue epilogue = Epilogue::kStore;
  ConstRows gate = {};
  bool add_bias = true;
  int64_t input_begin = 0, input_end = 0;
  int64_t output_begin = 0, output_end = 0;
};

// A layer norm's affine part.
struct Norm {
  const float* weight = nullptr;
  const float* bias = nullptr;
};

// A depthwise convolution, stride 1, zero padding that keeps the size: 3x3 or 7x7, weights
// [kernel * kernel, stride], a bias or none.
struct Depthwise {
  int64_t kernel = 0, channels = 0;
  int64_t stride = 0;  // of weights: channels, rounded up to whole vectors
  AlignedBuffer weights;
  AlignedBuffer bias;
};

struct MapSize {
  int64_t height = 0, width = 0;
};

// Rows [y_begin, y_end) and channels [c_begin, c_end) of one image; c_begin is a multiple of the
// lanes.
struct DepthwiseRange {
  int64_t y_begin = 0, y_end = 0;
  int64_t c_begin = 0, c_end = 0;
};

// A global filter at one map size: its spectrum, scaled for the transforms here, as
// [blocks of lanes][W/2+1][H][real, imaginary][lanes], zeros for lanes behind the last channel.
struct Filter {
  MapSize size;
  int64_t channels = 0;
  FourierPlan rows, columns;  // of lengths W and H
  AlignedBuffer spectrum;
};

// Tiles of 2x2 outputs of a 3x3 convolution, counted row by row through all images of a size.
struct TileRange {
  MapSize size;
  int64_t first = 0, count = 0;
};

struct Weighted {
  const float* values;
  float weight;
};

// What multiplies operands or makes them.
struct ProductKernels {
  int64_t panel;   // outputs in a panel of a packed matrix
  int64_t packed;  // operands in the place of a float: 1, or 2 of bf16

  void (*multiply)(const Product& product);
  // Layer norm without an affine part.
  void (*normalise)(ConstRows in, int64_t rows, int64_t channels, Rows operands);
  void (*gate)(ConstRows values, ConstRows gates, int64_t rows, int64_t channels, Rows operands);
  void (*to_operands)(ConstRows in, int64_t rows, int64_t channels, Rows operands);
  // What 16 matrix products multiply, [16][tiles] rows of operands. `channels` of the inputs are
  // whole vectors.
  void (*winograd_inputs)(ConstRows images, const TileRange& range, int64_t channels,
                          float* operands);
};

struct Kernels : ProductKernels {
  int64_t lanes;  // floats in a vector

  void (*layer_norm)(ConstRows in, int64_t rows, int64_t channels, Norm norm, Rows out);
  // The two halves of a row normalised together and interleaved: out[2i] from the first half,
  // out[2i+1] from the second; weight and bias are in the order of `out`.
  void (*interleaved_layer_norm)(ConstRows in, int64_t rows, int64_t channels, Norm norm, Rows out);
  void (*depthwise)(const Depthwise& conv, ConstRows image, MapSize size,
                    const DepthwiseRange& range, Rows out);
  // Block `block` of channels of one image through a filter; `scratch` has filter_scratch() floats.
  void (*global_filter)(const Filter& filter, int64_t block, ConstRows image, Rows out,
                        float* scratch);
  // What becomes of Winograd's products, [16][tiles][channels].
  void (*winograd_outputs)(const float* products, const TileRange& range, int64_t channels,
                           const float* bias, bool relu, Rows out);
  // out += the weighted sum of the sources, and then max(out, 0) if `relu`.
  void (*add_weighted)(const Weighted* sources, int64_t count, int64_t channels, bool relu,
                       float* out);
};

// Floats that a row of `values` operands takes.
constexpr int64_t operand_floats(int64_t packed, int64_t panel, int64_t values) {
  return packed == 1 ? values : (values + panel - 1) / panel * panel / packed;
}
inline int64_t operand_floats(const ProductKernels& kernels, int64_t values) {
  return operand_floats(kernels.packed, kernels.panel, values);
}

// Floats that global_filter needs beside its arguments.
int64_t filter_scratch(const Kernels& kernels, const Filter& filter);

// Of matrix products' operands.
enum class Precision { kFloat32, kBfloat16 };

// What a processor of that level runs. One that does not multiply bf16 itself takes pairs apart,
// which is right and slower than float32.
const Kernels& kernels(CpuLevel level, Precision precision = Precision::kFloat32);

}  // namespace hornet::plan
