#include <hornet/backbone/ops/cpu/vector_levels.h>
#include <hornet/interop/internal/map_layer.h>
#include <hornet/interop/internal/opencv_layers.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace hornet::opencv {
namespace {

using cv::dnn::LayerParams;
using cv::dnn::MatShape;

constexpr float kLayerNormEps = 1e-6f;
constexpr int kPixels = 256;  // normalised at a time: their sums stay in the first cache

// `count` pixels of a map whose channels lie `plane` elements apart.
HORNET_VECTOR_LEVELS void normalise(const float* x, float* y, int64_t plane, int64_t channels,
                                    int count, const float* weight, const float* bias) {
  float mean[kPixels] = {}, scale[kPixels] = {};
  for (int64_t c = 0; c < channels; ++c) {
    for (int i = 0; i < count; ++i) mean[i] += x[c * plane + i];
  }
  for (int i = 0; i < count; ++i) mean[i] /= static_cast<float>(channels);
  for (int64_t c = 0; c < channels; ++c) {
    for (int i = 0; i < count; ++i) {
      const float difference = x[c * plane + i] - mean[i];
      scale[i] += difference * difference;
    }
  }
  for (int i = 0; i < count; ++i) {
    scale[i] = 1.0f / std::sqrt(scale[i] / static_cast<float>(channels) + kLayerNormEps);
  }
  for (int64_t c = 0; c < channels; ++c) {
    for (int i = 0; i < count; ++i) {
      y[c * plane + i] = (x[c * plane + i] - mean[i]) * scale[i] * weight[c] + bias[c];
    }
  }
}

class LayerNormLayer : public MapLayer {
 public:
  explicit LayerNormLayer(const LayerParams& params) : MapLayer(params) {
    CV_CheckEQ(blobs.size(), size_t{2}, "HorNetLayerNorm needs blobs: weight, bias");
    CV_CheckEQ(blobs[0].total(), blobs[1].total(), "HorNetLayerNorm: weight and bias differ");
  }

 protected:
  bool in_place() const override { return true; }

  void run(const cv::Mat& input, cv::Mat& output) override {
    const int64_t channels = input.size[1], plane = int64_t{input.size[2]} * input.size[3];
    CV_CheckEQ(static_cast<size_t>(channels), blobs[0].total(), "HorNetLayerNorm: channels");
    const int64_t chunks = (plane + kPixels - 1) / kPixels;
    cv::parallel_for_({0, static_cast<int>(input.size[0] * chunks)}, [&](const cv::Range& range) {
      for (int i = range.start; i < range.end; ++i) {
        const int64_t begin = i % chunks * kPixels;
        const int count = static_cast<int>(std::min<int64_t>(kPixels, plane - begin));
        const int64_t at = i / chunks * channels * plane + begin;
        normalise(input.ptr<float>() + at, output.ptr<float>() + at, plane, channels, count,
                  blobs[0].ptr<float>(), blobs[1].ptr<float>());
      }
    });
  }
};

// erf(x / sqrt 2) / (2 x) as a Chebyshev series in x^2; |x| is cut off where Phi(x) is 0 or 1.
constexpr float kGeluLimit = 5.2f;
constexpr int kGeluTerms = 15;
using GeluSeries = std::array<float, kGeluTerms>;

GeluSeries gelu_series() {
  constexpr int kNodes = 64;
  constexpr double kPi = 3.14159265358979323846;
  GeluSeries series{};
  for (int k = 0; k < kGeluTerms; ++k) {
    double sum = 0;
    for (int j = 0; j < kNodes; ++j) {
      const double angle = kPi * (j + 0.5) / kNodes;
      const double x = kGeluLimit * std::sqrt((std::cos(angle) + 1) / 2);
      sum += std::erf(x / std::sqrt(2.0)) / (2 * x) * std::cos(k * angle);
    }
    series[k] = static_cast<float>(sum * (k == 0 ? 1 : 2) / kNodes);
  }
  return series;
}

// Clenshaw's recurrence for every element.
HORNET_VECTOR_LEVELS void gelu(const float* x, float* y, int64_t count, const float* series) {
  for (int64_t i = 0; i < count; ++i) {
    const float clamped = std::min(std::max(x[i], -kGeluLimit), kGeluLimit);
    const float u = clamped * clamped * (2 / (kGeluLimit * kGeluLimit)) - 1;
    float b1 = 0, b2 = 0;
    for (int k = kGeluTerms - 1; k > 0; --k) {
      const float b0 = 2 * u * b1 - b2 + series[k];
      b2 = b1;
      b1 = b0;
    }
    y[i] = x[i] * (0.5f + clamped * (u * b1 - b2 + series[0]));
  }
}

class GeluLayer : public MapLayer {
 public:
  using MapLayer::MapLayer;

 protected:
  bool in_place() const override { return true; }

  void run(const cv::Mat& input, cv::Mat& output) override {
    static const GeluSeries series = gelu_series();
    constexpr int64_t kChunk = 16384;
    const auto total = static_cast<int64_t>(input.total());
    const int chunks = static_cast<int>((total + kChunk - 1) / kChunk);
    cv::parallel_for_({0, chunks}, [&](const cv::Range& range) {
      for (int i = range.start; i < range.end; ++i) {
        gelu(input.ptr<float>() + i * kChunk, output.ptr<float>() + i * kChunk,
             std::min(kChunk, total - i * kChunk), series.data());
      }
    });
  }
};

class AdaptivePoolLayer : public MapLayer {
 public:
  explicit AdaptivePoolLayer(const LayerParams& params)
      : MapLayer(params), bins_(params.get<int>("bins")) {
    CV_CheckGT(bins_, 0, "HorNetAdaptivePool: bins");
  }

 protected:
  MatShape output_shape(const MatShape& input) const override {
    return {input[0], input[1], bins_, bins_};
  }

  void run(const cv::Mat& input, cv::Mat& output) override {
    const int height = input.size[2], width = input.size[3];
    const int planes = input.size[0] * input.size[1];
    for (int p = 0; p < planes; ++p) {
      const cv::Mat map(height, width, CV_32F,
                        const_cast<float*>(input.ptr<float>()) + int64_t{p} * height * width);
      float* out = output.ptr<float>() + int64_t{p} * bins_ * bins_;
      for (int y = 0; y < bins_; ++y) {
        for (int x = 0; x < bins_; ++x) {
          *out++ = static_cast<float>(cv::mean(map(bin(y, height), bin(x, width)))[0]);
        }
      }
    }
  }

 private:
  cv::Range bin(int i, int size) const {
    return {i * size / bins_, ((i + 1) * size + bins_ - 1) / bins_};
  }

  int bins_;
};

}  // namespace

cv::Ptr<cv::dnn::Layer> make_layer_norm(LayerParams& params) {
  return cv::makePtr<LayerNormLayer>(params);
}

cv::Ptr<cv::dnn::Layer> make_gelu(LayerParams& params) { return cv::makePtr<GeluLayer>(params); }

cv::Ptr<cv::dnn::Layer> make_adaptive_pool(LayerParams& params) {
  return cv::makePtr<AdaptivePoolLayer>(params);
}

}  // namespace hornet::opencv
