#include <hornet/backbone/error.h>
#include <hornet/training/schedule.h>

#include <algorithm>
#include <cmath>

namespace hornet {
namespace {

// How far a decay that starts after `hold` has come, 0 to 1.
double progress(const ScheduleOptions& options, int64_t iteration) {
  const double all = static_cast<double>(options.iterations);
  const double begin = options.hold * all;
  if (all <= begin) return 0;
  return std::clamp((static_cast<double>(iteration) - begin) / (all - begin), 0.0, 1.0);
}

double decay_factor(const ScheduleOptions& options, int64_t iteration) {
  const double t = progress(options, iteration);
  const auto down_to_minimum = [&](double left) {
    return options.minimum + (1 - options.minimum) * left;
  };
  switch (options.decay) {
    case Decay::kPoly:
      return down_to_minimum(std::pow(1 - t, options.power));
    case Decay::kCosine:
      return down_to_minimum((1 + std::cos(std::acos(-1.0) * t)) / 2);
    case Decay::kStep: {
      double factor = 1;
      for (const double milestone : options.milestones) {
        const double at = milestone * static_cast<double>(options.iterations);
        if (static_cast<double>(iteration) >= at) factor *= options.gamma;
      }
      return factor;
    }
    case Decay::kConstant:
      break;
  }
  return 1;
}

}  // namespace

Decay parse_decay(const std::string& text) {
  if (text == "constant") return Decay::kConstant;
  if (text == "poly") return Decay::kPoly;
  if (text == "cosine") return Decay::kCosine;
  if (text == "step") return Decay::kStep;
  throw Error(ErrorCode::kUsage,
              "--schedule " + text + ": expected constant, poly, cosine or step");
}

double learning_rate_factor(const ScheduleOptions& options, int64_t iteration) {
  double factor = decay_factor(options, iteration);
  if (iteration < options.warmup) {
    const double missing = 1 - static_cast<double>(iteration) / static_cast<double>(options.warmup);
    factor *= 1 - missing * (1 - options.warmup_ratio);
  }
  return factor;
}

}  // namespace hornet
