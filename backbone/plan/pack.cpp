#include <ATen/ATen.h>
#include <hornet/backbone/ops/global_filter.h>
#include <hornet/backbone/plan/pack.h>

#include <algorithm>

namespace hornet::plan {
namespace {

at::Tensor floats(const at::Tensor& values) { return values.to(at::kFloat).contiguous(); }

AlignedBuffer zeros(int64_t size) {
  AlignedBuffer buffer(size);
  std::fill_n(buffer.data(), size, 0.f);
  return buffer;
}

AlignedBuffer padded(const at::Tensor& values, int64_t size) {
  AlignedBuffer buffer = zeros(size);
  if (values.defined()) {
    const at::Tensor source = floats(values);
    std::copy_n(source.const_data_ptr<float>(), source.numel(), buffer.data());
  }
  return buffer;
}

}  // namespace

PackedMatrix pack_matrix(const Kernels& kernels, const at::Tensor& weight, const at::Tensor& bias) {
  PackedMatrix matrix;
  matrix.outputs = weight.size(0);
  matrix.inputs = weight.size(1);
  const int64_t panel = kernels.panel, columns = round_up(matrix.outputs, panel);
  matrix.panels = zeros(columns * matrix.inputs);
  matrix.bias = padded(bias, columns);
  const at::Tensor source = floats(weight);
  const float* value = source.const_data_ptr<float>();
  for (int64_t j = 0; j < matrix.outputs; ++j) {
    float* to = matrix.panels.data() + j / panel * panel * matrix.inputs + j % panel;
    for (int64_t k = 0; k < matrix.inputs; ++k) to[k * panel] = *value++;
  }
  return matrix;
}

Depthwise pack_depthwise(const Kernels& kernels, const at::Tensor& weight, const at::Tensor& bias) {
  Depthwise conv;
  conv.channels = weight.size(0);
  conv.kernel = weight.size(2);
  conv.stride = round_up(conv.channels, kernels.lanes);
  const int64_t taps = conv.kernel * conv.kernel;
  conv.weights = zeros(taps * conv.stride);
  conv.bias = padded(bias, conv.stride);
  const at::Tensor source = floats(weight);
  const float* value = source.const_data_ptr<float>();
  for (int64_t c = 0; c < conv.channels; ++c) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      conv.weights.data()[tap * conv.stride + c] = *value++;
    }
  }
  return conv;
}

AlignedBuffer pack_vector(const Kernels& kernels, const at::Tensor& values) {
  return padded(values, round_up(values.numel(), kernels.lanes));
}

// The transforms are unscaled and the rows' spectra come doubled: 1 / 2HW in all.
Filter make_filter(const Kernels& kernels, const at::Tensor& complex_weight, MapSize size) {
  Filter filter;
  filter.size = size;
  filter.channels = complex_weight.size(0);
  filter.rows = make_fourier_plan(size.width);
  filter.columns = make_fourier_plan(size.height);
  const double scale = 0.5 / static_cast<double>(size.height * size.width);
  const int64_t lanes = kernels.lanes, columns = size.width / 2 + 1;
  const int64_t blocks = round_up(filter.channels, lanes) / lanes;
  filter.spectrum = zeros(blocks * columns * size.height * 2 * lanes);
  // [columns, H, 2, C]
  const at::Tensor source = floats(
      ops::interpolate_filter(complex_weight, size.height, size.width).permute({2, 1, 3, 0}) *
      scale);
  const float* value = source.const_data_ptr<float>();
  const int64_t points = columns * size.height * 2;
  for (int64_t point = 0; point < points; ++point) {
    for (int64_t c = 0; c < filter.channels; ++c) {
      filter.spectrum.data()[(c / lanes * points + point) * lanes + c % lanes] = *value++;
    }
  }
  return filter;
}

}  // namespace hornet::plan
