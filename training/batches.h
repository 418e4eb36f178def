// Batches of augmented examples, made ahead by other threads.
//
// Everything about batch i follows from the seed and i: the images are those of a shuffled pass
// over all of them (a new shuffle each pass), augmented by a seed of their own. Batches are the
// same for any number of threads, and a resumed run goes on with what would have come next.
//
//   BatchLoader loader(task, {8, /*seed=*/1, /*threads=*/2}, /*first=*/0);
//   for (...) Batch batch = loader.next();
//
// Several processes make a part of every batch each; together they are what one process makes.
//
// An image that cannot be read is an Error(kInput) that names it, or, with `skip_bad`, is left out
// and named once in bad_samples(); another one takes its place.
#pragma once

#include <hornet/training/task.h>

#include <deque>
#include <future>
#include <mutex>
#include <set>

namespace hornet {

// The order in which images are shown: position 0, 1, ... of shuffled passes over `size` images.
class SampleOrder {
 public:
  SampleOrder(int64_t size, uint64_t seed) : size_(size), seed_(seed) {}
  int64_t at(int64_t position);

 private:
  int64_t size_;
  uint64_t seed_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;
};

struct LoaderOptions {
  int64_t batch_size = 8;
  uint64_t seed = 1;
  int threads = 1;  // batches that are made at the same time; 0: none ahead
  bool skip_bad = false;
  int part = 0,
      parts = 1;  // what this process makes of each batch: images 0 to 3 of 8, for example
};

class BatchLoader {
 public:
  // `task` must outlive the loader. `first` is the number of the first batch. The size of a batch
  // must be divisible by the number of parts.
  BatchLoader(const TrainingTask& task, const LoaderOptions& options, int64_t first);
  ~BatchLoader();

  Batch next();

  // The messages about images that were left out since the last call.
  std::vector<std::string> take_bad_samples();

 private:
  struct Draw {
    int64_t index;
    uint64_t seed;
  };
  std::vector<Draw> draws_of(int64_t batch);
  Batch make(const std::vector<Draw>& draws);
  Example read(const Draw& draw);
  void note_bad(const std::string& message);

  const TrainingTask& task_;
  LoaderOptions options_;
  SampleOrder order_;
  int64_t next_;
  std::deque<std::future<Batch>> ahead_;
  std::mutex mutex_;
  std::set<std::string> bad_;
  std::vector<std::string> messages_;
};

}  // namespace hornet
