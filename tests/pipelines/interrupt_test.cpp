#include <gtest/gtest.h>
#include <hornet/pipelines/interrupt.h>

#include <csignal>

namespace hornet {
namespace {

TEST(Interrupt, ASignalSetsTheFlag) {
  for (const int signal : {SIGINT, SIGTERM}) {
    InterruptGuard guard;
    EXPECT_FALSE(interrupted());
    std::raise(signal);
    EXPECT_TRUE(interrupted());
  }
}

TEST(Interrupt, TheGuardRestoresWhatWasThere) {
  struct sigaction before = {};
  struct sigaction after = {};
  sigaction(SIGINT, nullptr, &before);
  { InterruptGuard guard; }
  sigaction(SIGINT, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
}

TEST(InterruptDeathTest, TheSecondSignalEndsTheProcess) {
  const auto twice = [] {
    InterruptGuard guard;
    std::raise(SIGINT);
    std::raise(SIGINT);
  };
  EXPECT_EXIT(twice(), ::testing::ExitedWithCode(130), "");
}

}  // namespace
}  // namespace hornet
