// The global filter as dense transforms, eight channels at a time: at the sizes of HorNet's maps a
// matrix product that stays in the cache is faster than the FFT that OpenCV has.
#include <hornet/backbone/ops/cpu/vector_levels.h>
#include <hornet/interop/fourier.h>
#include <hornet/interop/internal/map_layer.h>
#include <hornet/interop/internal/opencv_layers.h>

#include <vector>

namespace hornet::opencv {
namespace {

using cv::dnn::LayerParams;
using cv::dnn::MatShape;

constexpr int64_t kGroup = 8;   // channels that are transformed side by side
constexpr int64_t kLanes = 16;  // columns of a product that are computed at once
constexpr int64_t kRows = 4;    // and rows

int64_t padded(int64_t columns) { return (columns + kLanes - 1) / kLanes * kLanes; }

// out[rows, columns] = transposed(a[inner, rows]) b[inner, columns]; columns is padded.
HORNET_VECTOR_LEVELS void multiply(const float* a, int64_t inner, int64_t rows, const float* b,
                                   int64_t columns, float* out) {
  for (int64_t r = 0; r < rows; r += kRows) {
    const int64_t used = std::min(kRows, rows - r);
    // Rows beyond the last one repeat it.
    int64_t row[kRows];
    for (int64_t k = 0; k < kRows; ++k) row[k] = r + std::min(k, used - 1);
    for (int64_t c = 0; c < columns; c += kLanes) {
      float sum[kRows][kLanes] = {};
      for (int64_t i = 0; i < inner; ++i) {
        const float* line = b + i * columns + c;
        for (int64_t k = 0; k < kRows; ++k) {
          const float factor = a[i * rows + row[k]];
          for (int64_t lane = 0; lane < kLanes; ++lane) sum[k][lane] += factor * line[lane];
        }
      }
      for (int64_t k = 0; k < used; ++k) {
        for (int64_t lane = 0; lane < kLanes; ++lane)
          out[(r + k) * columns + c + lane] = sum[k][lane];
      }
    }
  }
}

// Maps [rows, columns] of a group side by side: in[g][y][x] at in + g * in_group + y * in_row + x
// goes to out[x][g * rows + y].
void transpose_in(const float* in, int64_t in_group, int64_t in_row, int64_t groups, int64_t rows,
                  int64_t columns, float* out, int64_t out_row) {
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t y = 0; y < rows; ++y) {
      const float* line = in + g * in_group + y * in_row;
      for (int64_t x = 0; x < columns; ++x) out[x * out_row + g * rows + y] = line[x];
    }
  }
}

// The way back: in[x][g * rows + y] to out[g][y][x].
void transpose_out(const float* in, int64_t in_row, int64_t groups, int64_t rows, int64_t columns,
                   float* out, int64_t out_group, int64_t out_row) {
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t y = 0; y < rows; ++y) {
      float* line = out + g * out_group + y * out_row;
      for (int64_t x = 0; x < columns; ++x) line[x] = in[x * in_row + g * rows + y];
    }
  }
}

// The spectra of a group, real rows over imaginary rows, times the filter's.
HORNET_VECTOR_LEVELS void apply_filter(float* real, float* imaginary, const float* filter,
                                       int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float re = real[i], im = imaginary[i];
    real[i] = re * filter[2 * i] - im * filter[2 * i + 1];
    imaginary[i] = re * filter[2 * i + 1] + im * filter[2 * i];
  }
}

// Everything that depends on the size of the maps.
struct Plan {
  int64_t height = 0, width = 0, half = 0;
  std::vector<float> filter;                 // [C, height, half, 2]
  std::vector<float> rows, rows_back;        // [width, 2 half], [2 half, width]
  std::vector<float> columns, columns_back;  // [2 height, 2 height]

  Plan() = default;
  Plan(const graph::Constant& weight, int64_t h, int64_t w)
      : height(h),
        width(w),
        half(w / 2 + 1),
        filter(graph::interpolate_filter(weight, h, w).values) {
    graph::FourierMatrices matrices = graph::fourier_matrices(h, w);
    for (int64_t x = 0; x < w; ++x) {
      const auto real = matrices.real.begin() + x * half,
                 imaginary = matrices.imaginary.begin() + x * half;
      rows.insert(rows.end(), real, real + half);
      rows.insert(rows.end(), imaginary, imaginary + half);
    }
    rows_back = std::move(matrices.from_real);
    rows_back.insert(rows_back.end(), matrices.from_imaginary.begin(),
                     matrices.from_imaginary.end());
    columns = std::move(matrices.forward);
    columns_back = std::move(matrices.inverse);
  }

