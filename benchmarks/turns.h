// A bare network and whole programs on the same work, in turns.
#pragma once

#include <hornet/backbone/error.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
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
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

// Seconds of the bare network, of the program, and the program's throughput relative to the bare
// network's: medians over the rounds, in each of which all take their turn.
struct Turns {
  double bare = 0;
  std::vector<double> programs, throughputs;  // of every command
};

inline Turns take_turns(const std::function<void()>& bare, const std::vector<std::string>& commands,
                        int rounds) {
  std::vector<double> bare_seconds;
  std::vector<std::vector<double>> seconds(commands.size()), ratios(commands.size());
  for (int round = 0; round < rounds; ++round) {
    bare_seconds.push_back(seconds_of(bare));
    for (size_t i = 0; i < commands.size(); ++i) {
      int code = 0;
      seconds[i].push_back(seconds_of([&] { code = std::system(commands[i].c_str()); }));
      if (code != 0) throw Error(ErrorCode::kRuntime, "failed: " + commands[i]);
      ratios[i].push_back(bare_seconds.back() / seconds[i].back());
    }
  }
  Turns turns;
  turns.bare = median(bare_seconds);
  for (size_t i = 0; i < commands.size(); ++i) {
    turns.programs.push_back(median(seconds[i]));
    turns.throughputs.push_back(median(ratios[i]));
  }
  return turns;
}

// What such a benchmark's main does: `run` with `least` to 6 arguments.
inline int run_benchmark(int argc, char** argv, size_t least, const std::string& usage,
                         const std::function<int(const std::vector<std::string>&)>& run) {
  constexpr size_t kMost = 6;
  const std::vector<std::string> args(argv + 1, argv + argc);
  const std::string name = usage.substr(0, usage.find(' '));
  if (args.size() < least || args.size() > kMost) {
    std::cerr << "usage: " << usage << '\n';
    return 2;
  }
  try {
    return run(args);
  } catch (const std::exception& error) {
    std::cerr << name << ": " << error.what() << '\n';
    return 1;
  }
}

}  // namespace hornet
