// The ops one by one, in Google Benchmark, beside what the machine could do.
//
//   bench_ops [--benchmark_filter=global_filter] [--benchmark_min_time=0.5]
//   [--benchmark_format=json]
//
// Matrix rate and bandwidths are measured first and printed with the context. Columns: GFLOP/s (a
// multiply-add is two), GB/s of the bytes that have to be read and written at least once, and
// `limit`, the share of the limit: 1 where the op takes the time that its arithmetic needs at the
// matrix rate or its bytes at the bandwidth of memory of their size, whichever is longer. Sizes are
// those of HorNet-T at 224x224 and 800x1216, and odd ones.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <hornet/backbone/gnconv.h>
#include <hornet/backbone/inference.h>
#include <hornet/backbone/layer_norm.h>
#include <hornet/backbone/ops/global_filter.h>
#include <hornet/backbone/ops/gnconv.h>
#include <hornet/backbone/plan/conv_plan.h>
#include <hornet/backbone/plan/cpu_level.h>
#include <hornet/backbone/plan/pack.h>
#include <hornet/backbone/plan/parallel.h>
#include <hornet/backbone/plan/pyramid_conv.h>
#include <hornet/heads/ops/blend_windows.h>
#include <hornet/heads/ops/nms.h>
#include <hornet/heads/ops/paste_masks.h>
#include <hornet/heads/ops/roi_align.h>
#include <hornet/pipelines/measure.h>
#include <hornet/pipelines/memory.h>
#include <torch/types.h>
#include <torch/utils.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "benchmarks/limits.h"

namespace hornet {
namespace {

const Limits* limits = nullptr;  // set once, before the first benchmark

// What one run has to do at least; 0: not counted.
struct Work {
  double flops = 0, bytes = 0;
  double items = 0;  // boxes, pixels
};

// Counters with plain values: Google Benchmark's own rates print "GB/s=12/s".
void count(benchmark::State& state, const Work& work, double seconds) {
  const double runs_per_second = static_cast<double>(state.iterations()) / seconds;
  if (work.flops > 0) state.counters["GFLOP/s"] = 1e-9 * work.flops * runs_per_second;
  if (work.bytes > 0) state.counters["GB/s"] = 1e-9 * work.bytes * runs_per_second;
  if (work.items > 0) state.counters["items/s"] = work.items * runs_per_second;
  if (work.flops + work.bytes > 0) {
    state.counters["limit"] = limits->least_seconds(work.flops, work.bytes) * runs_per_second;
  }
}

void add(const std::string& name, const Work& work, const std::function<void()>& run) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [work, run](benchmark::State& state) {
                                 const torch::InferenceMode inference;
                                 run();
                                 const auto began = std::chrono::steady_clock::now();
                                 for (auto _ : state) run();
                                 const std::chrono::duration<double> spent =
                                     std::chrono::steady_clock::now() - began;
                                 count(state, work, spent.count());
                               })
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}

double bytes_of(const torch::Tensor& tensor) { return static_cast<double>(tensor.nbytes()); }

struct Map {
  int64_t channels, height, width;
};

std::string text(const Map& map) {
  return std::to_string(map.channels) + "x" + std::to_string(map.height) + "x" +
         std::to_string(map.width);
}

double places(const Map& map) { return static_cast<double>(map.height * map.width); }

torch::Tensor random_map(const Map& map) {
  return torch::randn({1, map.channels, map.height, map.width})
      .contiguous(at::MemoryFormat::ChannelsLast);
}

// Maps of the four stages at 224x224 and 800x1216, and one of odd sides.
constexpr Map kStageMaps[] = {{64, 56, 56},  {64, 200, 304}, {128, 100, 152}, {256, 14, 14},
                              {256, 50, 76}, {256, 13, 21},  {512, 7, 7},     {512, 25, 38}};

// Stage i has order i + 2 and base_dim << i channels.
int64_t order_of(const Map& map) {
  return 2 + static_cast<int64_t>(std::lround(std::log2(static_cast<double>(map.channels) / 64)));
}

void add_gnconv(const Map& map) {
  const std::vector<int64_t> widths = gnconv_widths(map.channels, order_of(map));
  int64_t gates = 0;
  double multiplies = 0;
  std::vector<torch::Tensor> weights, biases;
  for (size_t k = 0; k < widths.size(); ++k) {
    gates += widths[k];
    if (k == 0) continue;
    weights.push_back(torch::randn({widths[k], widths[k - 1]}));
    biases.push_back(torch::randn({widths[k]}));
    multiplies += static_cast<double>(widths[k] * widths[k - 1]);
  }
  const torch::Tensor p = random_map({widths[0], map.height, map.width});
  const torch::Tensor q = random_map({gates, map.height, map.width});
  const Work work = {
      2 * multiplies * places(map),
      bytes_of(p) + bytes_of(q) + 4 * static_cast<double>(map.channels) * places(map)};
  add("gnconv/order:" + std::to_string(widths.size()) + "/" + text(map), work,
      [=] { benchmark::DoNotOptimize(ops::gnconv(p, q, weights, biases, 1.0 / 3)); });
}

