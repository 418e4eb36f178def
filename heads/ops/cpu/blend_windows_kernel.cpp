#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <hornet/backbone/ops/bilinear.h>
#include <hornet/backbone/ops/cpu/vector_levels.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace hornet::ops {
namespace {

constexpr int64_t kLanes = 16;   // sums of a pixel are a multiple of it
constexpr int64_t kPixels = 16;  // that are added up together, so that their sums stay in the cache
constexpr int64_t kColumns = 1024;  // whose lines are held at a time

// Where an output pixel takes its values from, and how much of each.
struct Tap {
  int64_t low, high;
  float low_weight, high_weight;
};

std::vector<Tap> weighted_taps(int64_t in, const at::Tensor& weights) {
  const int64_t out = weights.size(0);
  std::vector<Tap> taps;
  for (int64_t i = 0; i < out; ++i) {
    const Lerp lerp = bilinear_lerp(in, out, i);
    const float weight = weights.const_data_ptr<float>()[i];
    taps.push_back({lerp.low, lerp.high, weight * (1.0f - lerp.weight), weight * lerp.weight});
  }
  return taps;
}

HORNET_VECTOR_LEVELS
void mix_lines(const float* above, const float* below, float upper, float lower, int64_t count,
               float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = upper * above[i] + lower * below[i];
}

// line [columns, classes], from column `skipped` on; sums [count, stride]
HORNET_VECTOR_LEVELS
void add_pixels(const float* line, int64_t skipped, const Tap* taps, int64_t count, int64_t classes,
                int64_t stride, float* sums) {
  for (int64_t p = 0; p < count; ++p) {
    const float* low = line + (taps[p].low - skipped) * classes;
    const float* high = line + (taps[p].high - skipped) * classes;
    const float low_weight = taps[p].low_weight, high_weight = taps[p].high_weight;
    float* sum = sums + p * stride;
    for (int64_t c = 0; c < classes; ++c) sum[c] += low_weight * low[c] + high_weight * high[c];
  }
}

// The index of the largest of `stride` values for each pixel, the first of equals.
HORNET_VECTOR_LEVELS
void find_largest(const float* sums, int64_t count, int64_t stride, int32_t* labels) {
  for (int64_t p = 0; p < count; ++p) {
    const float* sum = sums + p * stride;
    float best[kLanes];
    int32_t label[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) {
      best[i] = sum[i];
      label[i] = static_cast<int32_t>(i);
    }
    for (int64_t c = kLanes; c < stride; c += kLanes) {
      for (int64_t i = 0; i < kLanes; ++i) {
        const float value = sum[c + i];
        const bool larger = value > best[i];
        best[i] = larger ? value : best[i];
        label[i] = larger ? static_cast<int32_t>(c + i) : label[i];
      }
    }
    int64_t winner = 0;
    for (int64_t i = 1; i < kLanes; ++i) {
      const bool earlier = best[i] == best[winner] && label[i] < label[winner];
      if (best[i] > best[winner] || earlier) winner = i;
    }
    labels[p] = label[winner];
  }
}

// Adds windows up, a row of the rectangle at a time.
class Blender {
 public:
  Blender(at::TensorList logits, at::IntArrayRef xs, at::IntArrayRef ys,
          const at::Tensor& row_weights, const at::Tensor& column_weights, int64_t x, int64_t width)
      : logits_(logits),
        xs_(xs),
        ys_(ys),
        rows_(weighted_taps(logits[0].size(0), row_weights)),
        columns_(weighted_taps(logits[0].size(1), column_weights)),
        x_(x),
        width_(width),
        low_width_(logits[0].size(1)),
        classes_(logits[0].size(2)),
        stride_((classes_ + kLanes - 1) / kLanes * kLanes) {}

  int64_t stride() const { return stride_; }

  // Calls visit(column, count, sums [count, stride], totals [count]) for all columns of a row of
  // the image, from left to right.
  template <typename Visit>
  void run(int64_t row, const Visit& visit) const {
    for (int64_t begin = x_; begin < x_ + width_; begin += kColumns) {
      run_part(row, begin, std::min(begin + kColumns, x_ + width_), visit);
    }
  }

 private:
  // A window's row, resized downwards alone, and the columns that it lies over.
  struct Line {
    std::vector<float> values;
    int64_t x, left, right;
    int64_t skipped;  // low columns that `values` leaves out
    float weight;
  };

