// What the CUDA kernels compute, run here a thread at a time, against LibTorch's ops; and, where
// there is a GPU, the kernels themselves.
#include <hornet/backbone/ops/channel_norm.h>
#include <hornet/backbone/ops/channel_norm_row.h>
#include <hornet/backbone/ops/depthwise.h>
#include <hornet/backbone/ops/depthwise_tile.h>
#include <hornet/backbone/ops/global_filter.h>
#include <hornet/backbone/ops/global_filter_block.h>
#include <torch/cuda.h>

#include "tests/backbone/ops/run_on_host.h"
#include "tests/modules.h"

namespace hornet::ops {
namespace {

using testing::expect_close;
using torch::Tensor;

constexpr double kEpsilon = 1e-6;

#define NEEDS_A_GPU() \
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU"

double tolerance_of(torch::ScalarType type) {
  if (type == torch::kBFloat16) return 2e-2;
  return type == torch::kHalf ? 2e-3 : 1e-5;
}

const std::vector<torch::ScalarType> kTypes = {torch::kFloat, torch::kHalf, torch::kBFloat16};

// What a warp does with each row.
template <typename Rows>
void run_warps(const Rows& rows) {
  for (int64_t row = 0; row < rows.rows; ++row) {
    float sum = 0, squares = 0;
    for (int lane = 0; lane < Rows::kLanes; ++lane) sum += rows.sum(row, lane);
    const float mean = sum / static_cast<float>(rows.channels);
    for (int lane = 0; lane < Rows::kLanes; ++lane) squares += rows.squares(row, lane, mean);
    for (int lane = 0; lane < Rows::kLanes; ++lane) {
      rows.write(row, lane, mean, rows.inverse_deviation(squares));
    }
  }
}

template <typename In, typename Out, int kWidth>
Tensor norm_by_lanes(const Tensor& rows, const Tensor& weight, const Tensor& bias,
                     bool interleave = false) {
  const Tensor out = torch::full(rows.sizes(), std::nan(""),
                                 rows.options().dtype(c10::CppTypeToScalarType<Out>::value));
  run_warps(ChannelNormRows<In, Out, kWidth, false>{
      rows.const_data_ptr<In>(), rows.stride(0), nullptr, 0, nullptr,
      weight.const_data_ptr<float>(), bias.const_data_ptr<float>(), out.mutable_data_ptr<Out>(),
      rows.size(0), rows.size(1), static_cast<float>(kEpsilon), interleave});
  return out;
}

struct Rows {
  Tensor values, weight, bias;
  explicit Rows(int64_t channels, torch::ScalarType type = torch::kFloat) {
    torch::manual_seed(static_cast<uint64_t>(channels));
    values = (torch::randn({5, channels + 4}) * 3 + 7).to(type).narrow(1, 0, channels);
    weight = torch::randn({channels});
    bias = torch::randn({channels});
  }
};

TEST(ChannelNormRows, AreLayerNorms) {
  for (const int64_t channels : {1, 2, 31, 64, 131, 132, 992}) {
    const Rows rows(channels);
    const Tensor expected = channel_norm(rows.values, rows.weight, rows.bias, kEpsilon, at::kFloat);
    expect_close(expected,
                 torch::layer_norm(rows.values, {channels}, rows.weight, rows.bias, kEpsilon));
    const auto one = norm_by_lanes<float, float, 1>(rows.values, rows.weight, rows.bias);
    expect_close(one, expected, 2e-5);
    if (channels % 4 != 0) continue;
    const auto four = norm_by_lanes<float, float, 4>(rows.values, rows.weight, rows.bias);
    expect_close(four, expected, 2e-5);
  }
}

TEST(ChannelNormRows, ChangeTheType) {
  const Rows half(68, torch::kHalf), single(68);
  expect_close(norm_by_lanes<c10::Half, float, 4>(half.values, half.weight, half.bias),
               channel_norm(half.values, half.weight, half.bias, kEpsilon, at::kFloat), 2e-5);
  expect_close(norm_by_lanes<float, c10::BFloat16, 4>(single.values, single.weight, single.bias),
               channel_norm(single.values, single.weight, single.bias, kEpsilon, at::kBFloat16),
               1e-2);
}

TEST(ChannelNormRows, Interleave) {
  const Rows rows(70);
  const Tensor expected =
      channel_norm(rows.values, rows.weight, rows.bias, kEpsilon, at::kFloat, true);
  expect_close(norm_by_lanes<float, float, 1>(rows.values, rows.weight, rows.bias, true), expected,
               2e-5);
  const Tensor halves = torch::cat({expected.slice(1, 0, 70, 2), expected.slice(1, 1, 70, 2)}, 1);
  const auto split = [](const Tensor& v) {
    return torch::cat({v.slice(0, 0, 70, 2), v.slice(0, 1, 70, 2)});
  };
  expect_close(halves,
               torch::layer_norm(rows.values, {70}, split(rows.weight), split(rows.bias), kEpsilon),
               2e-5);
}

template <typename Branch, int kWidth>
void expect_added(int64_t channels) {
  const Rows rows(channels);
  const Tensor branch = torch::randn({5, channels}).to(c10::CppTypeToScalarType<Branch>::value);
  const Tensor expected_stream = rows.values.clone(), stream = rows.values.clone();
  const Tensor expected = add_channel_norm(expected_stream, branch, rows.bias, kEpsilon);
  EXPECT_EQ(expected.scalar_type(), branch.scalar_type());
  expect_close(expected_stream, rows.values + branch.to(at::kFloat) + rows.bias);

  const Tensor out = torch::full_like(branch, std::nan(""));
  run_warps(ChannelNormRows<float, Branch, kWidth, true>{
      stream.mutable_data_ptr<float>(), stream.stride(0), branch.const_data_ptr<Branch>(),
      branch.stride(0), rows.bias.const_data_ptr<float>(), nullptr, nullptr,
      out.mutable_data_ptr<Branch>(), 5, channels, static_cast<float>(kEpsilon), false});
  expect_close(stream, expected_stream);
  expect_close(out, expected, tolerance_of(branch.scalar_type()));
}

TEST(ChannelNormRows, AddABranchFirst) {
  expect_added<float, 1>(37);
  expect_added<float, 4>(260);
  expect_added<c10::Half, 4>(36);
  expect_added<c10::BFloat16, 1>(33);
}

TEST(ChannelNorm, TakesAnyStridesAndNothing) {
  const Tensor rows = torch::randn({6, 9}).t();
  expect_close(channel_norm(rows, {}, {}, kEpsilon, at::kFloat),
               channel_norm(rows.contiguous(), {}, {}, kEpsilon, at::kFloat));
  EXPECT_EQ(channel_norm(torch::empty({0, 6}), {}, {}, kEpsilon, at::kHalf).size(0), 0);
}

TEST(ChannelNorm, RefusesWhatDoesNotFit) {
  const Tensor rows = torch::randn({4, 6});
  EXPECT_THROW(channel_norm(rows[0], {}, {}, kEpsilon, at::kFloat), c10::Error);
  EXPECT_THROW(channel_norm(rows, torch::ones({5}), {}, kEpsilon, at::kFloat), c10::Error);
  EXPECT_THROW(channel_norm(rows.to(at::kLong), {}, {}, kEpsilon, at::kFloat), c10::Error);
  EXPECT_THROW(channel_norm(torch::randn({4, 5}), {}, {}, kEpsilon, at::kFloat, true), c10::Error);
  EXPECT_THROW(add_channel_norm(rows, rows.narrow(0, 0, 3), torch::ones({6}), kEpsilon),
               c10::Error);
  EXPECT_THROW(add_channel_norm(torch::randn({6, 4}).t(), rows, torch::ones({6}), kEpsilon),
               c10::Error);
}

TEST(ChannelNormCuda, EqualsTheCpu) {
  NEEDS_A_GPU();
  for (const int64_t channels : {1, 37, 64, 992}) {
    for (const auto from : kTypes) {
      const Rows rows(channels, from);
      const Tensor weight = rows.weight.cuda(), bias = rows.bias.cuda();
      // A slice of wider rows, on the GPU too.
      const Tensor values = torch::cat({rows.values, rows.values}, 1).cuda().narrow(1, 0, channels);
      for (const auto to : kTypes) {
        const bool even = channels % 2 == 0;
        expect_close(channel_norm(values, weight, bias, kEpsilon, to, even).cpu(),
                     channel_norm(rows.values, rows.weight, rows.bias, kEpsilon, to, even),
                     tolerance_of(to));
        expect_close(channel_norm(values, weight, {}, kEpsilon, to).cpu(),
                     channel_norm(rows.values, rows.weight, {}, kEpsilon, to), tolerance_of(to));
      }
      const Tensor stream = torch::randn({5, channels}), on_gpu = stream.cuda();
      const Tensor expected = add_channel_norm(stream, rows.values, rows.bias, kEpsilon);
      expect_close(add_channel_norm(on_gpu, values, bias, kEpsilon).cpu(), expected,
                   tolerance_of(from));
      expect_close(on_gpu.cpu(), stream);
    }
  }
  EXPECT_EQ(channel_norm(torch::empty({0, 6}).cuda(), {}, {}, kEpsilon, at::kHalf).size(0), 0);
}

struct Convolution {
  Tensor x, weight, bias, gate;

