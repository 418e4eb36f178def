#include <gtest/gtest.h>
#include <hornet/pipelines/measure.h>
#include <hornet/pipelines/run_report.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace hornet {
namespace {

constexpr int64_t kMiB = 1 << 20;

TEST(Durations, PercentilesLieBetweenNeighbours) {
  const Durations times{{40, 10, 30, 20}};
  EXPECT_DOUBLE_EQ(times.percentile(0), 10);
  EXPECT_DOUBLE_EQ(times.percentile(100), 40);
  EXPECT_DOUBLE_EQ(times.median(), 25);
  EXPECT_DOUBLE_EQ(times.percentile(10), 13);
  EXPECT_DOUBLE_EQ(Durations{{7}}.percentile(90), 7);
  EXPECT_DOUBLE_EQ(Durations{}.median(), 0);
}

TEST(Measure, FunctionsTakeTurnsAndTheTurnsChangeDirection) {
  std::string order;
  std::vector<int64_t> rounds;
  MeasureOptions options;
  options.seconds = 0;
  options.least_runs = 3;
  options.warm_up = 2;
  options.on_round = [&](int64_t round) { rounds.push_back(round); };
  const auto times = measure({[&] { order += 'a'; }, [&] { order += 'b'; }}, options);
  EXPECT_EQ(order,
            "aabb"
            "ab"
            "ba"
            "ab");
  EXPECT_EQ(rounds, (std::vector<int64_t>{1, 2, 3}));
  ASSERT_EQ(times.size(), 2u);
  for (const Durations& one : times) EXPECT_EQ(one.milliseconds.size(), 3u);
  EXPECT_TRUE(measure({}, options).empty());
}

TEST(Measure, GoesOnUntilTheTimeIsUp) {
  MeasureOptions options;
  options.seconds = 0.1;
  options.least_runs = 1;
  const auto sleep = [](int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); };
  const auto times = measure({[&] { sleep(1); }, [&] { sleep(4); }}, options);
  EXPECT_GT(times[0].milliseconds.size(), 3u);
  EXPECT_GE(times[0].percentile(0), 1);
  EXPECT_GE(times[1].percentile(0), 4);
}

TEST(Measure, RatiosAreOfRunsInTheSameRound) {
  // The machine slowed down by ten in between; each round says 2.
  EXPECT_DOUBLE_EQ(paired_ratio({{2, 4, 40, 20}}, {{1, 2, 20, 10}}), 2);
  EXPECT_DOUBLE_EQ(paired_ratio({{2, 30, 40}}, {{1, 10, 10}}), 3);
}

TEST(Memory, OfAFunctionIsItsOwn) {
  volatile char sink = 0;
  const auto touch = [&](int64_t bytes) {
    const std::vector<char> block(bytes, 1);
    sink = block.back();
  };
  touch(256 * kMiB);
  const auto use = memory_of([&] { touch(64 * kMiB); });
  if (!use || !use->exact) GTEST_SKIP() << "this system does not reset a process's peak";
  EXPECT_GE(use->peak - use->before, 62 * kMiB);
  EXPECT_LE(use->peak - use->before, 96 * kMiB);
}

TEST(Memory, OfAFunctionLeavesThePeakOfTheProcess) {
  {
    const std::vector<char> block(256 * kMiB, 1);
    EXPECT_EQ(block.back(), 1);
  }
  const auto before = peak_host_bytes();
  memory_of([] {});
  EXPECT_GE(peak_host_bytes(), before);
}

}  // namespace
}  // namespace hornet