torch::Tensor fft_filter(const torch::Tensor& x, const torch::Tensor& weight) {
  const torch::Tensor spectrum = at::fft_rfft2(x, c10::nullopt, {-2, -1}, "ortho");
  const int64_t sizes[] = {x.size(2), x.size(3)};
  return at::fft_irfft2(spectrum * weight, at::IntArrayRef(sizes), {-2, -1}, "ortho");
}

// Operations of two real Fourier transforms, 2.5 N log2 N each, and of the complex product.
double filter_flops(const Map& map) {
  const double n = places(map);
  return static_cast<double>(map.channels) * (5 * n * std::log2(n) + 3 * n);
}

// The filter of prepared models, and torch.fft.
void add_global_filter(const Map& map) {
  const torch::Tensor x = random_map(map);
  const torch::Tensor weight = torch::randn({map.channels, map.height, map.width / 2 + 1, 2});
  const Work work = {filter_flops(map), 2 * bytes_of(x) + bytes_of(weight)};
  const plan::Kernels& kernels = plan::kernels(float_level());
  const auto filter =
      std::make_shared<plan::Filter>(plan::make_filter(kernels, weight, {map.height, map.width}));
  const int64_t part = plan::filter_scratch(kernels, *filter);
  add("global_filter/" + text(map), work, [=, &kernels] {
    // Rows that vectors may be read beyond the end of, as those of a plan's workspace.
    static plan::AlignedBuffer out;
    out.grow(x.numel() + kernels.lanes);
    float* const scratch = plan::borrow_scratch(part * at::get_num_threads());
    const plan::ConstRows from = {x.const_data_ptr<float>(), map.channels};
    plan::in_parallel((map.channels + kernels.lanes - 1) / kernels.lanes,
                      [&](int64_t block, int64_t worker) {
                        kernels.global_filter(*filter, block, from, {out.data(), map.channels},
                                              scratch + worker * part);
                      });
    benchmark::DoNotOptimize(out.data());
  });
  const torch::Tensor complex = torch::view_as_complex(weight);
  add("torch_fft_filter/" + text(map), work,
      [=] { benchmark::DoNotOptimize(fft_filter(x, complex)); });
}

// A convolution of a head, prepared in float32 and in bf16, and LibTorch's.
void add_conv(const Map& map, int64_t outputs, int64_t kernel) {
  const torch::Tensor x = random_map(map);
  const torch::Tensor weight = torch::randn({outputs, map.channels, kernel, kernel});
  const torch::Tensor bias = torch::randn({outputs});
  const Work work = {
      2 * static_cast<double>(kernel * kernel * map.channels * outputs) * places(map),
      bytes_of(x) + bytes_of(weight) + 4 * static_cast<double>(outputs) * places(map)};
  const std::string name = std::to_string(kernel) + "x" + std::to_string(kernel) + "/" + text(map) +
                           "/to:" + std::to_string(outputs);
  for (const auto& [prefix, precision] : {std::pair{"conv", plan::Precision::kFloat32},
                                          std::pair{"bf16_conv", plan::Precision::kBfloat16}}) {
    const auto conv = std::make_shared<plan::ConvPlan>(weight, bias, false, precision);
    add(prefix + name, work, [=] { benchmark::DoNotOptimize(conv->forward(x)); });
  }
  const int64_t padding[] = {kernel / 2, kernel / 2}, one[] = {1, 1};
  add("torch_conv" + name, work,
      [=] { benchmark::DoNotOptimize(at::conv2d(x, weight, bias, one, padding, one)); });
}

// UperNet's fusion of four levels, mixed at their own resolution; the work is that of the
// convolution of the maps resized and side by side.
void add_pyramid_conv(const Map& finest, int64_t outputs) {
  std::vector<torch::Tensor> maps;
  for (int64_t i = 0; i < 4; ++i) {
    maps.push_back(random_map({finest.channels, finest.height >> i, finest.width >> i}));
  }
  const torch::Tensor weight = torch::randn({outputs, 4 * finest.channels, 3, 3});
  const auto conv = std::make_shared<plan::PyramidConvPlan>(
      weight, torch::randn({outputs}), true, std::vector<int64_t>(4, finest.channels));
  const Work work = {2 * 9 * 4 * static_cast<double>(finest.channels * outputs) * places(finest),
                     0};
  add("pyramid_conv/" + text(finest) + "/to:" + std::to_string(outputs), work,
      [=] { benchmark::DoNotOptimize(conv->forward(maps)); });
}

