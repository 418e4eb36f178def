// A vector of floats as the compiler's own type, of HORNET_LANES lanes: the same source becomes
// SSE, NEON, AVX2 or AVX512 by the flags it is compiled with. In an anonymous namespace, because
// each level has its own.
#pragma once

#include <cstdint>
#include <cstring>

namespace hornet::plan {
namespace {

constexpr int64_t kLanes = HORNET_LANES;
typedef float Vec __attribute__((vector_size(4 * HORNET_LANES)));

inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof(v)); }

// The first `count` lanes, 0 < count <= kLanes.
inline void store_some(float* p, Vec v, int64_t count) {
  if (count >= kLanes) return store(p, v);
  std::memcpy(p, &v, static_cast<size_t>(count) * sizeof(float));
}

// The first `count` lanes and zeros, for memory of which no more may be read; without any, zeros.
inline Vec load_some(const float* p, int64_t count) {
  if (count >= kLanes) return load(p);
  Vec v = {};
  if (count > 0) std::memcpy(&v, p, static_cast<size_t>(count) * sizeof(float));
  return v;
}

// Minus zero, not plus: x + 0 is not x for every x, so the compiler would add.
inline Vec fill(float value) { return value - Vec{}; }

inline float sum(Vec v) {
  float total = 0;
  for (int64_t i = 0; i < kLanes; ++i) total += v[i];
  return total;
}

// v with lanes from `count` on set to zero.
inline Vec keep(Vec v, int64_t count) {
  for (int64_t i = count; i < kLanes; ++i) v[i] = 0;
  return v;
}

inline Vec clamp(Vec v, float limit) {
  const Vec high = fill(limit), low = fill(-limit);
  v = v < high ? v : high;
  return v > low ? v : low;
}

// 0.5 x (1 + erf(x / sqrt 2)). erf(x / sqrt 2) / 2x is a polynomial in u = 2 (x / 5.2)^2 - 1;
// beyond 5.2 erf is 1 in float32. The largest error of 0.5 (1 + erf) is 7e-7.
inline Vec gelu(Vec x) {
  constexpr float kLimit = 5.2f;
  constexpr float kCoefficients[] = {
      1.359499787e-01f,  -6.774380249e-02f, 5.002606170e-02f,  -3.992548239e-02f, 3.196312844e-02f,
      -2.476280850e-02f, 1.812896878e-02f,  -1.235533277e-02f, 8.024357486e-03f,  -5.064612494e-03f,
      2.641695335e-03f,  -9.801660876e-04f, 6.154657341e-04f,  -5.619923545e-04f, 1.983700093e-04f};
  constexpr int kDegree = sizeof(kCoefficients) / sizeof(float) - 1;
  const Vec inside = clamp(x, kLimit);
  const Vec u = inside * inside * (2.f / (kLimit * kLimit)) - 1.f;
  Vec polynomial = fill(kCoefficients[kDegree]);
  for (int i = kDegree - 1; i >= 0; --i) polynomial = polynomial * u + kCoefficients[i];
  return x * (inside * polynomial + 0.5f);
}

}  // namespace
}  // namespace hornet::plan
