// What this machine can do at best, measured before anything is compared with it: multiply-adds of
// large float32 matrix products, and bandwidth to arrays of several sizes.
//
//   const hornet::Limits limits = hornet::measure_limits();
//   double share = limits.least_seconds(flops, bytes) / seconds_that_an_op_took;
#pragma once

#include <cstdint>
#include <vector>

namespace hornet {

// Arrays of `bytes` in all, spread over the threads, read and written again and again. Counted are
// the bytes that a program names, as in STREAM; a cache may move more.
struct Bandwidth {
  int64_t bytes = 0;
  double copy_gbs = 0;   // y = x
  double triad_gbs = 0;  // y = x + 3 z
};

struct MatrixRate {
  int64_t m = 0, k = 0, n = 0;
  double gflops = 0;
};

struct Limits {
  std::vector<MatrixRate> products;
  std::vector<Bandwidth> bandwidths;  // from small arrays (within L2) to large ones (memory)

  double gflops() const;                  // the best of the products
  double gbs(int64_t working_set) const;  // of the smallest arrays that are as large

  // No way to do `flops` operations on `bytes` of memory takes less.
  double least_seconds(double flops, double bytes) const;
};

Limits measure_limits();

}  // namespace hornet
