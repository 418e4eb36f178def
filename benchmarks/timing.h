// Seconds of a piece of work, and the middle one of several.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

namespace hornet {

inline double seconds_of(const std::function<void()>& body) {
  const auto began = std::chrono::steady_clock::now();
  body();
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - began;
  return spent.count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace hornet
