// A bare network and the whole program on the same work, in turns.
#pragma once

#include <hornet/backbone/error.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
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

// Adds "bare_seconds", "program_seconds" and "program_to_bare_throughput" to `result`: medians over
// the rounds.
inline void take_turns(const std::function<void()>& bare, const std::string& command, int rounds,
                       nlohmann::ordered_json& result) {
  std::vector<double> bare_seconds, program_seconds, ratios;
  for (int round = 0; round < rounds; ++round) {
    bare_seconds.push_back(seconds_of(bare));
    int code = 0;
    program_seconds.push_back(seconds_of([&] { code = std::system(command.c_str()); }));
    if (code != 0) throw Error(ErrorCode::kRuntime, "failed: " + command);
    ratios.push_back(bare_seconds.back() / program_seconds.back());
  }
  result["bare_seconds"] = median(bare_seconds);
  result["program_seconds"] = median(program_seconds);
  result["program_to_bare_throughput"] = median(ratios);
}

}  // namespace hornet
