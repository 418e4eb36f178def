#include <hornet/pipelines/measure.h>
#include <hornet/pipelines/run_report.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <sstream>

namespace hornet {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point began) {
  return std::chrono::duration<double, std::milli>(Clock::now() - began).count();
}

double percentile_of(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double place = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(std::floor(place));
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - std::floor(place)) * (values[above] - values[below]);
}

// A line of /proc/self/status, "VmHWM:   123 kB", in bytes.
std::optional<int64_t> status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    std::istringstream words(line);
    std::string name;
    int64_t kilobytes = 0;
    if (words >> name >> kilobytes && name == key) return kilobytes * 1024;
  }
  return std::nullopt;
}

// From Linux 4.0 on, a 5 sets the peak back to what is resident now.
bool reset_peak() {
  peak_host_bytes();  // which keeps what is forgotten here
  std::ofstream file("/proc/self/clear_refs");
  return static_cast<bool>(file << "5\n" << std::flush);
}

// What earlier work has freed would count as this one's.
void give_back_free_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace

double Durations::percentile(double percent) const { return percentile_of(milliseconds, percent); }

std::vector<Durations> measure(const std::vector<std::function<void()>>& functions,
                               const MeasureOptions& options) {
  for (const auto& function : functions) {
    for (int64_t i = 0; i < options.warm_up; ++i) function();
  }
  const size_t count = functions.size();
  const double limit = 1000 * options.seconds * static_cast<double>(count);
  std::vector<Durations> times(count);
  const auto began = Clock::now();
  for (int64_t round = 0;
       count > 0 && (round < options.least_runs || milliseconds_since(began) < limit);) {
    for (size_t turn = 0; turn < count; ++turn) {
      const size_t i = round % 2 == 0 ? turn : count - 1 - turn;
      const auto run_began = Clock::now();
      functions[i]();
      times[i].milliseconds.push_back(milliseconds_since(run_began));
    }
    ++round;
    if (options.on_round) options.on_round(round);
  }
  return times;
}

double paired_ratio(const Durations& a, const Durations& b) {
  std::vector<double> ratios;
  const size_t rounds = std::min(a.milliseconds.size(), b.milliseconds.size());
  for (size_t i = 0; i < rounds; ++i) ratios.push_back(a.milliseconds[i] / b.milliseconds[i]);
  return percentile_of(ratios, 50);
}

std::optional<MemoryUse> memory_of(const std::function<void()>& function) {
  give_back_free_memory();
  MemoryUse use;
  use.exact = reset_peak();
  const std::optional<int64_t> before = status_bytes("VmRSS:");
  function();
  const std::optional<int64_t> peak = status_bytes("VmHWM:");
  if (!before || !peak) return std::nullopt;
  use.before = *before;
  use.peak = std::max(*peak, *before);
  return use;
}

}  // namespace hornet
