// A queue between two threads that holds at most `capacity` items: a fast producer waits for a
// slow consumer, and memory stays bounded.
//
//   BoundedQueue<Frame> frames(4);
//   std::thread decoder([&] {
//     try {
//       while (auto frame = source.read()) {
//         if (!frames.push(std::move(*frame))) return;   // nobody reads any more
//       }
//       frames.close();
//     } catch (...) {
//       frames.fail(std::current_exception());
//     }
//   });
//   while (auto frame = frames.pop()) ...                // rethrows what the decoder threw
//
// There are three ways to end. close(): the producer is done; what is queued is still delivered.
// fail(): the producer died; what is queued is still delivered, then pop() throws the error, once.
// cancel(): the consumer is done; what is queued is dropped and push() returns false, so that the
// producer ends too. Order is kept. Any number of threads may use either side.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>

namespace hornet {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity > 0 ? capacity : 1) {}

  // Waits for room. False if the queue has ended; the item is dropped then.
  bool push(T item) {
    std::unique_lock<std::mutex> lock(mutex_);
    has_room_.wait(lock, [this] { return ended_ || items_.size() < capacity_; });
    if (ended_) return false;
    items_.push_back(std::move(item));
    has_items_.notify_one();
    return true;
  }

  // Waits for an item. Nothing once the queue has ended and is empty; throws the error that
  // fail() left, the first time that it would return nothing.
  std::optional<T> pop() {
    std::unique_lock<std::mutex> lock(mutex_);
    has_items_.wait(lock, [this] { return ended_ || !items_.empty(); });
    if (items_.empty()) {
      if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
      return std::nullopt;
    }
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    has_room_.notify_one();
    return item;
  }

  // The producer has no more items.
  void close() { end(nullptr); }

  // The producer failed. Without effect if the queue has ended already.
  void fail(std::exception_ptr error) { end(std::move(error)); }

  // The consumer wants no more items.
  void cancel() {
    end(nullptr);
    std::deque<T> dropped;
    const std::lock_guard<std::mutex> lock(mutex_);
    dropped.swap(items_);
    error_ = nullptr;
  }

  // How many items wait now.
  size_t size() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return items_.size();
  }

 private:
  void end(std::exception_ptr error) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (ended_) return;
    ended_ = true;
    error_ = std::move(error);
    has_room_.notify_all();
    has_items_.notify_all();
  }

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable has_room_;
  std::condition_variable has_items_;
  std::deque<T> items_;
  std::exception_ptr error_;
  bool ended_ = false;
};

}  // namespace hornet
