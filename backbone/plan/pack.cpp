#include <ATen/ATen.h>
#include <hornet/backbone/ops/global_filter.h>
#include <hornet/backbone/plan/pack.h>

#include <algorithm>
#include <cstring>

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

// weight [outputs of a panel, inputs] -> [inputs / group, panel, group] of `Value`.
template <typename Value>
void fill_panel(const at::Tensor& weight, int64_t panel, int64_t group, float* to) {
  const float* source = weight.const_data_ptr<float>();
  auto* bytes = reinterpret_cast<unsigned char*>(to);
  for (int64_t j = 0; j < weight.size(0); ++j) {
    for (int64_t k = 0; k < weight.size(1); ++k) {
      const auto value = static_cast<Value>(*source++);
      const int64_t index = (k / group * panel + j) * group + k % group;
      std::memcpy(bytes + index * sizeof(Value), &value, sizeof(Value));
    }
  }
}

}  // namespace

PackedMatrix pack_matrix(const Kernels& kernels, const at::Tensor& weight, const at::Tensor& bias) {
  PackedMatrix matrix;
  matrix.outputs = weight.size(0);
  matrix.inputs = weight.size(1);
  matrix.depth = operand_floats(kernels, matrix.inputs);
  const int64_t panel = kernels.panel, columns = round_up(matrix.outputs, panel);
  matrix.panels = zeros(columns * matrix.depth);
  matrix.bias = padded(bias, columns);
  for (int64_t j = 0; j < matrix.outputs; j += panel) {
    float* to = matrix.panels.data() + j * matrix.depth;
    const at::Tensor part = floats(weight.slice(0, j, std::min(j + panel, matrix.outputs)));
    if (kernels.packed == 1) {
      fill_panel<float>(part, panel, 1, to);
    } else {
      fill_panel<c10::BFloat16>(part, panel, kernels.packed, to);
    }
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
