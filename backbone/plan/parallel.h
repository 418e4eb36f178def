// Work shared by LibTorch's threads.
#pragma once

#ifndef _OPENMP
#error "without OpenMP at::parallel_for is a plain loop"
#endif

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

namespace hornet::plan {

// Rows of a map that a thread carries through several products, at most: what it needs of the maps
// stays in a core's cache.
constexpr int64_t kChunkRows = 192;

// task(i, worker) for all i < count, whichever worker is free; 0 <= worker < threads.
template <typename Task>
void in_parallel(int64_t count, const Task& task) {
  std::atomic<int64_t> next{0};
  const int64_t workers = std::min<int64_t>(count, at::get_num_threads());
  at::parallel_for(0, workers, 1, [&](int64_t worker, int64_t) {
    for (int64_t i = next++; i < count; i = next++) task(i, worker);
  });
}

// Chunks of at most `most` items, as many as the threads can share evenly.
inline int64_t even_chunk(int64_t items, int64_t most) {
  const int64_t threads = at::get_num_threads();
  const int64_t rounds = std::max<int64_t>(1, (items + most * threads - 1) / (most * threads));
  return std::max<int64_t>(1, (items + rounds * threads - 1) / (rounds * threads));
}

// task(first, count, worker) for all items in chunks.
template <typename Task>
void in_chunks(int64_t items, int64_t most, const Task& task) {
  const int64_t chunk = even_chunk(items, most);
  in_parallel((items + chunk - 1) / chunk, [&](int64_t i, int64_t worker) {
    task(i * chunk, std::min(chunk, items - i * chunk), worker);
  });
}

}  // namespace hornet::plan
