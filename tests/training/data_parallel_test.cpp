// A team of two processes: run by mpiexec -n 2. Every test is collective, so that none may leave
// early in one process alone: EXPECT, not ASSERT, where they could differ.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/training/classification_task.h>
#include <hornet/training/data_parallel.h>
#include <hornet/training/detection_task.h>
#include <hornet/training/initialise.h>
#include <hornet/training/trainer.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/pooling.h>

#include <csignal>

#include "tests/pipelines/temporary_folder.h"
#include "tests/training/scenes.h"

namespace hornet {
namespace {

using testing::expect_close;
using testing::expect_contains;
using testing::expect_identical;

// The processes find each other once, and part when the program ends.
const ProcessTeam& team() {
  static const ProcessTeam kTeam = [] {
    RuntimeOptions runtime{"cpu", "fp32"};
    return join_team(runtime);
  }();
  return kTeam;
}

// Small pictures of two classes, and a network without batch norms.
class Pictures : public TrainingTask {
 public:
  explicit Pictures(uint64_t seed) {
    torch::manual_seed(seed);
    model_ = torch::nn::Sequential(torch::nn::Conv2d(3, 8, 3), torch::nn::GELU(),
                                   torch::nn::AdaptiveAvgPool2d(1), torch::nn::Flatten(),
                                   torch::nn::Linear(8, 2));
  }
  torch::nn::Module& model() override { return *model_; }
  int64_t size() const override { return 11; }
  Example example(int64_t index, uint64_t seed) const override {
    const float brightness = static_cast<float>(index % 2) + static_cast<float>(seed % 100) / 300;
    torch::Tensor image = torch::full({3, 8, 8}, brightness);
    image[index % 3] *= 0.5;
    return {image, {torch::tensor(index % 2, torch::kInt64)}};
  }
  Losses losses(const Batch& batch) override {
    std::vector<torch::Tensor> labels;
    for (const auto& targets : batch.targets) labels.push_back(targets.at(0));
    return {{{"class", torch::nn::functional::cross_entropy(model_->forward(batch.images),
                                                            torch::stack(labels))}}};
  }
  Metrics evaluate(const Validation&) override { return {{"evaluated", 1}}; }
  weights::Metadata metadata() const override { return {}; }

 private:
  torch::nn::Sequential model_;
};

class Together : public TemporaryFolder {
 protected:
  Together() { torch::set_num_threads(1); }

