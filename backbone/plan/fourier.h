// Discrete Fourier transforms of a fixed length as a list of passes, one per factor, in the
// self-sorting order of Stockham: what kernels_source.h runs on vectors of channels.
#pragma once

#include <cstdint>
#include <vector>

namespace hornet::plan {

// Splits n_current = radix * groups points; entry [p * (radix - 1) + k - 1] of the twiddles is
// exp(-2 pi i p k / n_current), for p < groups and 0 < k < radix.
struct FourierPass {
  int64_t radix = 0, groups = 0;
  std::vector<float> twiddle_re, twiddle_im;
  // cos and sin of 2 pi j k / radix for 0 < j, k <= radix / 2, row k: for odd radices.
  std::vector<float> cosines, sines;
};

struct FourierPlan {
  int64_t length = 0;
  std::vector<FourierPass> passes;
};

FourierPlan make_fourier_plan(int64_t length);

}  // namespace hornet::plan
