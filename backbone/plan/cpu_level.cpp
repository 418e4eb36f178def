#include <hornet/backbone/error.h>
#include <hornet/backbone/plan/cpu_level.h>

#include <algorithm>
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace hornet {

const char* cpu_level_name(CpuLevel level) {
  switch (level) {
    case CpuLevel::kPortable:
      return "portable";
    case CpuLevel::kAvx2:
      return "avx2";
    case CpuLevel::kAvx512:
      return "avx512";
    case CpuLevel::kAvx512Bf16:
      return "avx512_bf16";
    case CpuLevel::kAmx:
      return "amx";
  }
  return "";
}

namespace {

#if defined(__x86_64__)

// Leaf 7 of CPUID says that there is AMX with bf16, XCR0 that the system keeps its registers, and
// Linux has to be asked before they are used.
bool has_amx() {
#if defined(__linux__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kBf16 = 1u << 22, kTiles = 1u << 24, kExtendedStates = 1u << 27;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kExtendedStates) == 0) return false;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & kBf16) == 0 || (edx & kTiles) == 0) return false;
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned kTileStates = 3u << 17;
  if ((low & kTileStates) != kTileStates) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool has_avx512_bf16() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kAvx512Bf16 = 1u << 5;
  return __builtin_cpu_supports("avx512bw") &&
         __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & kAvx512Bf16) != 0;
}

std::vector<CpuLevel> x86_levels() {
  std::vector<CpuLevel> levels;
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return levels;
  levels.push_back(CpuLevel::kAvx2);
  if (!__builtin_cpu_supports("avx512f")) return levels;
  levels.push_back(CpuLevel::kAvx512);
  if (!has_avx512_bf16()) return levels;
  levels.push_back(CpuLevel::kAvx512Bf16);
  if (has_amx()) levels.push_back(CpuLevel::kAmx);
  return levels;
}

#endif

std::vector<CpuLevel> find_cpu_levels() {
  std::vector<CpuLevel> levels = {CpuLevel::kPortable};
#if defined(__x86_64__)
  for (CpuLevel level : x86_levels()) levels.push_back(level);
#endif
  return levels;
}

CpuLevel best_of(const std::vector<CpuLevel>& levels) {
#if defined(__x86_64__)
  const bool slow_pairs = levels.back() == CpuLevel::kAvx512Bf16 && __builtin_cpu_is("intel");
  if (slow_pairs) return CpuLevel::kAvx512;
#endif
  return levels.back();
}

}  // namespace

const std::vector<CpuLevel>& available_cpu_levels() {
  static const std::vector<CpuLevel> levels = find_cpu_levels();
  return levels;
}

CpuLevel cpu_level() {
  const std::vector<CpuLevel>& levels = available_cpu_levels();
  const char* asked = std::getenv("HORNET_CPU_LEVEL");
  if (asked == nullptr || *asked == '\0') return best_of(levels);
  std::string names;
  for (CpuLevel level : levels) {
    if (asked == std::string(cpu_level_name(level))) return level;
    names += (names.empty() ? "" : ", ") + std::string(cpu_level_name(level));
  }
  throw Error(ErrorCode::kUsage, "HORNET_CPU_LEVEL=" + std::string(asked) +
                                     ": this processor has " + names + "; unset it for the best");
}

CpuLevel float_level() { return std::min(cpu_level(), CpuLevel::kAvx512); }

bool cpu_has_bf16() { return cpu_level() >= CpuLevel::kAvx512Bf16; }

}  // namespace hornet