  template <typename Visit>
  void run_part(int64_t row, int64_t begin, int64_t end, const Visit& visit) const {
    std::vector<Line> lines;
    std::vector<int64_t> breaks = {begin, end};
    for (size_t k = 0; k < logits_.size(); ++k) {
      const int64_t down = row - ys_[k];
      const int64_t left = std::max(xs_[k], begin);
      const int64_t right = std::min(xs_[k] + window_width(), end);
      if (down < 0 || down >= window_height() || left >= right) continue;
      lines.push_back(line_of(k, rows_[down], left, right));
      breaks.push_back(left);
      breaks.push_back(right);
    }
    std::sort(breaks.begin(), breaks.end());
    // Unused lanes never win; they stay as they are.
    std::vector<float> sums(kPixels * stride_, -std::numeric_limits<float>::infinity());
    float totals[kPixels];
    for (size_t i = 0; i + 1 < breaks.size(); ++i) {
      for (int64_t column = breaks[i]; column < breaks[i + 1]; column += kPixels) {
        const int64_t count = std::min(kPixels, breaks[i + 1] - column);
        for (int64_t p = 0; p < count; ++p) std::fill_n(&sums[p * stride_], classes_, 0.0f);
        std::fill_n(totals, count, 0.0f);
        for (const Line& line : lines) {
          if (line.left <= column && column < line.right) add(line, column, count, &sums, totals);
        }
        visit(column - x_, count, sums.data(), totals);
      }
    }
  }

  int64_t window_height() const { return static_cast<int64_t>(rows_.size()); }
  int64_t window_width() const { return static_cast<int64_t>(columns_.size()); }

  Line line_of(size_t k, const Tap& tap, int64_t left, int64_t right) const {
    Line line = {
        {}, xs_[k], left, right, columns_[left - xs_[k]].low, tap.low_weight + tap.high_weight};
    const int64_t end = columns_[right - 1 - xs_[k]].high + 1;
    line.values.resize((end - line.skipped) * classes_);
    const float* values = logits_[k].const_data_ptr<float>() + line.skipped * classes_;
    mix_lines(values + tap.low * low_width_ * classes_, values + tap.high * low_width_ * classes_,
              tap.low_weight, tap.high_weight, static_cast<int64_t>(line.values.size()),
              line.values.data());
    return line;
  }

  void add(const Line& line, int64_t column, int64_t count, std::vector<float>* sums,
           float* totals) const {
    const Tap* taps = &columns_[column - line.x];
    add_pixels(line.values.data(), line.skipped, taps, count, classes_, stride_, sums->data());
    for (int64_t p = 0; p < count; ++p) {
      totals[p] += line.weight * (taps[p].low_weight + taps[p].high_weight);
    }
  }

  const at::TensorList logits_;
  const at::IntArrayRef xs_, ys_;
  const std::vector<Tap> rows_, columns_;
  const int64_t x_, width_, low_width_, classes_, stride_;
};

at::Tensor blended_scores_cpu(at::TensorList logits, at::IntArrayRef xs, at::IntArrayRef ys,
                              const at::Tensor& row_weights, const at::Tensor& column_weights,
                              int64_t x, int64_t y, int64_t width, int64_t height) {
  const at::Tensor rows = row_weights.contiguous(), columns = column_weights.contiguous();
  const Blender blender(logits, xs, ys, rows, columns, x, width);
  const int64_t classes = logits[0].size(2);
  at::Tensor scores = at::empty({height, width, classes}, logits[0].options());
  float* out = scores.mutable_data_ptr<float>();
  at::parallel_for(0, height, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      blender.run(
          y + row, [&](int64_t column, int64_t count, const float* sums, const float* totals) {
            for (int64_t p = 0; p < count; ++p) {
              float* score = out + (row * width + column + p) * classes;
              for (int64_t c = 0; c < classes; ++c) {
                score[c] = totals[p] > 0 ? sums[p * blender.stride() + c] / totals[p] : 0.0f;
              }
            }
          });
    }
  });
  return scores;
}

template <typename Label>
void fill_labels(const Blender& blender, int64_t y, at::Tensor& labels) {
  Label* out = labels.mutable_data_ptr<Label>();
  const int64_t width = labels.size(1);
  at::parallel_for(0, labels.size(0), 1, [&](int64_t begin, int64_t end) {
    int32_t found[kPixels];
    for (int64_t row = begin; row < end; ++row) {
      blender.run(y + row, [&](int64_t column, int64_t count, const float* sums, const float*) {
        find_largest(sums, count, blender.stride(), found);
        std::copy_n(found, count, out + row * width + column);
      });
    }
  });
}

// The sums of a pixel have one total: they need no division to be compared.
at::Tensor blended_labels_cpu(at::TensorList logits, at::IntArrayRef xs, at::IntArrayRef ys,
                              const at::Tensor& row_weights, const at::Tensor& column_weights,
                              int64_t x, int64_t y, int64_t width, int64_t height) {
  const at::Tensor rows = row_weights.contiguous(), columns = column_weights.contiguous();
  const Blender blender(logits, xs, ys, rows, columns, x, width);
  const bool narrow = logits[0].size(2) <= 255;
  at::Tensor labels = at::empty({height, width}, narrow ? at::kByte : at::kInt);
  if (narrow) {
    fill_labels<uint8_t>(blender, y, labels);
  } else {
    fill_labels<int32_t>(blender, y, labels);
  }
  return labels;
}

TORCH_LIBRARY_IMPL(hornet, CPU, m) {
  m.impl("blended_scores", blended_scores_cpu);
  m.impl("blended_labels", blended_labels_cpu);
}

}  // namespace
}  // namespace hornet::ops
