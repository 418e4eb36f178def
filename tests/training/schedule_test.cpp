// The learning rate over the iterations, and the numbers behind everything random.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/training/random.h>
#include <hornet/training/schedule.h>

#include <set>

namespace hornet {
namespace {

ScheduleOptions of(Decay decay, int64_t iterations) {
  ScheduleOptions options;
  options.decay = decay;
  options.iterations = iterations;
  return options;
}

TEST(Schedule, Poly) {
  ScheduleOptions options = of(Decay::kPoly, 10);
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 0), 1);
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 4), 0.6);
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 10), 0);
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 12), 0);  // never below
  options.power = 2;
  options.minimum = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 5), 0.1 + 0.9 * 0.25);
}

TEST(Schedule, CosineAfterAHold) {
  ScheduleOptions options = of(Decay::kCosine, 100);
  options.hold = 0.5;
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 0), 1);
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 50), 1);
  EXPECT_NEAR(learning_rate_factor(options, 75), 0.5, 1e-12);
  EXPECT_NEAR(learning_rate_factor(options, 100), 0, 1e-12);
  options.hold = 1;  // all of it
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 99), 1);
}

TEST(Schedule, StepsAtMilestones) {
  ScheduleOptions options = of(Decay::kStep, 36);
  options.milestones = {0.75, 33.0 / 36};  // the authors' 3x: after epochs 27 and 33
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 26), 1);
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 27), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 32), 0.1);
  EXPECT_NEAR(learning_rate_factor(options, 33), 0.01, 1e-15);
}

TEST(Schedule, WarmsUpOnTopOfTheDecay) {
  ScheduleOptions options = of(Decay::kPoly, 100);
  options.warmup = 10;
  options.warmup_ratio = 0.2;
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 0), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 5), 0.95 * 0.6);
  EXPECT_DOUBLE_EQ(learning_rate_factor(options, 10), 0.9);
  EXPECT_DOUBLE_EQ(learning_rate_factor(of(Decay::kConstant, 7), 3), 1);
}

TEST(Schedule, HasFourNames) {
  EXPECT_EQ(parse_decay("cosine"), Decay::kCosine);
  EXPECT_THROW(parse_decay("linear"), Error);
}

TEST(RandomNumbers, FollowFromTheSeed) {
  Random first(7), again(7), other(8);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = first.next();
    EXPECT_EQ(value, again.next());
    seen.insert(value);
    seen.insert(other.next());
  }
  EXPECT_EQ(seen.size(), 2000);
  EXPECT_NE(derive_seed(1, 0), derive_seed(1, 1));
  EXPECT_NE(derive_seed(0, 1), derive_seed(1, 0));
}

TEST(RandomNumbers, FillTheirRanges) {
  Random random(3);
  double sum = 0;
  std::set<int64_t> whole;
  for (int i = 0; i < 2000; ++i) {
    const double value = random.uniform(-1, 3);
    EXPECT_GE(value, -1);
    EXPECT_LT(value, 3);
    sum += value;
    whole.insert(random.between(-2, 2));
  }
  EXPECT_NEAR(sum / 2000, 1, 0.1);
  EXPECT_EQ(whole, (std::set<int64_t>{-2, -1, 0, 1, 2}));
}

}  // namespace
}  // namespace hornet
