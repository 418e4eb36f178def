#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <hornet/backbone/ops/cpu/vector_levels.h>
#include <hornet/backbone/ops/depthwise_conv.h>

#include <algorithm>
#include <vector>

namespace hornet::ops {
namespace {

constexpr int64_t kLanes = 16;  // channels that are summed together

// A value of each of them, whatever the processor's vectors are.
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

// Adds up gradients of a kernel's taps: x [height + K - 1, width + K - 1, kLanes], with its border
// of zeros, and grad [height, width, kLanes] -> sums [K, K, kLanes].
template <int K>
inline __attribute__((always_inline)) void sum_taps(const float* x, const float* grad,
                                                    int64_t height, int64_t width, float* sums) {
  const int64_t row = (width + K - 1) * kLanes;
  for (int down = 0; down < K; ++down) {
    Lanes taps[K] = {};
    for (int64_t y = 0; y < height; ++y) {
      const float *pixels = x + (y + down) * row, *grads = grad + y * width * kLanes;
      for (int64_t i = 0; i < width; ++i, pixels += kLanes, grads += kLanes) {
        Lanes g, pixel;
        __builtin_memcpy(&g, grads, sizeof(g));
        for (int across = 0; across < K; ++across) {
          __builtin_memcpy(&pixel, pixels + across * kLanes, sizeof(pixel));
          taps[across] += g * pixel;
        }
      }
    }
    __builtin_memcpy(sums + down * K * kLanes, taps, sizeof(taps));
  }
}

HORNET_VECTOR_LEVELS
void sum_taps_3(const float* x, const float* grad, int64_t height, int64_t width, float* sums) {
  sum_taps<3>(x, grad, height, width, sums);
}

HORNET_VECTOR_LEVELS
void sum_taps_7(const float* x, const float* grad, int64_t height, int64_t width, float* sums) {
  sum_taps<7>(x, grad, height, width, sums);
}

// Up to kLanes channels of an image, pixel by pixel, with `border` pixels and the channels that are
// missing left as they are.
void gather(const at::Tensor& map, int64_t image, int64_t channel, int64_t border, float* to) {
  const int64_t lanes = std::min(kLanes, map.size(1) - channel), width = map.size(3);
  const float* from = map.const_data_ptr<float>() + image * map.stride(0) + channel * map.stride(1);
  for (int64_t y = 0; y < map.size(2); ++y) {
    float* row = to + ((y + border) * (width + 2 * border) + border) * kLanes;
    for (int64_t i = 0; i < width; ++i) {
      const float* pixel = from + y * map.stride(2) + i * map.stride(3);
      for (int64_t lane = 0; lane < lanes; ++lane) {
        row[i * kLanes + lane] = pixel[lane * map.stride(1)];
      }
    }
  }
}

}  // namespace

torch::Tensor depthwise_weight_grad(const torch::Tensor& x, const torch::Tensor& grad,
                                    int64_t kernel) {
  TORCH_CHECK(x.dim() == 4 && grad.sizes() == x.sizes() && x.is_cpu() && grad.is_cpu() &&
                  x.scalar_type() == at::kFloat && grad.scalar_type() == at::kFloat,
              "hornet::depthwise_weight_grad: expected float32 maps [N,C,H,W] of one size, got ",
              x.scalar_type(), " ", x.sizes(), " and ", grad.scalar_type(), " ", grad.sizes());
  TORCH_CHECK(kernel == 3 || kernel == 7, "hornet::depthwise_weight_grad: kernel must be 3 or 7");
  const int64_t images = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  const int64_t blocks = (channels + kLanes - 1) / kLanes, taps = kernel * kernel;
  at::Tensor parts = at::empty({images, blocks, taps, kLanes}, x.options());
  at::parallel_for(0, images * blocks, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> pixels((height + kernel - 1) * (width + kernel - 1) * kLanes);
    std::vector<float> grads(height * width * kLanes);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / blocks, channel = i % blocks * kLanes;
      gather(x, image, channel, kernel / 2, pixels.data());
      gather(grad, image, channel, 0, grads.data());
      float* sums = parts.mutable_data_ptr<float>() + i * taps * kLanes;
      (kernel == 3 ? sum_taps_3 : sum_taps_7)(pixels.data(), grads.data(), height, width, sums);
    }
  });
  return parts.sum(0)
      .transpose(1, 2)
      .reshape({blocks * kLanes, 1, kernel, kernel})
      .narrow(0, 0, channels)
      .contiguous();
}

}  // namespace hornet::ops
