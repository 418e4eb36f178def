// How long functions take and how much memory they need: what `hornet bench` and the programs in
// benchmarks/ measure with.
//
//   auto times = hornet::measure({[&] { mine->forward(x); }, [&] { theirs->forward(x); }}, {});
//   std::cout << times[0].median() << " ms, theirs over mine: ";
//   std::cout << paired_ratio(times[1], times[0]) << '\n';
//
// Functions take turns, run by run, and every second round goes backwards: what disturbs a machine
// disturbs all of them alike, so that their ratio holds where two separate times would not be
// comparable. A function that starts work elsewhere (on a GPU) has to wait for it.
//
//   if (auto memory = hornet::memory_of([&] { mine->forward(x); })) std::cout << memory->peak;
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace hornet {

struct MeasureOptions {
  double seconds = 5;      // of each function's runs, if they are not more than that
  int64_t least_runs = 5;  // of each function, however long they take
  int64_t warm_up = 2;     // runs of each function that do not count
  std::function<void(int64_t rounds)> on_round = {};  // called between rounds
};

// The runs of one function, in their order.
struct Durations {
  std::vector<double> milliseconds;

  // From 0 (the least) to 100 (the largest), linear between neighbours; 0 without any runs.
  double percentile(double percent) const;
  double median() const { return percentile(50); }
};

std::vector<Durations> measure(const std::vector<std::function<void()>>& functions,
                               const MeasureOptions& options);

// a's times over b's: the median over the rounds of one measure().
double paired_ratio(const Durations& a, const Durations& b);

// The process's resident memory, in bytes.
struct MemoryUse {
  int64_t before = 0;  // the function began
  int64_t peak = 0;    // while it ran
  bool exact = false;  // false: the system cannot reset its peak, which is then the process's own
};

// Runs `function`. Nothing where the system does not say (no /proc).
std::optional<MemoryUse> memory_of(const std::function<void()>& function);

}  // namespace hornet
