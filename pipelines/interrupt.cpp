#include <hornet/backbone/error.h>
#include <hornet/pipelines/interrupt.h>
#include <unistd.h>

#include <atomic>

namespace hornet {
namespace {

std::atomic<bool> g_interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler must not wait for a lock");

void on_signal(int /*signal*/) {
  if (g_interrupted.exchange(true)) _exit(static_cast<int>(ErrorCode::kInterrupted));
}

}  // namespace

bool interrupted() { return g_interrupted.load(std::memory_order_relaxed); }

InterruptGuard::InterruptGuard() {
  g_interrupted = false;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_int_);
  sigaction(SIGTERM, &action, &previous_term_);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &previous_int_, nullptr);
  sigaction(SIGTERM, &previous_term_, nullptr);
}

}  // namespace hornet
