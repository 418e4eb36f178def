// Which vector instructions the fast path uses. Each level is one translation unit compiled from
// the same source (kernels_source.h); the best one that the processor has is taken.
//
// HORNET_CPU_LEVEL=portable|avx2|avx512 takes a lower one instead, for tests and measurements.
#pragma once

#include <string>
#include <vector>

namespace hornet {

enum class CpuLevel { kPortable, kAvx2, kAvx512 };

const char* cpu_level_name(CpuLevel level);

// What this processor and this build can run, from low to high.
std::vector<CpuLevel> available_cpu_levels();

// The highest of them, or the one that HORNET_CPU_LEVEL names: Error(kUsage) if it is unknown or
// not available.
CpuLevel cpu_level();

// Whether the processor multiplies bf16 matrices itself (AMX or AVX512-BF16).
bool cpu_has_bf16();

}  // namespace hornet