  // x and the gate are slices of the channels of one wider map.
  Convolution(int64_t channels, int64_t gated, int64_t kernel, int64_t height, int64_t width,
              torch::ScalarType type = torch::kFloat) {
    torch::manual_seed(static_cast<uint64_t>(channels * kernel));
    const Tensor wide = torch::randn({2, gated + channels, height, width})
                            .to(type)
                            .contiguous(torch::MemoryFormat::ChannelsLast);
    gate = wide.narrow(1, 0, gated);
    x = wide.narrow(1, gated, channels);
    weight = torch::randn({channels, 1, kernel, kernel});
    bias = torch::randn({channels});
  }

  Tensor empty() const {
    return torch::full_like(x, std::nan("")).contiguous(torch::MemoryFormat::ChannelsLast);
  }
};

template <typename T>
PixelMap<const T> pixels(const Tensor& map) {
  return {map.const_data_ptr<T>(), map.stride(0), map.stride(2), map.stride(3)};
}

template <typename T, int kKernel>
Tensor convolve_by_tiles(const Convolution& c, bool with_bias, bool gated) {
  const Tensor out = c.empty(), taps = c.weight.permute({2, 3, 1, 0}).contiguous();
  DepthwiseTiles<T, kKernel> tiles = {};
  tiles.x = pixels<T>(c.x);
  if (gated) tiles.gate = pixels<T>(c.gate);
  if (gated) tiles.gated = c.gate.size(1);
  tiles.out = {out.mutable_data_ptr<T>(), out.stride(0), out.stride(2), out.stride(3)};
  tiles.weight = taps.const_data_ptr<float>();
  tiles.bias = with_bias ? c.bias.const_data_ptr<float>() : nullptr;
  tiles.images = c.x.size(0);
  tiles.height = c.x.size(2);
  tiles.width = c.x.size(3);
  tiles.channels = c.x.size(1);
  run_on_host(tiles, ThreadOrder::kAscending);
  const Tensor ascending = out.clone();
  run_on_host(tiles, ThreadOrder::kDescending);
  testing::expect_identical(out, ascending);
  return out;
}

TEST(DepthwiseTiles, AreConvolutions) {
  for (const auto& [height, width] :
       std::vector<std::pair<int64_t, int64_t>>{{8, 8}, {13, 21}, {1, 9}, {17, 3}, {1, 1}}) {
    for (const int64_t channels : {5, 32, 70}) {
      SCOPED_TRACE(std::to_string(height) + "x" + std::to_string(width));
      const Convolution seven(channels, 3, 7, height, width), three(channels, 3, 3, height, width);
      Tensor expected = torch::conv2d(seven.x, seven.weight, seven.bias, 1, 3, 1, channels);
      expected.narrow(1, 0, 3).mul_(seven.gate);
      expect_close(convolve_by_tiles<float, 7>(seven, true, true), expected, 2e-5);
      const Tensor out = seven.empty();
      depthwise(seven.x, seven.weight, seven.bias, seven.gate, out);
      expect_close(out, expected);
      expect_close(convolve_by_tiles<float, 3>(three, false, false),
                   torch::conv2d(three.x, three.weight, {}, 1, 1, 1, channels));
    }
  }
}

TEST(DepthwiseTiles, RoundOnce) {
  const Convolution c(40, 8, 7, 9, 11, torch::kHalf);
  const Tensor out = c.empty();
  depthwise(c.x, c.weight, c.bias, c.gate, out);
  expect_close(convolve_by_tiles<c10::Half, 7>(c, true, true), out, 2e-3);
}

TEST(Depthwise, WritesToAnyStrides) {
  const Convolution c(6, 2, 3, 5, 7);
  const Tensor a = c.empty(), b = torch::zeros({2, 6, 5, 7});
  depthwise(c.x, c.weight, c.bias, {}, a);
  depthwise(c.x.contiguous(), c.weight, c.bias, {}, b);
  expect_close(b, a);
}

TEST(Depthwise, RefusesWhatDoesNotFit) {
  const Convolution c(6, 2, 3, 5, 7);
  const Tensor out = c.empty();
  EXPECT_THROW(depthwise(c.x, torch::ones({6, 1, 5, 5}), {}, {}, out), c10::Error);
  EXPECT_THROW(depthwise(c.x, c.weight, torch::ones({5}), {}, out), c10::Error);
  EXPECT_THROW(depthwise(c.x, c.weight, {}, c.gate.narrow(2, 0, 4), out), c10::Error);
  EXPECT_THROW(depthwise(c.x, c.weight, {}, {}, out.narrow(1, 0, 5)), c10::Error);
  EXPECT_THROW(depthwise(c.x.to(at::kDouble), c.weight, {}, {}, out), c10::Error);
}

TEST(DepthwiseCuda, EqualsTheCpu) {
  NEEDS_A_GPU();
  for (const auto type : kTypes) {
    for (const int64_t kernel : {3, 7}) {
      const Convolution c(70, 33, kernel, 13, 21, type);
      const Tensor out = c.empty(), on_gpu = c.empty().cuda();
      depthwise(c.x, c.weight, c.bias, c.gate, out);
      const Tensor wide =
          torch::cat({c.gate, c.x}, 1).cuda().contiguous(at::MemoryFormat::ChannelsLast);
      depthwise(wide.narrow(1, 33, 70), c.weight.cuda(), c.bias.cuda(), wide.narrow(1, 0, 33),
                on_gpu);
      expect_close(on_gpu.cpu(), out, tolerance_of(type));
    }
  }
  const Tensor none = torch::empty({0, 4, 5, 6}).cuda();
  depthwise(none, torch::ones({4, 1, 3, 3}).cuda(), {}, {}, none.clone());
}

FilterBlocks::Map map_of(const Tensor& map) {
  return {map.mutable_data_ptr<float>(), map.stride(0), map.stride(1), map.stride(2),
          map.stride(3)};
}

const std::vector<std::pair<int64_t, int64_t>> kMapSizes = {
    {1, 1}, {1, 2},  {2, 1},   {1, 9},   {9, 1},   {3, 5},  {4, 4},
    {7, 8}, {6, 10}, {13, 21}, {25, 38}, {32, 12}, {11, 30}};

TEST(FilterBlocks, AreGlobalFilters) {
  torch::manual_seed(5);
  for (const auto& [height, width] : kMapSizes) {
    for (const int64_t channels : {1, 5, 6}) {
      SCOPED_TRACE(std::to_string(height) + "x" + std::to_string(width));
      Tensor x = torch::randn({2, channels, height, width});
      if (channels == 5) x = x.contiguous(torch::MemoryFormat::ChannelsLast);
      const Tensor filter = torch::randn({channels, height, width / 2 + 1, 2});
      const Tensor out = torch::full_like(x, std::nan(""));
      FilterBlocks blocks = {};
      blocks.x = map_of(x);
      blocks.out = map_of(out);
      blocks.filter = reinterpret_cast<const ComplexValue*>(filter.const_data_ptr<float>());
      blocks.images = 2;
      blocks.channels = channels;
      blocks.rows = make_fourier_axis(static_cast<int>(height));
      blocks.columns = make_fourier_axis(static_cast<int>(width));
      const Tensor expected = global_filter(x.to(at::kDouble), filter.to(at::kDouble));
      const double largest = expected.abs().max().item<double>();
      for (const auto order : {ThreadOrder::kAscending, ThreadOrder::kDescending}) {
        out.fill_(std::nan(""));
        run_on_host(blocks, order);
        EXPECT_LE((out - expected).abs().max().item<double>(), 1e-6 * largest);
      }
    }
  }
}

TEST(FilterBlocks, SplitLengthsIntoPrimes) {
  const auto radices = [](int length) {
    const FourierAxis axis = make_fourier_axis(length);
    return std::vector<int>(axis.radix, axis.radix + axis.passes);
  };
  EXPECT_EQ(radices(1), std::vector<int>{});
  EXPECT_EQ(radices(76), (std::vector<int>{4, 19}));
  EXPECT_EQ(radices(50), (std::vector<int>{2, 5, 5}));
  EXPECT_EQ(radices(121), (std::vector<int>{11, 11}));
  EXPECT_EQ(make_fourier_axis(76).terms(), 23);
}

TEST(GlobalFilterInto, WritesWhatTheOtherReturns) {
  const Tensor x = torch::randn({2, 4, 6, 7}), weight = torch::randn({4, 5, 3, 2});
  const Tensor wide = torch::zeros({2, 6, 7, 9});
  global_filter_into(x, weight, wide.permute({0, 3, 1, 2}).narrow(1, 5, 4));
  expect_close(wide.permute({0, 3, 1, 2}).narrow(1, 5, 4), global_filter(x, weight));
  EXPECT_EQ(wide.narrow(3, 0, 5).abs().max().item<float>(), 0);
  EXPECT_THROW(global_filter_into(x, weight, wide), c10::Error);
}

TEST(GlobalFilterCuda, EqualsTheCpu) {
  NEEDS_A_GPU();
  torch::manual_seed(6);
  auto sizes = kMapSizes;
  for (const auto& more : {std::pair<int64_t, int64_t>{50, 76},
                           {64, 128},
                           {97, 96},
                           {101, 133},
                           {200, 336},
                           {256, 256},
                           {300, 200}}) {
    sizes.push_back(more);  // from the third on no room, or a large prime factor
  }
  for (const auto& [height, width] : sizes) {
    SCOPED_TRACE(std::to_string(height) + "x" + std::to_string(width));
    const Tensor weight = torch::randn({7, 14, 8, 2});
    const Tensor x = torch::randn({2, 7, height, width});
    const Tensor expected = global_filter(x, weight);
    const double largest = expected.abs().max().item<double>();
    const Tensor y = global_filter(x.cuda(), weight.cuda()).cpu();
    EXPECT_TRUE(y.is_contiguous());
    EXPECT_LE((y - expected).abs().max().item<double>(), 2e-6 * largest);
    const Tensor last =
        torch::zeros({2, 7, height, width}).cuda().contiguous(at::MemoryFormat::ChannelsLast);
    global_filter_into(x.cuda().contiguous(at::MemoryFormat::ChannelsLast), weight.cuda(), last);
    EXPECT_LE((last.cpu() - expected).abs().max().item<double>(), 2e-6 * largest);
    const Tensor wide = global_filter(x.cuda().to(torch::kFloat64), weight.cuda()).cpu();
    EXPECT_LE((wide - expected).abs().max().item<double>(), 2e-6 * largest);
  }
}

}  // namespace
}  // namespace hornet::ops
