#include <hornet/backbone/error.h>
#include <hornet/backbone/plan/cpu_level.h>

#include <algorithm>
#include <cstdlib>

namespace hornet {

const char* cpu_level_name(CpuLevel level) {
  switch (level) {
    case CpuLevel::kPortable:
      return "portable";
    case CpuLevel::kAvx2:
      return "avx2";
    case CpuLevel::kAvx512:
      return "avx512";
  }
  return "";
}

std::vector<CpuLevel> available_cpu_levels() {
  std::vector<CpuLevel> levels = {CpuLevel::kPortable};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    levels.push_back(CpuLevel::kAvx2);
    if (__builtin_cpu_supports("avx512f")) levels.push_back(CpuLevel::kAvx512);
  }
#endif
  return levels;
}

CpuLevel cpu_level() {
  const std::vector<CpuLevel> levels = available_cpu_levels();
  const char* asked = std::getenv("HORNET_CPU_LEVEL");
  if (asked == nullptr || *asked == '\0') return levels.back();
  std::string names;
  for (CpuLevel level : levels) {
    if (asked == std::string(cpu_level_name(level))) return level;
    names += (names.empty() ? "" : ", ") + std::string(cpu_level_name(level));
  }
  throw Error(ErrorCode::kUsage, "HORNET_CPU_LEVEL=" + std::string(asked) +
                                     ": this processor has " + names + "; unset it for the best");
}

bool cpu_has_bf16() {
#if defined(__x86_64__)
  __builtin_cpu_init();
#ifndef __clang__  // whose compiler does not know the name
  if (__builtin_cpu_supports("amx-bf16")) return true;
#endif
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace hornet
