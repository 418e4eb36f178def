#include <hornet/backbone/plan/kernels.h>

#include <algorithm>

namespace hornet::plan {

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels, kAvx512Kernels;
#endif

const Kernels& kernels([[maybe_unused]] CpuLevel level) {
#if defined(__x86_64__)
  if (level == CpuLevel::kAvx2) return kAvx2Kernels;
  if (level == CpuLevel::kAvx512) return kAvx512Kernels;
#endif
  return kPortableKernels;
}

int64_t filter_scratch(const Kernels& kernels, const Filter& filter) {
  const int64_t columns = filter.size.width / 2 + 1;
  const int64_t longest = std::max(filter.size.height, filter.size.width);
  // The spectrum, a line and a spare one, and twice the largest radix, complex all of them.
  return 2 * kernels.lanes * (filter.size.height * columns + 4 * longest);
}

}  // namespace hornet::plan
