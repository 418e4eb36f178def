#include <hornet/backbone/ops/global_filter.h>
#include <torch/fft.h>
#include <torch/nn/functional.h>

namespace hornet::ops {

torch::Tensor interpolate_filter(const torch::Tensor& complex_weight, int64_t height,
                                 int64_t width) {
  TORCH_CHECK(complex_weight.dim() == 4 && complex_weight.size(3) == 2,
              "interpolate_filter: complex_weight must be [C,h,w,2], got ", complex_weight.sizes());
  const std::vector<int64_t> size = {height, width / 2 + 1};
  if (complex_weight.size(1) == size[0] && complex_weight.size(2) == size[1]) {
    return torch::view_as_complex(complex_weight.contiguous());
  }
  namespace F = torch::nn::functional;
  const torch::Tensor resized = F::interpolate(
      complex_weight.permute({3, 0, 1, 2}),
      F::InterpolateFuncOptions().size(size).mode(torch::kBilinear).align_corners(true));
  return torch::view_as_complex(resized.permute({1, 2, 3, 0}).contiguous());
}

torch::Tensor global_filter(const torch::Tensor& x, const torch::Tensor& spectrum) {
  TORCH_CHECK(x.dim() == 4, "global_filter: x must be [N,C,H,W], got ", x.sizes());
  const int64_t height = x.size(2), width = x.size(3);
  TORCH_CHECK(spectrum.dim() == 3 && spectrum.size(0) == x.size(1) && spectrum.size(1) == height &&
                  spectrum.size(2) == width / 2 + 1,
              "global_filter: a map ", x.sizes(), " needs a spectrum [", x.size(1), ", ", height,
              ", ", width / 2 + 1, "], got ", spectrum.sizes());
  const torch::Tensor map = x.scalar_type() == torch::kFloat64 ? x : x.to(torch::kFloat32);
  const torch::Tensor transformed = torch::fft::rfft2(map, c10::nullopt, {2, 3}, "ortho");
  return torch::fft::irfft2(transformed * spectrum, torch::IntArrayRef({height, width}), {2, 3},
                            "ortho");
}

}  // namespace hornet::ops
