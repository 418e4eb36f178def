// Depthwise convolutions, which OpenCV 4.6 runs as it runs dense ones: a plane at a time, whose
// padded copy stays in the cache while a block of outputs collects all taps.
#include <hornet/backbone/ops/cpu/vector_levels.h>
#include <hornet/interop/internal/map_layer.h>
#include <hornet/interop/internal/opencv_layers.h>

#include <algorithm>
#include <vector>

namespace hornet::opencv {
namespace {

using cv::dnn::LayerParams;
using cv::dnn::MatShape;

constexpr int64_t kOutputLanes = 32;  // outputs of a row that are computed at once

// out[y][x] = bias + the sum over a kernel x kernel window of `padded`, whose rows are `step` long
// and hold kOutputLanes numbers more than the last window needs.
HORNET_VECTOR_LEVELS void convolve(const float* padded, int64_t step, const float* weight,
                                   int64_t kernel, float bias, int64_t height, int64_t width,
                                   float* out) {
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; x += kOutputLanes) {
      float sum[kOutputLanes];
      for (int64_t lane = 0; lane < kOutputLanes; ++lane) sum[lane] = bias;
      for (int64_t ky = 0; ky < kernel; ++ky) {
        const float* line = padded + (y + ky) * step + x;
        for (int64_t kx = 0; kx < kernel; ++kx) {
          const float factor = weight[ky * kernel + kx];
          for (int64_t lane = 0; lane < kOutputLanes; ++lane) sum[lane] += factor * line[kx + lane];
        }
      }
      const int64_t count = std::min(kOutputLanes, width - x);
      std::copy(sum, sum + count, out + y * width + x);
    }
  }
}

class DepthwiseLayer : public MapLayer {
 public:
  explicit DepthwiseLayer(const LayerParams& params) : MapLayer(params) {
    CV_CheckEQ(blobs.size(), size_t{2}, "HorNetDepthwise needs blobs: weight [C,1,k,k], bias [C]");
    CV_CheckEQ(blobs[0].dims, 4, "HorNetDepthwise: weight is [C,1,k,k]");
    CV_CheckEQ(blobs[0].size[2] % 2, 1, "HorNetDepthwise: k is odd");
  }

 protected:
  MatShape output_shape(const MatShape& input) const override {
    CV_CheckEQ(input[1], blobs[0].size[0], "HorNetDepthwise: channels");
    return input;
  }

  void run(const cv::Mat& input, cv::Mat& output) override {
    const int channels = input.size[1];
    const int64_t height = input.size[2], width = input.size[3];
    const int64_t kernel = blobs[0].size[2], border = kernel / 2;
    const int64_t step = (width + kOutputLanes - 1) / kOutputLanes * kOutputLanes + kernel;
    cv::parallel_for_({0, input.size[0] * channels}, [&](const cv::Range& range) {
      std::vector<float> padded((height + kernel) * step, 0.0f);
      for (int i = range.start; i < range.end; ++i) {
        const float* plane = input.ptr<float>() + i * height * width;
        for (int64_t y = 0; y < height; ++y) {
          std::copy(plane + y * width, plane + (y + 1) * width,
                    padded.data() + (y + border) * step + border);
        }
        const int channel = i % channels;
        convolve(padded.data(), step, blobs[0].ptr<float>() + channel * kernel * kernel, kernel,
                 blobs[1].ptr<float>()[channel], height, width,
                 output.ptr<float>() + i * height * width);
      }
    });
  }
};

}  // namespace

cv::Ptr<cv::dnn::Layer> make_depthwise(LayerParams& params) {
  return cv::makePtr<DepthwiseLayer>(params);
}

}  // namespace hornet::opencv
