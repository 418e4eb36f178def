// The order of work of hornet::gnconv, for the CPU and the CUDA kernel alike: LibTorch's matrix
// products, and after each one pass of the device's own, the gate.
#pragma once

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <hornet/backbone/ops/checks.h>
#include <hornet/backbone/ops/host_device.h>

#include <algorithm>
#include <vector>

namespace hornet::ops {

// A map's values as matrices of lines that lie side by side in memory: a line is a pixel's channels
// ([1,NHW,C], for channels-last maps) or a channel's pixels ([N,C,HW]). A view where the strides
// allow it, so for slices of channels too.
enum class Lines { kPixels, kChannels };

inline at::Tensor lines_of(const at::Tensor& map, Lines lines) {
  const at::Tensor matrices = lines == Lines::kPixels
                                  ? map.permute({0, 2, 3, 1}).flatten(0, 2).unsqueeze(0)
                                  : map.flatten(2, 3);
  return matrices.stride(2) == 1 ? matrices : matrices.contiguous();
}

inline at::Tensor slice_channels(const at::Tensor& matrix, Lines lines, int64_t from,
                                 int64_t count) {
  return matrix.narrow(lines == Lines::kPixels ? 1 : 0, from, count);
}

// What a device's gate computes: out = (values + bias) * scale * gates, for each line. The bias is
// a pixel's, one for each of its channels, or a channel's. `out` may be `values`.
template <typename scalar_t>
struct Gate {
  using T = at::opmath_type<scalar_t>;

  template <typename value_t>
  struct Matrix {
    value_t* data;
    int64_t step;  // from line to line
    HORNET_HOST_DEVICE value_t* line(int64_t i) const { return data + i * step; }
  };

  Matrix<const scalar_t> values, gates;
  const scalar_t* bias;
  T scale;
  Matrix<scalar_t> out;
  int64_t count, length;  // of the lines
  Lines lines;

  Gate(Lines lines, const at::Tensor& values, const at::Tensor& bias, const at::Tensor& gates,
       double scale, const at::Tensor& out)
      : values{values.const_data_ptr<scalar_t>(), values.stride(0)},
        gates{gates.const_data_ptr<scalar_t>(), gates.stride(0)},
        bias(bias.const_data_ptr<scalar_t>()),
        scale(static_cast<T>(scale)),
        out{out.mutable_data_ptr<scalar_t>(), out.stride(0)},
        count(out.size(0)),
        length(out.size(1)),
        lines(lines) {}

  HORNET_HOST_DEVICE static scalar_t product(T value, T bias, T gate, T scale) {
    return static_cast<scalar_t>((value + bias) * (scale * gate));
  }
};

// The arguments of hornet::gnconv for `pixels` pixels of one matrix.
struct GnConvBlock {
  at::Tensor p, q, out;
};

class GnConvChain {
 public:
  GnConvChain(at::TensorList weights, at::TensorList biases, const at::Tensor& p, Lines lines,
              int64_t block)
      : lines_(lines), biases_{at::zeros({p.size(1)}, p.options())} {
    for (size_t k = 0; k < weights.size(); ++k) {
      weights_.push_back(weights[k].flatten(1));
      biases_.push_back(biases[k].contiguous());
      const int64_t width = weights[k].size(1);
      products_.push_back(lines == Lines::kPixels ? at::empty({block, width}, p.options())
                                                  : at::empty({width, block}, p.options()));
    }
  }

  // gate(lines, values, bias, gates, out) runs a Gate.
  template <typename Gate>
  void run(const GnConvBlock& block, const Gate& gate) const {
    const int64_t pixels = block.out.size(pixel_dim());
    at::Tensor values = block.p, last;
    int64_t offset = 0;
    for (size_t k = 0; k < biases_.size(); ++k) {
      at::Tensor out = block.out;
      if (k < products_.size()) out = products_[k].narrow(pixel_dim(), 0, pixels);
      if (k > 0) {
        multiply(weights_[k - 1], last, out);
        values = out;
      }
      const int64_t width = biases_[k].size(0);
      gate(lines_, values, biases_[k], slice_channels(block.q, lines_, offset, width), out);
      offset += width;
      last = out;
    }
  }

 private:
  int64_t pixel_dim() const { return lines_ == Lines::kPixels ? 0 : 1; }

  void multiply(const at::Tensor& weight, const at::Tensor& values, at::Tensor& out) const {
    if (lines_ == Lines::kPixels) {
      at::mm_out(out, values, weight.t());
    } else {
      at::mm_out(out, weight, values);
    }
  }

  const Lines lines_;
  std::vector<at::Tensor> weights_, biases_, products_;
};

// The whole op, `block` pixels at a time. `gate` as in GnConvChain::run.
template <typename Gate>
at::Tensor gnconv_by_blocks(const at::Tensor& p, const at::Tensor& q, at::TensorList weights,
                            at::TensorList biases, int64_t block, const Gate& gate) {
  const auto format = q.suggest_memory_format();
  const Lines lines = format == at::MemoryFormat::ChannelsLast ? Lines::kPixels : Lines::kChannels;
  const int64_t channels = weights.empty() ? p.size(1) : weights.back().size(0);
  at::Tensor out = at::empty({p.size(0), channels, p.size(2), p.size(3)}, p.options(), format);
  if (out.numel() == 0) return out;

  const at::Tensor values = lines_of(p, lines), gates = lines_of(q, lines);
  const at::Tensor results = lines_of(out, lines);
  const int64_t dim = lines == Lines::kPixels ? 0 : 1, pixels = results.size(dim + 1);
  block = std::min(block, pixels);
  const GnConvChain chain(weights, biases, p, lines, block);
  for (int64_t image = 0; image < results.size(0); ++image) {
    for (int64_t first = 0; first < pixels; first += block) {
      const int64_t count = std::min(block, pixels - first);
      const auto part = [&](const at::Tensor& matrices) {
        return matrices.select(0, image).narrow(dim, first, count);
      };
      chain.run({part(values), part(gates), part(results)}, gate);
    }
  }
  return out;
}

}  // namespace hornet::ops
