// The learning rate as a pure function of the iteration: what a resumed run needs to know is the
// iteration alone.
//
//   ScheduleOptions options;
//   options.iterations = 160000;
//   options.warmup = 1500;  // then poly, the authors' for UperNet
//   double rate = base_rate * learning_rate_factor(options, i);
//
// The decay begins after `hold` of the iterations at the full rate and ends at `minimum`. A warm-up
// multiplies whatever the schedule says, growing linearly from `warmup_ratio` to 1 (as mmcv's
// does).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hornet {

enum class Decay {
  kConstant,
  kPoly,    // (1 - t)^power
  kCosine,  // (1 + cos(pi t)) / 2
  kStep     // times `gamma` at each milestone
};

// "constant", "poly", "cosine" or "step"; Error(kUsage) for anything else.
Decay parse_decay(const std::string& text);

struct ScheduleOptions {
  Decay decay = Decay::kPoly;
  int64_t iterations = 160000;
  double hold = 0;     // share of the iterations before a poly or cosine decay begins
  double minimum = 0;  // the factor at the end of a poly or cosine decay
  double power = 1;    // of poly
  std::vector<double> milestones = {0.75, 11.0 / 12.0};  // of step, as shares of the iterations
  double gamma = 0.1;                                    // of step
  int64_t warmup = 0;                                    // iterations
  double warmup_ratio = 1e-6;
};

// The factor of the base rate in iteration 0, 1, ...
double learning_rate_factor(const ScheduleOptions& options, int64_t iteration);

}  // namespace hornet