  // `groups` channels from `channel` on.
  void run(const float* in, float* out, int64_t channel, int64_t groups) const {
    const int64_t plane = height * width, tall = padded(groups * height),
                  wide = padded(groups * half);
    std::vector<float> a(std::max(std::max(width, 2 * half) * tall, 2 * height * wide), 0.0f);
    std::vector<float> b(a.size(), 0.0f);
    // Rows: [width, groups * height] -> [2 half, groups * height].
    transpose_in(in, plane, width, groups, height, width, a.data(), tall);
    multiply(rows.data(), width, 2 * half, a.data(), tall, b.data());
    // Columns: [2 height, groups * half], the imaginary parts below the real ones.
    std::fill(a.begin(), a.end(), 0.0f);
    for (int part = 0; part < 2; ++part) {
      transpose_out(b.data() + part * half * tall, tall, groups, height, half,
                    a.data() + part * height * wide, half, wide);
    }
    multiply(columns.data(), 2 * height, 2 * height, a.data(), wide, b.data());
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t y = 0; y < height; ++y) {
        apply_filter(&b[y * wide + g * half], &b[(height + y) * wide + g * half],
                     &filter[(((channel + g) * height + y) * half) * 2], half);
      }
    }
    multiply(columns_back.data(), 2 * height, 2 * height, b.data(), wide, a.data());
    std::fill(b.begin(), b.end(), 0.0f);
    for (int part = 0; part < 2; ++part) {
      transpose_in(a.data() + part * height * wide, half, wide, groups, height, half,
                   b.data() + part * half * tall, tall);
    }
    multiply(rows_back.data(), 2 * half, width, b.data(), tall, a.data());
    transpose_out(a.data(), tall, groups, height, width, out, plane, width);
  }
};

class GlobalFilterLayer : public MapLayer {
 public:
  explicit GlobalFilterLayer(const LayerParams& params) : MapLayer(params) {
    CV_CheckEQ(blobs.size(), size_t{1},
               "HorNetGlobalFilter needs a blob: complex_weight [C,h,w,2]");
    CV_CheckEQ(blobs[0].dims, 4, "HorNetGlobalFilter: complex_weight is [C,h,w,2]");
    CV_CheckEQ(blobs[0].size[3], 2, "HorNetGlobalFilter: complex_weight is [C,h,w,2]");
  }

  void finalize(cv::InputArrayOfArrays inputs, cv::OutputArrayOfArrays) override {
    std::vector<cv::Mat> in;
    inputs.getMatVector(in);
    const int64_t height = in[0].size[2], width = in[0].size[3];
    if (height == plan_.height && width == plan_.width) return;
    graph::Constant weight;
    for (int d = 0; d < 4; ++d) weight.shape.push_back(blobs[0].size[d]);
    weight.values.assign(blobs[0].ptr<float>(), blobs[0].ptr<float>() + blobs[0].total());
    plan_ = Plan(weight, height, width);
  }

 protected:
  MatShape output_shape(const MatShape& input) const override {
    CV_CheckEQ(input[1], blobs[0].size[0], "HorNetGlobalFilter: channels");
    return input;
  }

  void run(const cv::Mat& input, cv::Mat& output) override {
    const int64_t channels = input.size[1], plane = plan_.height * plan_.width;
    const int64_t groups = (channels + kGroup - 1) / kGroup;
    cv::parallel_for_({0, static_cast<int>(input.size[0] * groups)}, [&](const cv::Range& range) {
      for (int i = range.start; i < range.end; ++i) {
        const int64_t channel = i % groups * kGroup;
        const int64_t at = (i / groups * channels + channel) * plane;
        plan_.run(input.ptr<float>() + at, output.ptr<float>() + at, channel,
                  std::min(kGroup, channels - channel));
      }
    });
  }

 private:
  Plan plan_;
};

}  // namespace

cv::Ptr<cv::dnn::Layer> make_global_filter(LayerParams& params) {
  return cv::makePtr<GlobalFilterLayer>(params);
}

}  // namespace hornet::opencv
