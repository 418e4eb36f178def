// Batches: their order, threads, bad images.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/training/batches.h>
#include <hornet/training/random.h>

#include <set>

#include "tests/modules.h"

namespace hornet {
namespace {

// Examples that say which they are; some cannot be read.
class CountingTask : public TrainingTask {
 public:
  explicit CountingTask(int64_t size, std::set<int64_t> bad = {}) : size_(size), bad_(bad) {}

  torch::nn::Module& model() override { return model_; }
  int64_t size() const override { return size_; }
  Example example(int64_t index, uint64_t seed) const override {
    if (bad_.count(index)) {
      throw Error(ErrorCode::kInput, "image " + std::to_string(index) + " is damaged");
    }
    const auto noise = static_cast<int64_t>(seed % 1000003);
    return {torch::full({3, 2, 2}, static_cast<float>(index)), {torch::tensor({index, noise})}};
  }
  Losses losses(const Batch&) override { return {}; }
  Metrics evaluate(const Validation&) override { return {}; }
  weights::Metadata metadata() const override { return {}; }

 private:
  torch::nn::Module model_;
  int64_t size_;
  std::set<int64_t> bad_;
};

using Draws = std::vector<std::pair<int64_t, int64_t>>;  // index, noise

Draws draws_of(BatchLoader& loader, int batches) {
  Draws draws;
  for (int i = 0; i < batches; ++i) {
    const Batch batch = loader.next();
    for (size_t n = 0; n < batch.targets.size(); ++n) {
      const torch::Tensor target = batch.targets[n].at(0);
      draws.emplace_back(target[0].item<int64_t>(), target[1].item<int64_t>());
      EXPECT_EQ(batch.images[static_cast<int64_t>(n)][0][1][1].item<float>(),
                static_cast<float>(draws.back().first));
    }
  }
  return draws;
}

TEST(SampleOrder, PassesOverAllImagesInNewOrders) {
  SampleOrder order(7, 3);
  std::vector<std::vector<int64_t>> passes(3);
  for (int64_t i = 0; i < 21; ++i) passes[i / 7].push_back(order.at(i));
  for (const auto& pass : passes) {
    EXPECT_EQ(std::set<int64_t>(pass.begin(), pass.end()).size(), 7);
  }
  EXPECT_NE(passes[0], passes[1]);
  EXPECT_NE(passes[1], passes[2]);
  EXPECT_EQ(order.at(4), passes[0][4]);  // back again
}

TEST(Batches, AreTheSameForAnyNumberOfThreadsAndFromAnyStart) {
  const CountingTask task(5);
  const LoaderOptions options{3, 11, 0, false};
  BatchLoader alone(task, options, 0);
  const Draws expected = draws_of(alone, 8);
  for (const int threads : {1, 3}) {
    LoaderOptions more = options;
    more.threads = threads;
    BatchLoader loader(task, more, 0);
    EXPECT_EQ(draws_of(loader, 8), expected);
  }
  BatchLoader later(task, options, 5);
  EXPECT_EQ(draws_of(later, 3), Draws(expected.begin() + 15, expected.end()));
  BatchLoader other(task, {3, 12, 0, false}, 0);
  EXPECT_NE(draws_of(other, 8), expected);
  std::set<int64_t> noise;
  for (const auto& draw : expected) noise.insert(draw.second);
  EXPECT_EQ(noise.size(), expected.size());  // never augmented alike
}

TEST(Batches, RefuseAnImageThatCannotBeRead) {
  const CountingTask task(4, {2});
  for (const int threads : {0, 2}) {
    BatchLoader loader(task, {4, 1, threads, false}, 0);
    testing::expect_contains(testing::error_of([&] { loader.next(); }, ErrorCode::kInput),
                             "image 2 is damaged");
  }
}

TEST(Batches, LeaveItOutIfAskedToAndSaySoOnce) {
  const CountingTask task(4, {2});
  BatchLoader loader(task, {4, 1, 0, true}, 0);
  for (const auto& draw : draws_of(loader, 5)) EXPECT_NE(draw.first, 2);
  EXPECT_EQ(loader.take_bad_samples(), (std::vector<std::string>{"image 2 is damaged"}));
  draws_of(loader, 5);
  EXPECT_TRUE(loader.take_bad_samples().empty());
  const CountingTask nothing(3, {0, 1, 2});
  BatchLoader hopeless(nothing, {2, 1, 0, true}, 0);
  testing::expect_contains(testing::error_of([&] { hopeless.next(); }, ErrorCode::kInput),
                           "can be read");
}

// Fails by the seed, as an example does that pastes what cannot be read.
class BadDonorTask : public CountingTask {
 public:
  BadDonorTask() : CountingTask(4) {}
  Example example(int64_t index, uint64_t seed) const override {
    Random donor(seed);
    if (donor.below(3) == 0) throw Error(ErrorCode::kInput, "donor 0 is damaged");
    return CountingTask::example(index, seed);
  }
};

TEST(Batches, LeaveOutWhatAnExampleWouldPasteToo) {
  const BadDonorTask task;
  BatchLoader loader(task, {4, 1, 0, true}, 0);
  EXPECT_EQ(draws_of(loader, 20).size(), 80u);
  EXPECT_EQ(loader.take_bad_samples(), (std::vector<std::string>{"donor 0 is damaged"}));
}

TEST(BatchLoader, SharesBatchesOut) {
  const CountingTask task(7);
  BatchLoader whole(task, {4, 1, 0}, 2);
  const Draws all = draws_of(whole, 3);
  LoaderOptions part{4, 1, 0};
  part.parts = 2;
  BatchLoader first(task, part, 2);
  part.part = 1;
  BatchLoader second(task, part, 2);
  Draws together;
  for (int i = 0; i < 3; ++i) {
    for (BatchLoader* loader : {&first, &second}) {
      const Draws half = draws_of(*loader, 1);
      EXPECT_EQ(half.size(), 2u);
      together.insert(together.end(), half.begin(), half.end());
    }
  }
  EXPECT_EQ(together, all);
}

}  // namespace
}  // namespace hornet
