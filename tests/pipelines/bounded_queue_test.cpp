#include <gtest/gtest.h>
#include <hornet/pipelines/bounded_queue.h>

#include <atomic>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

namespace hornet {
namespace {

TEST(BoundedQueue, KeepsTheOrderAndTheBound) {
  BoundedQueue<int> queue(3);
  std::thread producer([&] {
    for (int i = 0; i < 1000; ++i) queue.push(i);
    queue.close();
  });
  std::vector<int> received;
  while (std::optional<int> item = queue.pop()) {
    EXPECT_LE(queue.size(), 3u);
    received.push_back(*item);
  }
  producer.join();
  std::vector<int> expected(1000);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(received, expected);
}

TEST(BoundedQueue, CloseDeliversWhatIsQueued) {
  BoundedQueue<std::unique_ptr<int>> queue(2);
  EXPECT_TRUE(queue.push(std::make_unique<int>(4)));
  queue.close();
  EXPECT_FALSE(queue.push(std::make_unique<int>(5)));
  EXPECT_EQ(**queue.pop(), 4);
  EXPECT_FALSE(queue.pop());
  EXPECT_FALSE(queue.pop());
}

TEST(BoundedQueue, AFailureComesAfterTheItemsAndOnce) {
  BoundedQueue<int> queue(2);
  queue.push(1);
  queue.fail(std::make_exception_ptr(std::runtime_error("disk on fire")));
  queue.fail(std::make_exception_ptr(std::runtime_error("second")));
  EXPECT_EQ(queue.pop(), 1);
  try {
    queue.pop();
    FAIL() << "no error";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "disk on fire");
  }
  EXPECT_FALSE(queue.pop());
}

TEST(BoundedQueue, CancelReleasesAWaitingProducer) {
  BoundedQueue<int> queue(1);
  std::atomic<int> accepted{0};
  std::thread producer([&] {
    while (queue.push(accepted)) ++accepted;
  });
  EXPECT_TRUE(queue.pop());
  queue.cancel();
  producer.join();
  EXPECT_GE(accepted, 1);
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_FALSE(queue.pop());
}

TEST(BoundedQueue, CancelDropsTheError) {
  BoundedQueue<int> queue(1);
  queue.fail(std::make_exception_ptr(std::runtime_error("late")));
  queue.cancel();
  EXPECT_FALSE(queue.pop());
}

TEST(BoundedQueue, CloseReleasesAWaitingConsumer) {
  BoundedQueue<int> queue(1);
  std::thread consumer([&] { EXPECT_FALSE(queue.pop()); });
  queue.close();
  consumer.join();
}

TEST(BoundedQueue, ServesManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kItems = 500;
  BoundedQueue<int> queue(2);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> producers;
  std::vector<std::thread> consumers;
  for (int t = 0; t < kThreads; ++t) {
    producers.emplace_back([&] {
      for (int i = 1; i <= kItems; ++i) queue.push(i);
    });
    consumers.emplace_back([&] {
      while (std::optional<int> item = queue.pop()) sum += *item;
    });
  }
  for (std::thread& thread : producers) thread.join();
  queue.close();
  for (std::thread& thread : consumers) thread.join();
  EXPECT_EQ(sum, int64_t{kThreads} * kItems * (kItems + 1) / 2);
}

TEST(BoundedQueue, AnErrorTravelsThroughAChain) {
  BoundedQueue<int> decoded(2);
  BoundedQueue<int> inferred(2);
  std::thread decoder([&] {
    for (int i = 0; i < 10; ++i) decoded.push(i);
    decoded.fail(std::make_exception_ptr(std::runtime_error("frame 10 is broken")));
  });
  std::thread model([&] {
    try {
      while (std::optional<int> item = decoded.pop()) inferred.push(*item);
      inferred.close();
    } catch (...) {
      inferred.fail(std::current_exception());
    }
  });
  int received = 0;
  EXPECT_THROW(
      {
        while (inferred.pop()) ++received;
      },
      std::runtime_error);
  decoder.join();
  model.join();
  EXPECT_EQ(received, 10);
}

}  // namespace
}  // namespace hornet
