// What is decoded once and kept while there is room, for any number of threads.
//
//   CacheRoom room{bytes};
//   DecodedCache<cv::Mat> images(files.size(), room);      // several may share the room
//   cv::Mat image = images.read(3, [&] { return load_image(files[3]); }, bytes_of);
#pragma once

#include <cstdint>
#include <mutex>
#include <opencv2/core.hpp>
#include <optional>
#include <vector>

namespace hornet::internal {

inline int64_t bytes_of(const cv::Mat& mat) {
  return static_cast<int64_t>(mat.total()) * static_cast<int64_t>(mat.elemSize());
}

struct CacheRoom {
  int64_t bytes;
  std::mutex mutex;
  explicit CacheRoom(int64_t size) : bytes(size) {}
};

template <typename Value>
class DecodedCache {
 public:
  DecodedCache(size_t size, CacheRoom& room) : kept_(size), room_(room) {}

  // The value at `index`, from `decode()` unless it is kept; keeping it takes `bytes(value)`.
  template <typename Decode, typename Bytes>
  Value read(size_t index, Decode&& decode, Bytes&& bytes) {
    {
      const std::lock_guard<std::mutex> lock(room_.mutex);
      if (kept_[index]) return *kept_[index];
    }
    Value value = decode();
    const int64_t needed = bytes(value);
    const std::lock_guard<std::mutex> lock(room_.mutex);
    if (!kept_[index] && needed <= room_.bytes) {
      room_.bytes -= needed;
      kept_[index] = value;
    }
    return value;
  }

 private:
  std::vector<std::optional<Value>> kept_;
  CacheRoom& room_;
};

}  // namespace hornet::internal