  TrainerOptions options_for(const std::string& folder, int64_t iterations) const {
    TrainerOptions options;
    options.output = path(folder);
    options.loader.batch_size = 6;
    options.loader.threads = 0;
    options.learning_rate = 1e-2;
    options.schedule.iterations = iterations;
    options.log_every = 1;
    options.progress = ProgressMode::kNone;
    options.runtime.device = "cpu";
    return options;
  }
};

TEST_F(Together, AreTwo) {
  EXPECT_EQ(team().size(), 2);
  EXPECT_EQ(team().gather(10 + team().rank()), (std::vector<int64_t>{10, 11}));
  EXPECT_TRUE(team().any(team().rank() == 1));
  EXPECT_FALSE(team().any(false));
  EXPECT_EQ(team().means({1.0 + team().rank(), -3}), (std::vector<double>{1.5, -3}));
  const torch::Tensor sent = torch::full({2, 3}, 7.0 + team().rank()).t();
  team().broadcast(sent);
  expect_identical(sent, torch::full({3, 2}, 7.0));
}

TEST_F(Together, AverageInBucketsOfAnySize) {
  const double rank = team().rank();
  for (const int64_t bucket_bytes : {1, 40, 1000, 1 << 20}) {
    std::vector<torch::Tensor> tensors, expected;
    for (int i = 0; i < 7; ++i) {
      const torch::Tensor base = torch::arange(6 * (i + 1), torch::kFloat32).view({2, 3, i + 1});
      tensors.push_back((base * (1 + rank)).transpose(0, 2));  // not contiguous
      expected.push_back((base * 1.5).transpose(0, 2));
    }
    tensors.push_back(torch::full({3}, rank, torch::kFloat64));
    expected.push_back(torch::full({3}, 0.5, torch::kFloat64));
    tensors.push_back(torch::empty({0}));
    expected.push_back(torch::empty({0}));
    team().average(tensors, bucket_bytes);
    for (size_t i = 0; i < tensors.size(); ++i) expect_identical(tensors[i], expected[i]);
  }
}

TEST_F(Together, CountAMissingGradientAsZero) {
  std::vector<torch::Tensor> parameters;
  for (int i = 0; i < 3; ++i) parameters.push_back(torch::ones({2}).requires_grad_());
  parameters[0].mutable_grad() = torch::full({2}, 4.0 + 2 * team().rank());
  if (team().rank() == 1) parameters[1].mutable_grad() = torch::full({2}, 8.0);
  team().average_gradients(parameters);
  expect_identical(parameters[0].grad(), torch::full({2}, 5.0));
  expect_identical(parameters[1].grad(), torch::full({2}, 4.0));
  EXPECT_FALSE(parameters[2].grad().defined());
}

TEST_F(Together, AverageStatisticsOfBatchNorms) {
  torch::nn::BatchNorm2d norm(2);
  norm->running_mean.fill_(3.0 * team().rank());
  norm->running_var.fill_(0.1);
  team().average_buffers(*norm);
  expect_identical(norm->running_mean, torch::full({2}, 1.5));
  expect_identical(norm->running_var, torch::full({2}, 0.1));
}

TEST_F(Together, StepAsOneProcessDoes) {
  Pictures shared(1), alone(1);
  const TrainerOptions options = options_for("together", 5);
  EXPECT_EQ(Trainer(shared, options, team()).run(), 0);
  EXPECT_EQ(std::filesystem::exists(path("together")), team().leads()) << "who writes";
  Trainer one(alone, options_for("alone", 5));
  EXPECT_EQ(one.run(), 0);
  for (const auto& [name, value] : state_of(shared.model())) {
    expect_close(value, state_of(alone.model()).at(name), 1e-5);
  }
  if (!team().leads()) return;
  const TrainingLog left(path("together")), right(path("alone"));
  ASSERT_EQ(left.losses().rows.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    for (size_t column = 0; column < left.losses().columns.size(); ++column) {
      EXPECT_NEAR(left.losses().rows[i][column], right.losses().rows[i][column], 1e-5);
    }
  }
  EXPECT_EQ(left.metrics().rows, right.metrics().rows);  // evaluated by process 0 alone
}

TEST_F(Together, HaveEqualWeightsAfterStepsWithBatchNorms) {
  const auto list = read_sample_list(testing::write_scenes(path(""), 3));
  torch::manual_seed(5);
  SegmentationTask task(list, {}, testing::scene_options());
  initialise(task.model(), Initialisation::kFanIn);
  TrainerOptions options = options_for("run", 2);
  options.loader.batch_size = 4;
  EXPECT_EQ(Trainer(task, options, team()).run(), 0);
  for (const auto& [name, value] : state_of(task.model())) {
    const torch::Tensor first = value.detach().clone();
    team().broadcast(first);
    EXPECT_TRUE(torch::equal(value, first)) << name;
  }
}

TEST_F(Together, EvaluateAsOneProcessDoes) {
  const auto list = read_sample_list(testing::write_scenes(path(""), 3));
  torch::manual_seed(5);
  SegmentationTask task(list, list, testing::scene_options());
  testing::randomise(task.model());
  task.model().eval();
  const Runtime runtime({"cpu", "fp32"});
  const Metrics alone = task.evaluate({runtime, ProcessTeam()});
  const Metrics together = task.evaluate({runtime, team()});
  EXPECT_EQ(together.size(), 6u);
  EXPECT_GT(together[2].second, 0);
  EXPECT_EQ(together, alone);
}

TEST_F(Together, GatherWhatEachHasFound) {
  const auto result = [](int rank, int i) {
    CocoResult out;
    out.image_id = 2 * i + rank;
    out.category_id = 7;
    out.score = 1.0 / (3 + i + rank);
    out.box = cv::Rect2d(-0.1, rank, 0.3, 1e-9);
    out.mask = RunLengthMask{{3, 2}, {static_cast<uint32_t>(i), 2, static_cast<uint32_t>(4 - i)}};
    return out;
  };
  std::vector<CocoResult> own;  // one of the first process, two of the second
  for (int i = 0; i <= team().rank(); ++i) own.push_back(result(team().rank(), i));
  const std::vector<CocoResult> all = gather_results(own, team());
  ASSERT_EQ(all.size(), 3u);
  const CocoResult expected[] = {result(0, 0), result(1, 0), result(1, 1)};
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].image_id, expected[i].image_id);
    EXPECT_EQ(all[i].category_id, 7);
    EXPECT_EQ(all[i].score, expected[i].score);
    EXPECT_EQ(*all[i].box, *expected[i].box);
    EXPECT_EQ(all[i].mask->size, cv::Size(3, 2));
    EXPECT_EQ(all[i].mask->counts, expected[i].mask->counts);
  }
}

TEST_F(Together, RefuseABatchThatTheyCannotShare) {
  Pictures task(1);
  TrainerOptions options = options_for("run", 1);
  options.loader.batch_size = 5;
  expect_contains(testing::error_of([&] { Trainer(task, options, team()); }, ErrorCode::kUsage),
                  "--batch-size 5");
}

TEST_F(Together, RefuseDifferentStarts) {
  Pictures task(static_cast<uint64_t>(1 + team().rank()));
  Trainer trainer(task, options_for("run", 1), team());
  expect_contains(testing::error_of([&] { trainer.run(); }, ErrorCode::kRuntime),
                  "process 1 of 2 starts from other weights");
}

TEST_F(Together, StopAtALossThatIsNoNumberInOne) {
  Pictures task(1);
  Trainer trainer(task, options_for("run", 1), team());
  Batch batch = stack({task.example(0, 1)});
  if (team().rank() == 1) batch.images.fill_(std::nan(""));
  expect_contains(testing::error_of([&] { trainer.step(batch); }, ErrorCode::kRuntime), "loss nan");
}

TEST_F(Together, StopTogetherWhenOneIsInterrupted) {
  class Interrupts : public Pictures {
   public:
    using Pictures::Pictures;
    Losses losses(const Batch& batch) override {
      if (++steps == 3 && team().rank() == 1) std::raise(SIGINT);
      return Pictures::losses(batch);
    }
    int steps = 0;
  };
  const InterruptGuard guard;
  Interrupts task(1);
  Trainer trainer(task, options_for("run", 1000), team());
  EXPECT_EQ(trainer.run(), 130);
  EXPECT_EQ(trainer.iteration(), 3);
  if (team().leads()) {
    EXPECT_EQ(weights::read(path("run/state.safetensors")).meta.entries.at("iteration"), "3");
  }
}

}  // namespace
}  // namespace hornet
