// Three stages of a long job at the same time: the first in a thread of its own, the second in the
// calling one, the third in another, with a bounded queue between two of them. The slowest sets the
// pace, order is kept, and an error in any of them ends all three and is thrown once.
//
//   BoundedQueue<Frame> decoded(4);
//   BoundedQueue<Result> finished(4);
//   run_stages(decoded, finished,
//              [&] { while (...) if (!decoded.push(read())) return; },       // false: nobody reads
//              [&] { while (auto frame = decoded.pop()) finished.push(infer(*frame)); },
//              [&](Result& result) { write(result); });
#pragma once

#include <hornet/pipelines/bounded_queue.h>

#include <exception>
#include <optional>
#include <thread>
#include <utility>

namespace hornet {

// For a thread that works beside the network: LibTorch's operations in it keep to the thread
// itself. Otherwise each such thread has a team of its own, as many threads as there are cores,
// which wait for work by spinning and take the cores from the network.
void keep_to_one_core();

// Runs what fills a queue; the queue ends with it, and passes on its error.
template <typename T, typename Body>
void fill(BoundedQueue<T>& queue, Body&& body) {
  try {
    body();
    queue.close();
  } catch (...) {
    queue.fail(std::current_exception());
  }
}

// `produce` fills `first`, `transform` empties it into `second`, `consume` gets each item of that.
template <typename A, typename B, typename Produce, typename Transform, typename Consume>
void run_stages(BoundedQueue<A>& first, BoundedQueue<B>& second, Produce&& produce,
                Transform&& transform, Consume&& consume) {
  std::exception_ptr error;
  const auto consume_all = [&] {
    keep_to_one_core();
    try {
      while (std::optional<B> item = second.pop()) consume(*item);
    } catch (...) {
      error = std::current_exception();
      second.cancel();
    }
  };
  std::thread producer([&] {
    keep_to_one_core();
    fill(first, produce);
  });
  std::thread consumer;
  try {
    consumer = std::thread(consume_all);
  } catch (...) {  // the system has no more threads
    first.cancel();
    producer.join();
    throw;
  }
  fill(second, transform);
  first.cancel();
  producer.join();
  consumer.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace hornet
