#include <hornet/backbone/plan/kernels.h>

#include <algorithm>

namespace hornet::plan {

extern const Kernels kPortableKernels;
extern const ProductKernels kPortableBf16Products;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels, kAvx512Kernels;
extern const ProductKernels kAvx2Bf16Products, kAvx512Bf16Products, kAmxProducts;
#endif

namespace {

// `base`, but for matrix products and what they multiply.
Kernels with(const Kernels& base, const ProductKernels& products) {
  Kernels kernels = base;
  static_cast<ProductKernels&>(kernels) = products;
  return kernels;
}

const Kernels& float_kernels([[maybe_unused]] CpuLevel level) {
#if defined(__x86_64__)
  if (level >= CpuLevel::kAvx512) return kAvx512Kernels;
  if (level == CpuLevel::kAvx2) return kAvx2Kernels;
#endif
  return kPortableKernels;
}

const Kernels& bf16_kernels([[maybe_unused]] CpuLevel level) {
#if defined(__x86_64__)
  static const Kernels avx2 = with(kAvx2Kernels, kAvx2Bf16Products);
  // Taken apart, pairs gain nothing from wider vectors.
  static const Kernels avx512 = with(kAvx512Kernels, kAvx2Bf16Products);
  static const Kernels avx512_bf16 = with(kAvx512Kernels, kAvx512Bf16Products);
  static const Kernels amx = with(kAvx512Kernels, kAmxProducts);
  if (level == CpuLevel::kAmx) return amx;
  if (level == CpuLevel::kAvx512Bf16) return avx512_bf16;
  if (level == CpuLevel::kAvx512) return avx512;
  if (level == CpuLevel::kAvx2) return avx2;
#endif
  static const Kernels portable = with(kPortableKernels, kPortableBf16Products);
  return portable;
}

}  // namespace

const Kernels& kernels(CpuLevel level, Precision precision) {
  return precision == Precision::kBfloat16 ? bf16_kernels(level) : float_kernels(level);
}

int64_t filter_scratch(const Kernels& kernels, const Filter& filter) {
  const int64_t columns = filter.size.width / 2 + 1;
  const int64_t longest = std::max(filter.size.height, filter.size.width);
  // The spectrum, a line and a spare one, and twice the largest radix, complex all of them.
  return 2 * kernels.lanes * (filter.size.height * columns + 4 * longest);
}

}  // namespace hornet::plan
