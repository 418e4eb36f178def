// Says on stderr how far a long run is.
//
//   Progress progress({ProgressMode::kAuto, "detect", source.expected_frames()});
//   while (...) progress.advance();
//   progress.finish();
//
// On a terminal that is a bar, redrawn ten times a second; elsewhere, or when asked for, one plain
// line every five seconds, so that logs stay short:
//
//   detect [=========>                    ] 265/795 frames  33%  12.4/s  43 s left
//
// Without a total, count and rate are all there is to say. Every method may be called from any
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <mutex>
#include <optional>
#include <string>

namespace hornet {

enum class ProgressMode { kAuto, kPlain, kNone };

// "auto", "plain" or "none"; throws hornet::Error(kUsage) on anything else.
ProgressMode parse_progress_mode(const std::string& text);

struct ProgressOptions {
  ProgressMode mode = ProgressMode::kAuto;
  std::string label;
  std::optional<int64_t> total;
  std::string unit = "frames";
  int64_t first = 0;         // how much was done before: the rate does not count it
  double line_interval = 5;  // seconds between plain lines
};

// Where the progress goes, and the clock it goes by.
struct ProgressOutput {
  std::ostream* stream = nullptr;
  bool is_terminal = false;
  int columns = 80;
  std::function<double()> seconds;  // monotonic

  static ProgressOutput standard_error();
};

class Progress {
 public:
  explicit Progress(ProgressOptions options,
                    ProgressOutput output = ProgressOutput::standard_error());
  ~Progress();  // finishes

  // Sets, or adds to, how much is done.
  void update(int64_t done);
  void advance(int64_t step = 1);

  // What follows the time left from now on: "loss 0.43".
  void describe(const std::string& text);

  // Prints a line of its own, above the bar if there is one. Works in every mode.
  void note(const std::string& line);

  // Prints the final state, once, if anything was done.
  void finish();

 private:
  void show_if_due();
  void show();

  const ProgressOptions options_;
  const ProgressOutput output_;
  const bool draws_bar_;
  const double began_;
  std::mutex mutex_;
  double shown_at_;
  int64_t done_ = 0;
  std::string description_;
  bool bar_is_visible_ = false;
  bool finished_ = false;
};

}  // namespace hornet