// A whole gnConv, prepared, of the order of its stage.
void add_prepared_gnconv(const Map& map, bool global) {
  GnConvOptions options = GnConvOptions(map.channels).order(order_of(map)).scale(1.0 / 3);
  if (global) options.global_filter(FilterSize{14, 8});
  GnConv conv(options);
  conv->eval();
  prepare_for_inference(*conv);
  const torch::Tensor x = random_map(map);
  add(std::string("prepared_gnconv") + (global ? "_gf/" : "_7x7/") + text(map), {},
      [=]() mutable { benchmark::DoNotOptimize(conv->forward(x)); });
}

void add_layer_norm(const Map& map) {
  const torch::Tensor x = random_map(map);
  ChannelLayerNorm norm(map.channels);
  const Work work = {8 * places(map) * static_cast<double>(map.channels), 2 * bytes_of(x)};
  add("layer_norm/" + text(map), work,
      [=]() mutable { benchmark::DoNotOptimize(norm->forward(x)); });
}

void add_depthwise(const Map& map, int64_t kernel) {
  const torch::Tensor x = random_map(map);
  const torch::Tensor weight = torch::randn({map.channels, 1, kernel, kernel});
  const torch::Tensor bias = torch::randn({map.channels});
  const Work work = {2 * static_cast<double>(kernel * kernel * map.channels) * places(map),
                     2 * bytes_of(x)};
  const int64_t padding[] = {kernel / 2, kernel / 2}, one[] = {1, 1};
  add("depthwise" + std::to_string(kernel) + "x" + std::to_string(kernel) + "/" + text(map), work,
      [=] {
        benchmark::DoNotOptimize(at::conv2d(x, weight, bias, one, padding, one, map.channels));
      });
}

// Boxes as (x1, y1, x2, y2) within an image, no side longer than `longest`.
torch::Tensor random_boxes(int64_t count, double width, double height, double longest) {
  const torch::Tensor room = torch::tensor({width - longest, height - longest}, torch::kFloat32);
  const torch::Tensor corner = torch::rand({count, 2}) * room;
  return torch::cat({corner, corner + 1 + torch::rand({count, 2}) * (longest - 1)}, 1);
}

void add_roi_align(const Map& map, int64_t stride, int64_t count, int64_t pooled) {
  const torch::Tensor features = random_map(map);
  // What this level gets of a pyramid: up to 28 steps a side, on the coarsest what there is.
  const double longest = static_cast<double>(stride * std::min<int64_t>(28, map.height - 1));
  const torch::Tensor boxes = random_boxes(count, static_cast<double>(map.width * stride),
                                           static_cast<double>(map.height * stride), longest);
  const torch::Tensor rois = torch::cat({torch::zeros({count, 1}), boxes}, 1);
  const double scale = 1.0 / static_cast<double>(stride);
  const torch::Tensor grid =
      ((boxes.slice(1, 2) - boxes.slice(1, 0, 2)) * scale / static_cast<double>(pooled)).ceil();
  const double samples = grid.prod(1).sum().item<double>() * static_cast<double>(pooled * pooled);
  const auto channels = static_cast<double>(map.channels);
  const Work work = {
      8 * samples * channels,  // four neighbours each
      bytes_of(features) + 4 * static_cast<double>(count * pooled * pooled) * channels,
      static_cast<double>(count)};
  add("roi_align/" + text(map) + "/rois:" + std::to_string(count) + "/" + std::to_string(pooled),
      work, [=] { benchmark::DoNotOptimize(ops::roi_align(features, rois, scale, pooled)); });
}

void add_nms(int64_t count) {
  const torch::Tensor boxes = random_boxes(count, 1333, 800, 200), scores = torch::rand({count});
  add("nms/" + std::to_string(count), {0, 0, static_cast<double>(count)},
      [=] { benchmark::DoNotOptimize(ops::nms(boxes, scores, 0.7)); });
}

