#include "benchmarks/limits.h"

#include <ATen/Parallel.h>
#include <hornet/backbone/ops/cpu/vector_levels.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace hornet {
namespace {

constexpr int64_t kArrays = 3;
constexpr double kSecondsEach = 0.2;

double seconds_since(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

HORNET_VECTOR_LEVELS void copy(float* y, const float* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = x[i];
}

HORNET_VECTOR_LEVELS void triad(float* y, const float* x, const float* z, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = x[i] + 3 * z[i];
}

// Bytes per second of one thread that goes over its arrays for a while; they stay its own.
double thread_rate(int64_t count, bool three) {
  std::vector<float> x(count, 1), y(count, 2), z(count, 3);
  const auto pass = [&] {
    if (three) {
      triad(y.data(), x.data(), z.data(), count);
    } else {
      copy(y.data(), x.data(), count);
    }
    asm volatile("" : : "r"(y.data()) : "memory");  // what was written is needed
  };
  pass();
  int64_t passes = 0;
  const auto began = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < 4; ++i, ++passes) pass();
  } while (seconds_since(began) < kSecondsEach);
  const double bytes = static_cast<double>(passes * count) * sizeof(float) * (three ? 3 : 2);
  return bytes / seconds_since(began);
}

// All threads at once, in GB/s.
double rate(int64_t bytes, bool three) {
  const int threads = at::get_num_threads();
  const auto count = bytes / static_cast<int64_t>(sizeof(float)) / kArrays / threads;
  std::vector<double> rates(threads);
  std::vector<std::thread> running;
  for (double& result : rates) {
    running.emplace_back([&result, count, three] { result = thread_rate(count, three); });
  }
  double sum = 0;
  for (int i = 0; i < threads; ++i) {
    running[i].join();
    sum += rates[i];
  }
  return sum / 1e9;
}

// The best of several runs: what disturbs a run is no limit of the machine.
double matrix_gflops(int64_t m, int64_t k, int64_t n) {
  const torch::Tensor a = torch::randn({m, k}), b = torch::randn({k, n});
  torch::Tensor c = torch::empty({m, n});
  at::mm_out(c, a, b);
  double best = 1e9;
  const auto all_began = std::chrono::steady_clock::now();
  do {
    const auto began = std::chrono::steady_clock::now();
    at::mm_out(c, a, b);
    best = std::min(best, seconds_since(began));
  } while (seconds_since(all_began) < kSecondsEach);
  return 2e-9 * static_cast<double>(m * k * n) / best;
}

}  // namespace

double Limits::gflops() const {
  double best = 0;
  for (const MatrixRate& product : products) best = std::max(best, product.gflops);
  return best;
}

double Limits::gbs(int64_t working_set) const {
  for (const Bandwidth& item : bandwidths) {
    if (working_set <= item.bytes) return std::max(item.copy_gbs, item.triad_gbs);
  }
  return std::max(bandwidths.back().copy_gbs, bandwidths.back().triad_gbs);
}

double Limits::least_seconds(double flops, double bytes) const {
  const double memory = bytes / (1e9 * gbs(static_cast<int64_t>(bytes)));
  return std::max(flops / (1e9 * gflops()), memory);
}

Limits measure_limits() {
  const torch::InferenceMode inference;
  Limits limits;
  // A square one, and the MLPs of HorNet-T's stages 1 and 3 at 800x1216.
  for (const auto& [m, k, n] :
       {std::array<int64_t, 3>{1024, 1024, 1024}, {60800, 64, 256}, {3800, 256, 1024}}) {
    limits.products.push_back({m, k, n, matrix_gflops(m, k, n)});
  }
  const int64_t threads = at::get_num_threads();
  for (const int64_t bytes :
       {threads << 18, threads << 20, threads << 22, int64_t{64} << 20, int64_t{384} << 20}) {
    limits.bandwidths.push_back({bytes, rate(bytes, false), rate(bytes, true)});
  }
  std::sort(limits.bandwidths.begin(), limits.bandwidths.end(),
            [](const Bandwidth& a, const Bandwidth& b) { return a.bytes < b.bytes; });
  return limits;
}

}  // namespace hornet
