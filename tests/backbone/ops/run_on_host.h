// Block programs (backbone/ops/block_program.h) without a GPU.
#pragma once

#include <hornet/backbone/ops/block_program.h>

#include <limits>
#include <vector>

namespace hornet::ops {

// In a phase, threads run in ascending or in descending order: where they get in each other's way,
// which a GPU would not promise to sort out, the results differ. Shared memory starts as NaN.
enum class ThreadOrder { kAscending, kDescending };

template <typename Program>
void run_on_host(const Program& program, ThreadOrder order) {
  const auto values = static_cast<size_t>(program.shared_bytes()) / sizeof(float) + 1;
  for (int64_t block = 0; block < program.blocks(); ++block) {
    std::vector<float> shared(values, std::numeric_limits<float>::quiet_NaN());
    for (int phase = 0; phase < program.phases(); ++phase) {
      for (int i = 0; i < Program::kThreads; ++i) {
        const bool ascending = order == ThreadOrder::kAscending;
        program.run(phase, block, ascending ? i : Program::kThreads - 1 - i, shared.data());
      }
    }
  }
}

}  // namespace hornet::ops
