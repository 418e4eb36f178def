#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <hornet/backbone/ops/bilinear.h>
#include <hornet/backbone/ops/cpu/vector_levels.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

namespace hornet::ops {
namespace {

// Where an output pixel of a bilinear resize takes its values from.
struct Taps {
  std::vector<int32_t> low, high;
  std::vector<float> weight;  // of `high`
};

Taps bilinear_taps(int64_t in, int64_t out) {
  Taps taps;
  for (int64_t i = 0; i < out; ++i) {
    const Lerp lerp = bilinear_lerp(in, out, i);
    taps.low.push_back(static_cast<int32_t>(lerp.low));
    taps.high.push_back(static_cast<int32_t>(lerp.high));
    taps.weight.push_back(lerp.weight);
  }
  return taps;
}

HORNET_VECTOR_LEVELS
void widen_row(const float* source, const int32_t* low, const int32_t* high, const float* weight,
               int64_t count, float* out) {
  for (int64_t j = 0; j < count; ++j) {
    out[j] = (1.0f - weight[j]) * source[low[j]] + weight[j] * source[high[j]];
  }
}

HORNET_VECTOR_LEVELS
void add_row(const float* above, const float* below, float weight, float row_weight,
             const float* column_weights, int64_t count, float* out) {
  for (int64_t j = 0; j < count; ++j) {
    const float value = (1.0f - weight) * above[j] + weight * below[j];
    out[j] += value * (row_weight * column_weights[j]);
  }
}

// Keeps in `best` and `label` what is larger so far.
HORNET_VECTOR_LEVELS
void compare_row(const float* values, const float* totals, int32_t index, int64_t count,
                 float* best, int32_t* label) {
  for (int64_t x = 0; x < count; ++x) {
    const float value = values[x] / totals[x];
    const bool larger = value > best[x];
    best[x] = larger ? value : best[x];
    label[x] = larger ? index : label[x];
  }
}

// One class of a window. Every row of low resolution is widened once; the two that the current
// output row lies between are kept.
class WindowAdder {
 public:
  WindowAdder(const at::Tensor& band, const at::Tensor& logits, const at::Tensor& row_weights,
              const at::Tensor& column_weights, int64_t x, int64_t y, int64_t row_begin,
              int64_t row_end)
      : band_(band),
        logits_(logits),
        row_weights_(row_weights),
        column_weights_(column_weights),
        rows_(bilinear_taps(logits.size(1), row_weights.size(0))),
        columns_(bilinear_taps(logits.size(2), column_weights.size(0))),
        x_(x),
        y_(y),
        top_(std::max(y, row_begin)),
        bottom_(std::min(y + row_weights.size(0), row_end)),
        left_(std::max<int64_t>(x, 0)),
        right_(std::min(x + column_weights.size(0), band.size(2))) {}

  bool is_empty() const { return top_ >= bottom_ || left_ >= right_; }

  void add_class(int64_t c) const {
    const int64_t count = right_ - left_, skip = left_ - x_;
    std::vector<float> widened(2 * count);
    float* lines[2] = {widened.data(), widened.data() + count};
    int32_t held[2] = {-1, -1};
    const auto line = [&](int32_t row) {  // rows come in order: odd and even ones take turns
      const int slot = row % 2;
      if (held[slot] != row) {
        const float* source =
            logits_.const_data_ptr<float>() + (c * logits_.size(1) + row) * logits_.size(2);
        widen_row(source, &columns_.low[skip], &columns_.high[skip], &columns_.weight[skip], count,
                  lines[slot]);
        held[slot] = row;
      }
      return lines[slot];
    };
    for (int64_t row = top_; row < bottom_; ++row) {
      const int64_t i = row - y_;
      const float* above = line(rows_.low[i]);
      const float* below = line(rows_.high[i]);
      float* out = band_.mutable_data_ptr<float>() +
                   ((row % band_.size(0)) * band_.size(1) + c) * band_.size(2) + left_;
      add_row(above, below, rows_.weight[i], row_weights_.const_data_ptr<float>()[i],
              column_weights_.const_data_ptr<float>() + skip, count, out);
    }
  }

 private:
  const at::Tensor &band_, &logits_, &row_weights_, &column_weights_;
  const Taps rows_, columns_;
  const int64_t x_, y_, top_, bottom_, left_, right_;
};

void add_window_cpu(const at::Tensor& band, const at::Tensor& logits, const at::Tensor& row_weights,
                    const at::Tensor& column_weights, int64_t x, int64_t y, int64_t row_begin,
                    int64_t row_end) {
  const at::Tensor values = logits.to(at::kFloat).contiguous();
  const at::Tensor rows = row_weights.contiguous(), columns = column_weights.contiguous();
  const WindowAdder adder(band, values, rows, columns, x, y, row_begin, row_end);
  if (adder.is_empty()) return;
  at::parallel_for(0, band.size(1), 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) adder.add_class(c);
  });
}

template <typename T>
at::Tensor labels_of(const at::Tensor& rows, const float* row_totals, const float* column_totals,
                     at::ScalarType dtype) {
  const int64_t classes = rows.size(1), width = rows.size(2);
  at::Tensor labels = at::empty({rows.size(0), width}, dtype);
  T* out = labels.mutable_data_ptr<T>();
  const float* values = rows.const_data_ptr<float>();
  at::parallel_for(0, rows.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> totals(width), best(width);
    std::vector<int32_t> label(width);
    for (int64_t r = begin; r < end; ++r) {
      const float* row = values + r * classes * width;
      for (int64_t x = 0; x < width; ++x) totals[x] = row_totals[r] * column_totals[x];
      for (int64_t x = 0; x < width; ++x) best[x] = row[x] / totals[x];
      std::fill(label.begin(), label.end(), 0);
      for (int64_t c = 1; c < classes; ++c) {
        compare_row(row + c * width, totals.data(), static_cast<int32_t>(c), width, best.data(),
                    label.data());
      }
      std::copy(label.begin(), label.end(), out + r * width);
    }
  });
  return labels;
}

at::Tensor band_labels_cpu(const at::Tensor& rows, const at::Tensor& row_totals,
                           const at::Tensor& column_totals) {
  const at::Tensor values = rows.contiguous();
  const at::Tensor down = row_totals.contiguous(), across = column_totals.contiguous();
  const float *row = down.const_data_ptr<float>(), *column = across.const_data_ptr<float>();
  if (rows.size(1) <= 255) return labels_of<uint8_t>(values, row, column, at::kByte);
  return labels_of<int32_t>(values, row, column, at::kInt);
}

TORCH_LIBRARY_IMPL(hornet, CPU, m) {
  m.impl("add_window", add_window_cpu);
  m.impl("band_labels", band_labels_cpu);
}

}  // namespace
}  // namespace hornet::ops
