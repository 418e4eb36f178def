// Which vector instructions the fast path uses. Each level is compiled from the same source
// (kernels_source.h, products_source.h); the best one that the processor has is taken.
//
// The two above AVX512 differ from it where matrix products take bf16: AVX512-BF16 multiplies pairs
// of them in its vectors, AMX whole tiles. Linux has to be asked for AMX's registers, once for the
// process: the first of these functions does it.
//
// HORNET_CPU_LEVEL=portable|avx2|avx512|avx512_bf16|amx takes a lower one instead, for tests and
// measurements.
#pragma once

#include <string>
#include <vector>

namespace hornet {

enum class CpuLevel { kPortable, kAvx2, kAvx512, kAvx512Bf16, kAmx };

const char* cpu_level_name(CpuLevel level);

// What this processor and this build can run, from low to high.
const std::vector<CpuLevel>& available_cpu_levels();

// The best of them, or the one that HORNET_CPU_LEVEL names: Error(kUsage) if it is unknown or not
// available. The best is the highest, but not AVX512-BF16 of Intel's: pairs take it twice as long
// as as many floats (README, "Fast on a CPU").
CpuLevel cpu_level();

// What float32 runs on at that level: nothing beyond AVX512.
CpuLevel float_level();

// Whether that level multiplies bf16 itself, and faster than float32.
bool cpu_has_bf16();

}  // namespace hornet
