// A GPU kernel as plain arithmetic, so that tests on the CPU run what a GPU runs, index by index.
//
// A *block program* is a struct that knows its arguments. A block of kThreads threads with shared
// memory goes through its phases; between two phases the threads wait for each other, within one
// they must not read what another one writes:
//
//   struct Program {
//     static constexpr int kThreads = 256;
//     int64_t blocks() const;            // none: nothing to do
//     int64_t shared_bytes() const;      // of one block
//     HORNET_HOST_DEVICE int phases() const;
//     HORNET_HOST_DEVICE void run(int phase, int64_t block, int thread, void* shared) const;
//   };
//
// cuda/launch.h runs it on a GPU, run_on_host() of the tests a block and a thread at a time.
#pragma once

#include <hornet/backbone/ops/host_device.h>

#include <cstdint>

namespace hornet::ops {

// N values that are read or written at once. They must lie at a multiple of their size.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T values[N];
};

}  // namespace hornet::ops
