#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <hornet/backbone/ops/cuda/launch.h>
#include <hornet/backbone/ops/depthwise_tile.h>
#include <torch/library.h>

namespace hornet::ops {
namespace {

// As it lies if its channels are side by side, else a copy.
at::Tensor channels_last(const at::Tensor& map) {
  return map.stride(1) == 1 || map.size(1) == 1 ? map
                                                : map.contiguous(at::MemoryFormat::ChannelsLast);
}

template <typename T>
PixelMap<const T> read_map(const at::Tensor& map) {
  return {map.const_data_ptr<T>(), map.stride(0), map.stride(2), map.stride(3)};
}

template <typename T, int kKernel>
void run_tiles(const at::Tensor& x, const at::Tensor& taps, const std::optional<at::Tensor>& bias,
               const std::optional<at::Tensor>& gate, const at::Tensor& out) {
  DepthwiseTiles<T, kKernel> tiles = {};
  tiles.x = read_map<T>(x);
  if (gate) {
    tiles.gate = read_map<T>(*gate);
    tiles.gated = gate->size(1);
  }
  tiles.out = {out.mutable_data_ptr<T>(), out.stride(0), out.stride(2), out.stride(3)};
  tiles.weight = taps.const_data_ptr<float>();
  tiles.bias = bias ? bias->const_data_ptr<float>() : nullptr;
  tiles.images = x.size(0);
  tiles.height = x.size(2);
  tiles.width = x.size(3);
  tiles.channels = x.size(1);
  launch_blocks(tiles);
}

void depthwise_cuda(const at::Tensor& x, const at::Tensor& weight,
                    const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& gate,
                    const at::Tensor& out) {
  const c10::cuda::CUDAGuard guard(x.device());
  if (x.numel() == 0) return;
  for (const at::Tensor* map : {&weight, &out}) {
    TORCH_CHECK(map->device() == x.device(), "hornet::depthwise: all arguments must be on ",
                x.device(), " as x, found ", map->device());
  }
  const at::Tensor in = channels_last(x), result = channels_last(out);
  const at::Tensor taps = weight.permute({2, 3, 1, 0}).contiguous();
  std::optional<at::Tensor> added, factor;
  if (bias) added = bias->to(x.device()).contiguous();
  if (gate) factor = channels_last(gate->to(x.device()));
  visit_inference_type(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const auto run = weight.size(2) == 7 ? run_tiles<T, 7> : run_tiles<T, 3>;
    run(in, taps, added, factor, result);
  });
  if (!result.is_same(out)) out.copy_(result);
}

TORCH_LIBRARY_IMPL(hornet, CUDA, m) { m.impl("depthwise", depthwise_cuda); }

}  // namespace
}  // namespace hornet::ops
