// Random numbers that depend on a seed and nothing else: the same on every machine and in every
// thread, which is what lets a run be continued, or loaded by more threads, and stay the same.
#pragma once

#include <cstdint>

namespace hornet {

// A seed for part `index` of what `seed` stands for: an epoch of a run, a sample of an epoch.
inline uint64_t derive_seed(uint64_t seed, uint64_t index) {
  uint64_t x = seed * 0x9e3779b97f4a7c15u + index + 0x632be59bd9b4e019u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() { return derive_seed(0, state_ += 0x9e3779b97f4a7c15u); }
  double uniform(double low = 0, double high = 1) {  // in [low, high)
    constexpr double kUnit = 1.0 / (uint64_t{1} << 53);
    return low + (high - low) * static_cast<double>(next() >> 11) * kUnit;
  }
  int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }
  int64_t between(int64_t first, int64_t last) { return first + below(last - first + 1); }
  bool chance(double probability) { return uniform() < probability; }

 private:
  uint64_t state_;
};

}  // namespace hornet
