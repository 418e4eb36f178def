#include <hornet/backbone/error.h>
#include <hornet/training/batches.h>
#include <hornet/training/data_parallel.h>
#include <hornet/training/random.h>

#include <numeric>

namespace hornet {

void Validation::require_some(int64_t read) const {
  if (team.sums({read})[0] > 0) return;
  throw Error(ErrorCode::kInput, "none of the validation images can be read");
}

Batch stack(const std::vector<Example>& examples) {
  Batch batch;
  std::vector<torch::Tensor> images;
  for (const Example& example : examples) {
    images.push_back(example.image);
    batch.targets.push_back(example.targets);
  }
  batch.images = torch::stack(images).contiguous(torch::MemoryFormat::ChannelsLast);
  return batch;
}

Batch to_device(const Batch& batch, torch::Device device) {
  if (device.is_cpu()) return batch;
  Batch moved{batch.images.to(device), batch.targets};
  for (auto& targets : moved.targets) {
    for (torch::Tensor& target : targets) target = target.to(device);
  }
  return moved;
}

torch::Tensor Losses::total() const {
  TORCH_CHECK(!parts.empty(), "Losses: there are none");
  torch::Tensor sum = parts.front().second;
  for (size_t i = 1; i < parts.size(); ++i) sum = sum + parts[i].second;
  return sum;
}

int64_t SampleOrder::at(int64_t position) {
  const int64_t epoch = position / size_;
  if (epoch != epoch_) {
    epoch_ = epoch;
    order_.resize(static_cast<size_t>(size_));
    std::iota(order_.begin(), order_.end(), int64_t{0});
    Random random(derive_seed(seed_, static_cast<uint64_t>(epoch)));
    for (int64_t i = size_ - 1; i > 0; --i) std::swap(order_[i], order_[random.below(i + 1)]);
  }
  return order_[static_cast<size_t>(position % size_)];
}

namespace {

// The seed's uses must not meet.
constexpr uint64_t kOrder = 1, kAugmentation = 2;

}  // namespace

BatchLoader::BatchLoader(const TrainingTask& task, const LoaderOptions& options, int64_t first)
    : task_(task),
      options_(options),
      order_(task.size(), derive_seed(options.seed, kOrder)),
      next_(first) {
  TORCH_CHECK(options.batch_size % options.parts == 0, "BatchLoader: a batch of ",
              options.batch_size, " has no ", options.parts, " equal parts");
}

BatchLoader::~BatchLoader() {
  for (auto& batch : ahead_) batch.wait();
}

Batch BatchLoader::next() {
  if (options_.threads == 0) return make(draws_of(next_++));
  while (ahead_.size() < static_cast<size_t>(options_.threads)) {
    ahead_.push_back(
        std::async(std::launch::async, [this, draws = draws_of(next_)] { return make(draws); }));
    ++next_;
  }
  std::future<Batch> batch = std::move(ahead_.front());
  ahead_.pop_front();
  ahead_.push_back(
      std::async(std::launch::async, [this, draws = draws_of(next_)] { return make(draws); }));
  ++next_;
  return batch.get();
}

std::vector<BatchLoader::Draw> BatchLoader::draws_of(int64_t batch) {
  std::vector<Draw> draws;
  const uint64_t seed = derive_seed(options_.seed, kAugmentation);
  const int64_t images = options_.batch_size / options_.parts;
  const int64_t first = batch * options_.batch_size + options_.part * images;
  for (int64_t position = first; position < first + images; ++position) {
    draws.push_back({order_.at(position), derive_seed(seed, static_cast<uint64_t>(position))});
  }
  return draws;
}

Batch BatchLoader::make(const std::vector<Draw>& draws) {
  std::vector<Example> examples;
  for (const Draw& draw : draws) examples.push_back(read(draw));
  return stack(examples);
}

// The example, or with skip_bad one that takes its place, which the draw's seed chooses too. It is
// augmented by draws of its own: what cannot be read may be an image that was to be pasted.
Example BatchLoader::read(const Draw& draw) {
  constexpr uint64_t kAttempts = 100;
  int64_t index = draw.index;
  Random replacements(draw.seed);
  for (uint64_t attempt = 0; attempt < kAttempts; ++attempt) {
    try {
      return task_.example(index, attempt == 0 ? draw.seed : derive_seed(draw.seed, attempt));
    } catch (const Error& error) {
      if (!options_.skip_bad || error.code() != ErrorCode::kInput) throw;
      note_bad(error.what());
    }
    index = replacements.below(task_.size());
  }
  throw Error(ErrorCode::kInput,
              "none of " + std::to_string(kAttempts) + " training images in a row can be read");
}

void BatchLoader::note_bad(const std::string& message) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (bad_.insert(message).second) messages_.push_back(message);
}

std::vector<std::string> BatchLoader::take_bad_samples() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(messages_, {});
}

}  // namespace hornet
