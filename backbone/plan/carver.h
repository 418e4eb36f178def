// The parts of a workspace: first all are asked for, then there is one buffer, and each part begins
// at its place in it, with slack behind.
//
//   Carver carver;
//   const int64_t p = carver.add(rows * width), q = carver.add(rows * width);
//   AlignedBuffer buffer(carver.size());          // p is at buffer.data() + p
#pragma once

#include <cstdint>

namespace hornet::plan {

class Carver {
 public:
  int64_t add(int64_t floats) {
    constexpr int64_t kLine = 16;
    const int64_t begin = size_;
    size_ += (floats + 2 * kLine - 1) / kLine * kLine;
    return begin;
  }
  int64_t size() const { return size_; }

 private:
  int64_t size_ = 0;
};

}  // namespace hornet::plan
