#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/progress.h>

#include <algorithm>
#include <sstream>
#include <thread>
#include <vector>

namespace hornet {
namespace {

// A terminal or a log file with a clock that the test sets.
struct Screen {
  explicit Screen(bool is_terminal, int columns = 80) {
    output.stream = &text;
    output.is_terminal = is_terminal;
    output.columns = columns;
    output.seconds = [this] { return now; };
  }
  std::string take() {
    std::string taken = text.str();
    text.str("");
    return taken;
  }
  double now = 100;
  std::ostringstream text;
  ProgressOutput output;
};

TEST(Progress, PrintsALineEveryFewSecondsInLogs) {
  Screen log(/*is_terminal=*/false);
  Progress progress({ProgressMode::kAuto, "detect", 795}, log.output);
  log.now = 102;
  progress.update(25);
  EXPECT_EQ(log.take(), "");
  log.now = 120;
  progress.update(265);
  EXPECT_EQ(log.take(), "detect 265/795 frames  33%  13.2/s  40 s left\n");
  log.now = 121;
  progress.advance();
  EXPECT_EQ(log.take(), "");
  log.now = 160;
  progress.update(795);
  log.take();
  progress.finish();
  EXPECT_EQ(log.take(), "detect 795/795 frames  100%  13.2/s  in 1:00 min\n");
  progress.finish();
  EXPECT_EQ(log.take(), "");
}

TEST(Progress, DrawsABarOnATerminal) {
  Screen terminal(/*is_terminal=*/true);
  Progress progress({ProgressMode::kAuto, "detect", 100}, terminal.output);
  terminal.now = 110;
  progress.update(50);
  EXPECT_EQ(terminal.take(), "\r\x1b[Kdetect [" + std::string(16, '=') + ">" +
                                 std::string(15, ' ') + "] 50/100 frames  50%  5.00/s  10 s left");
  terminal.now = 110.05;
  progress.update(51);
  EXPECT_EQ(terminal.take(), "");
  progress.finish();
  EXPECT_EQ(terminal.take().back(), '\n');
}

TEST(Progress, FitsNarrowTerminals) {
  for (int columns = 1; columns < 100; ++columns) {
    Screen terminal(/*is_terminal=*/true, columns);
    Progress progress({ProgressMode::kAuto, "detect", 1000}, terminal.output);
    terminal.now = 5000;
    progress.update(7);
    const std::string drawn = terminal.take();
    EXPECT_LE(drawn.size() - std::string("\r\x1b[K").size(), std::max(1, columns - 1));
  }
}

TEST(Progress, WithoutATotalSaysCountAndRate) {
  Screen log(/*is_terminal=*/false);
  Progress progress({ProgressMode::kPlain, "camera", {}}, log.output);
  log.now = 110;
  progress.update(300);
  EXPECT_EQ(log.take(), "camera 300 frames  30.0/s\n");
}

TEST(Progress, MoreThanTheHintIsNoTrouble) {
  Screen terminal(/*is_terminal=*/true);
  Progress progress({ProgressMode::kAuto, "", 10}, terminal.output);
  terminal.now = 110;
  progress.update(12);
  EXPECT_NE(terminal.take().find("12/10 frames  100%"), std::string::npos);
}

TEST(Progress, PlainDrawsNoBarOnATerminal) {
  Screen terminal(/*is_terminal=*/true);
  Progress progress({ProgressMode::kPlain, "detect", 10}, terminal.output);
  terminal.now = 8000;
  progress.update(1);
  EXPECT_EQ(terminal.take(), "detect 1/10 frames  10%  0.00/s  19:45 h left\n");
}

TEST(Progress, NoneIsSilentButForNotes) {
  Screen terminal(/*is_terminal=*/true);
  {
    Progress progress({ProgressMode::kNone, "detect", 10}, terminal.output);
    terminal.now = 200;
    progress.update(5);
    progress.note("a warning");
  }
  EXPECT_EQ(terminal.take(), "a warning\n");
}

TEST(Progress, NotesStandAboveTheBar) {
  Screen terminal(/*is_terminal=*/true);
  Progress progress({ProgressMode::kAuto, "detect", 10}, terminal.output);
  terminal.now = 110;
  progress.update(5);
  const std::string bar = terminal.take();
  progress.note("a warning");
  EXPECT_EQ(terminal.take(), "\r\x1b[Ka warning\n" + bar);
}

TEST(Progress, OfAResumedRunTellsTheRateOfItsOwnPart) {
  Screen log(/*is_terminal=*/false);
  Progress progress({ProgressMode::kPlain, "train", 1000, "iterations", 900, 30}, log.output);
  log.now = 120;
  progress.update(940);
  EXPECT_EQ(log.take(), "");
  progress.describe("loss 0.5");
  log.now = 130;
  progress.update(960);
  EXPECT_EQ(log.take(), "train 960/1000 iterations  96%  2.00/s  20 s left  loss 0.5\n");
  Progress idle({ProgressMode::kPlain, "train", 1000, "iterations", 1000, 30}, log.output);
  idle.finish();
  EXPECT_EQ(log.take(), "");
}

TEST(Progress, CountsFromManyThreads) {
  Screen log(/*is_terminal=*/false);
  Progress progress({ProgressMode::kPlain, "detect", 4000}, log.output);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) progress.advance();
    });
  }
  for (std::thread& thread : threads) thread.join();
  log.now = 101;
  progress.finish();
  EXPECT_NE(log.take().find("4000/4000"), std::string::npos);
}

TEST(Progress, ModesHaveNames) {
  EXPECT_EQ(parse_progress_mode("auto"), ProgressMode::kAuto);
  EXPECT_EQ(parse_progress_mode("plain"), ProgressMode::kPlain);
  EXPECT_EQ(parse_progress_mode("none"), ProgressMode::kNone);
  EXPECT_THROW(parse_progress_mode("loud"), Error);
}

}  // namespace
}  // namespace hornet
