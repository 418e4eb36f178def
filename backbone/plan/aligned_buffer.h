// Uninitialised memory for floats, aligned to a cache line, with a cache line of slack behind it:
// vector loads may read past the last value.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace hornet::plan {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t floats) : size_(floats) {
    if (floats < 0 || floats > kMost) throw std::bad_alloc();
    const size_t bytes =
        (static_cast<size_t>(floats) * sizeof(float) + 2 * kLine - 1) & ~(kLine - 1);
    data_.reset(static_cast<float*>(std::aligned_alloc(kLine, bytes)));
    if (!data_) throw std::bad_alloc();
  }

  // At least so many, what was in it is lost if it grows; never two buffers at a time.
  void grow(int64_t floats) {
    if (size_ >= floats) return;
    *this = {};
    *this = AlignedBuffer(floats);
  }

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  int64_t size() const { return size_; }

 private:
  static constexpr size_t kLine = 64;
  static constexpr int64_t kMost = int64_t{1} << 60;
  struct Free {
    void operator()(float* data) const { std::free(data); }
  };

  std::unique_ptr<float, Free> data_;
  int64_t size_ = 0;
};

}  // namespace hornet::plan
