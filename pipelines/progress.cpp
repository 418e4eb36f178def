#include <hornet/backbone/error.h>
#include <hornet/pipelines/progress.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <utility>

namespace hornet {
namespace {

constexpr double kBarInterval = 0.1;
constexpr int kMaxBarWidth = 40;
constexpr int kMinBarWidth = 5;
constexpr const char* kClearLine = "\r\x1b[K";

std::string duration_text(double seconds) {
  const int64_t all = std::llround(seconds);
  char text[64];
  if (all < 60) {
    std::snprintf(text, sizeof(text), "%d s", static_cast<int>(all));
  } else if (all < 3600) {
    std::snprintf(text, sizeof(text), "%d:%02d min", static_cast<int>(all / 60),
                  static_cast<int>(all % 60));
  } else {
    std::snprintf(text, sizeof(text), "%lld:%02d h", static_cast<long long>(all / 3600),
                  static_cast<int>(all % 3600 / 60));
  }
  return text;
}

std::string rate_text(double per_second) {
  char text[64];
  std::snprintf(text, sizeof(text), per_second < 10 ? "%.2f/s" : "%.1f/s", per_second);
  return text;
}

// "265/795 frames  33%  12.4/s  43 s left", or as much of it as is known.
std::string state_text(const ProgressOptions& options, int64_t done, double seconds,
                       bool finished) {
  const double rate = seconds > 0 ? static_cast<double>(done - options.first) / seconds : 0;
  std::string text = std::to_string(done);
  if (options.total) text += "/" + std::to_string(*options.total);
  text += " " + options.unit;
  if (options.total && *options.total > 0) {
    text += "  " + std::to_string(std::min<int64_t>(100, 100 * done / *options.total)) + "%";
  }
  if (rate > 0) text += "  " + rate_text(rate);
  if (finished) {
    text += "  in " + duration_text(seconds);
  } else if (options.total && rate > 0 && done < *options.total) {
    text += "  " + duration_text(static_cast<double>(*options.total - done) / rate) + " left";
  }
  return text;
}

std::string bar_text(double share, int width) {
  const int filled = static_cast<int>(std::clamp(share, 0.0, 1.0) * width);
  std::string bar(width, ' ');
  std::fill_n(bar.begin(), filled, '=');
  if (filled < width) bar[filled] = '>';
  return "[" + bar + "] ";
}

}  // namespace

ProgressMode parse_progress_mode(const std::string& text) {
  if (text == "auto") return ProgressMode::kAuto;
  if (text == "plain") return ProgressMode::kPlain;
  if (text == "none") return ProgressMode::kNone;
  throw Error(ErrorCode::kUsage, "--progress: expected auto, plain or none, found '" + text + "'");
}

ProgressOutput ProgressOutput::standard_error() {
  ProgressOutput output;
  output.stream = &std::cerr;
  output.is_terminal = isatty(STDERR_FILENO) != 0;
  winsize window = {};
  if (output.is_terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0) {
    output.columns = window.ws_col;
  }
  output.seconds = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
  return output;
}

Progress::Progress(ProgressOptions options, ProgressOutput output)
    : options_(std::move(options)),
      output_(std::move(output)),
      draws_bar_(options_.mode == ProgressMode::kAuto && output_.is_terminal),
      began_(output_.seconds()),
      shown_at_(began_),
      done_(options_.first) {}

Progress::~Progress() { finish(); }

void Progress::update(int64_t done) {
  const std::lock_guard<std::mutex> lock(mutex_);
  done_ = done;
  show_if_due();
}

void Progress::advance(int64_t step) {
  const std::lock_guard<std::mutex> lock(mutex_);
  done_ += step;
  show_if_due();
}

void Progress::describe(const std::string& text) {
  const std::lock_guard<std::mutex> lock(mutex_);
  description_ = text;
}

void Progress::note(const std::string& line) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (bar_is_visible_) *output_.stream << kClearLine;
  *output_.stream << line << '\n';
  if (bar_is_visible_) show();
  output_.stream->flush();
}

void Progress::finish() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (finished_) return;
  finished_ = true;
  if (options_.mode == ProgressMode::kNone || done_ == options_.first) return;
  show();
  if (draws_bar_) *output_.stream << '\n';
  bar_is_visible_ = false;
  output_.stream->flush();
}

void Progress::show_if_due() {
  if (finished_ || options_.mode == ProgressMode::kNone) return;
  const double now = output_.seconds();
  if (now - shown_at_ < (draws_bar_ ? kBarInterval : options_.line_interval)) return;
  shown_at_ = now;
  show();
}

void Progress::show() {
  const std::string label = options_.label.empty() ? "" : options_.label + " ";
  std::string state = state_text(options_, done_, output_.seconds() - began_, finished_);
  if (!description_.empty()) state += "  " + description_;
  if (!draws_bar_) {
    *output_.stream << label << state << std::endl;
    return;
  }
  std::string bar;
  constexpr int kBrackets = 4;  // "[] " and the column that terminals wrap at
  const int room = output_.columns - static_cast<int>(label.size() + state.size()) - kBrackets;
  if (options_.total && *options_.total > 0 && room >= kMinBarWidth) {
    bar = bar_text(static_cast<double>(done_) / static_cast<double>(*options_.total),
                   std::min(room, kMaxBarWidth));
  }
  const std::string line = (label + bar + state).substr(0, std::max(1, output_.columns - 1));
  *output_.stream << kClearLine << line << std::flush;
  bar_is_visible_ = true;
}

}  // namespace hornet
