// What matrix products multiply: floats, or, where HORNET_BF16 is defined, pairs of bf16 in the
// place of a float each. Of a pair the first value has the lower half. Compiled for AVX512-BF16,
// the processor multiplies and rounds them itself.
#pragma once

#include <hornet/backbone/plan/kernels.h>
#include <hornet/backbone/plan/vector.h>

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace hornet::plan {
namespace {

constexpr int64_t kPanel = 2 * kLanes;

#ifndef HORNET_BF16

constexpr int64_t kPacked = 1;

inline Vec load_all(const float* operand) { return fill(*operand); }

inline Vec dot(Vec sum, Vec a, Vec b) { return sum + a * b; }

// Values `first` and following of a row of operands; `count` of them are there.
inline void store_operands(float* row, int64_t first, Vec values, int64_t count) {
  store_some(row + first, values, count);
}

#else

constexpr int64_t kPacked = 2;
typedef uint32_t Bits __attribute__((vector_size(4 * HORNET_LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * HORNET_LANES)));

// A pair in every lane. As bits: a pair is no number that arithmetic would leave alone.
inline Vec load_all(const float* operand) {
  uint32_t pair;
  std::memcpy(&pair, operand, sizeof(pair));
  return reinterpret_cast<Vec>(Bits{} + pair);
}

#ifdef __AVX512BF16__
inline Vec dot(Vec sum, Vec a, Vec b) {
  return reinterpret_cast<Vec>(_mm512_dpbf16_ps(
      reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b)));
}
#else
inline Vec first_of(Vec pairs) {
  return reinterpret_cast<Vec>(reinterpret_cast<Bits>(pairs) << 16);
}
inline Vec second_of(Vec pairs) {
  return reinterpret_cast<Vec>(reinterpret_cast<Bits>(pairs) & 0xffff0000u);
}
inline Vec dot(Vec sum, Vec a, Vec b) {
  return sum + second_of(a) * second_of(b) + first_of(a) * first_of(b);
}
#endif

// To the nearest, of two to the even one; what is not a number stays none.
#ifdef __AVX512BF16__
inline Halves rounded(Vec values) {
  return reinterpret_cast<Halves>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(values)));
}
#else
inline Halves rounded(Vec values) {
  const Bits bits = reinterpret_cast<Bits>(values);
  const Bits nearest = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  return __builtin_convertvector(values == values ? nearest : bits >> 16 | 0x40u, Halves);
}
#endif

// Values `first` and following of a row of operands. Whole vectors, with zeros behind the `count`
// values that are there: rows end with whole panels.
inline void store_operands(float* row, int64_t first, Vec values, int64_t count) {
  const Halves halves = rounded(count >= kLanes ? values : count > 0 ? keep(values, count) : Vec{});
  std::memcpy(reinterpret_cast<char*>(row) + first * 2, &halves, sizeof(halves));
}

#endif

// The values of a row of operands, those behind its end too.
constexpr int64_t padded(int64_t values) {
  return kPacked * operand_floats(kPacked, kPanel, values);
}

}  // namespace
}  // namespace hornet::plan