void add_paste_masks(int64_t count, int64_t width, int64_t height) {
  const torch::Tensor probs = torch::rand({count, 28, 28});
  const torch::Tensor boxes =
      random_boxes(count, static_cast<double>(width), static_cast<double>(height), 200);
  const auto pixels =
      static_cast<double>(ops::paste_masks(probs, boxes, height, width).pixels.numel());
  // Four neighbours and a comparison a pixel, and its byte.
  const Work work = {9 * pixels, bytes_of(probs) + pixels, pixels};
  add("paste_masks/" + std::to_string(count) + "/" + std::to_string(width) + "x" +
          std::to_string(height),
      work, [=] { benchmark::DoNotOptimize(ops::paste_masks(probs, boxes, height, width)); });
}

// Two rows of windows that overlap by a third, and the labels of a row of windows.
void add_blend_windows(int64_t classes, int64_t tile, int64_t columns) {
  const int64_t stride = tile * 2 / 3, width = (columns - 1) * stride + tile;
  ops::PlacedWindows windows;
  windows.row_weights = windows.column_weights = torch::ones({tile});
  for (int64_t i = 0; i < 2 * columns; ++i) {
    windows.logits.push_back(torch::randn({tile / 4, tile / 4, classes}));
    windows.x.push_back(i % columns * stride);
    windows.y.push_back(i / columns * stride);
  }
  const double pixels = static_cast<double>(stride * width), logits = bytes_of(windows.logits[0]);
  // Each pixel lies in 2.25 windows: resized, weighted and added; read once, and a byte written.
  const Work work = {2.25 * 4 * pixels * static_cast<double>(classes),
                     static_cast<double>(2 * columns) * logits + pixels, pixels};
  add("blended_labels/" + std::to_string(classes) + "x" + std::to_string(tile) + "x" +
          std::to_string(columns),
      work, [=] {
        benchmark::DoNotOptimize(ops::blended_labels(windows, {0, stride, width, stride}));
      });
}

void add_all() {
  for (const Map& map : kStageMaps) add_gnconv(map);
  for (const Map& map : kStageMaps) {
    for (const bool global : {false, true}) {
      if (!global || map.channels >= 256) add_prepared_gnconv(map, global);
    }
  }
  // The last four have sides with large prime factors.
  for (const Map& map : {Map{240, 14, 14}, Map{240, 50, 76}, Map{240, 13, 21}, Map{240, 64, 128},
                         Map{496, 7, 7}, Map{496, 25, 38}, Map{240, 37, 59}, Map{240, 67, 101},
                         Map{240, 127, 127}, Map{496, 23, 62}}) {
    add_global_filter(map);
  }
  add_conv({64, 128, 128}, 512, 1);
  add_conv({256, 200, 304}, 256, 3);
  add_conv({512, 13, 21}, 512, 3);
  add_pyramid_conv({512, 128, 128}, 512);
  for (const Map& map : kStageMaps) add_layer_norm(map);
  for (const Map& map : {Map{96, 200, 304}, Map{224, 100, 152}, Map{480, 50, 76}, Map{480, 13, 21},
                         Map{992, 25, 38}}) {
    add_depthwise(map, 7);
  }
  add_depthwise({240, 50, 76}, 3);
  for (const int64_t pooled : {7, 14}) {
    add_roi_align({256, 200, 304}, 4, pooled == 7 ? 1000 : 100, pooled);
    add_roi_align({256, 13, 21}, 32, 37, pooled);
  }
  for (const int64_t count : {37, 1000, 4823}) add_nms(count);
  add_paste_masks(100, 1333, 800);
  add_paste_masks(7, 517, 333);
  add_blend_windows(150, 512, 6);
  add_blend_windows(19, 333, 2);
}

// The limits as lines of the context.
void describe(const Limits& measured) {
  benchmark::AddCustomContext("isa", hornet::cpu_level_name(hornet::float_level()));
  benchmark::AddCustomContext("threads", std::to_string(at::get_num_threads()));
  benchmark::AddCustomContext("libtorch", TORCH_VERSION);
  const auto whole = [](double value) { return std::to_string(std::lround(value)); };
  for (const MatrixRate& product : measured.products) {
    benchmark::AddCustomContext("sgemm " + std::to_string(product.m) + "x" +
                                    std::to_string(product.k) + "x" + std::to_string(product.n),
                                whole(product.gflops) + " GFLOP/s");
  }
  for (const Bandwidth& item : measured.bandwidths) {
    benchmark::AddCustomContext(
        "arrays of " + std::to_string(item.bytes >> 10) + " KiB",
        "copy " + whole(item.copy_gbs) + ", triad " + whole(item.triad_gbs) + " GB/s");
  }
}

}  // namespace
}  // namespace hornet

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  hornet::keep_freed_memory();  // as the program does
  torch::manual_seed(1);
  const hornet::Limits measured = hornet::measure_limits();
  hornet::limits = &measured;
  hornet::describe(measured);
  hornet::add_all();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
