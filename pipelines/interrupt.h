// Ctrl-C that closes files properly.
//
//   InterruptGuard guard;                       // SIGINT and SIGTERM set a flag from here on
//   while (auto frame = source.read()) {
//     if (interrupted()) break;                 // finish what is open, then exit with 130
//     ...
//   }
//
// The first signal only sets the flag. A second one ends the process at once with exit code 130:
// whoever presses Ctrl-C twice does not want to wait.
#pragma once

#include <csignal>

namespace hornet {

// Whether SIGINT or SIGTERM has come since the guard was made. May be called from any thread.
bool interrupted();

// Catches SIGINT and SIGTERM while it lives, and then restores what was there before. One at a
// time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  struct sigaction previous_int_ = {};
  struct sigaction previous_term_ = {};
};

}  // namespace hornet
