// Tasks and the loop: losses by hand, learning by heart, resuming to the bit, errors.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/model_defaults.h>
#include <hornet/pipelines/segmentor.h>
#include <hornet/training/classification_task.h>
#include <hornet/training/initialise.h>
#include <hornet/training/trainer.h>

#include <csignal>
#include <opencv2/imgcodecs.hpp>
#include <utility>

#include "tests/pipelines/temporary_folder.h"
#include "tests/training/scenes.h"

namespace hornet {
namespace {

using testing::expect_close;
using testing::expect_contains;
using testing::expect_identical;
using testing::kSceneIgnore;
using testing::scene_options;

TEST(PixelCrossEntropy, IsTheMeanOverAllPixels) {
  // Two pixels of two classes: log(1 + e^-1) for the right and log(1 + e) for the wrong one.
  const torch::Tensor logits = torch::tensor({1.0f, 0.0f, 0.0f, 1.0f}).view({1, 2, 1, 2});
  const double right = std::log(1 + std::exp(-1)), wrong = std::log(1 + std::exp(1));
  const auto loss = [&](std::vector<int64_t> labels, const torch::Tensor& weights = {}) {
    return pixel_cross_entropy(logits, torch::tensor(labels).view({1, 1, 2}), 7, weights)
        .item<double>();
  };
  EXPECT_NEAR(loss({0, 1}), right, 1e-6);
  EXPECT_NEAR(loss({0, 0}), (right + wrong) / 2, 1e-6);
  EXPECT_NEAR(loss({1, 7}), wrong / 2, 1e-6);  // the ignored pixel counts as 0
  EXPECT_NEAR(loss({0, 0}, torch::tensor({0.5f, 4.0f})), (right + wrong) / 4, 1e-6);
  EXPECT_NEAR(loss({1, 1}, torch::tensor({0.5f, 4.0f})), 2 * (right + wrong), 1e-6);
}

TEST(PixelCrossEntropy, OfIgnoredPixelsAloneIsZeroWithZeroGradient) {
  const torch::Tensor logits = torch::randn({2, 3, 2, 2}).requires_grad_();
  const torch::Tensor loss = pixel_cross_entropy(logits, torch::full({2, 5, 7}, 7), 7);
  loss.backward();
  EXPECT_EQ(loss.item<double>(), 0);
  EXPECT_EQ(logits.grad().abs().max().item<double>(), 0);
}

TEST(PixelCrossEntropy, IsTakenAtTheLabelsSize) {
  const torch::Tensor logits = torch::randn({2, 3, 4, 5});
  const torch::Tensor labels = torch::randint(0, 3, {2, 13, 17});
  const torch::Tensor full = resize_bilinear(logits, 13, 17).log_softmax(1);
  const torch::Tensor expected = -full.gather(1, labels.unsqueeze(1)).mean();
  expect_close(pixel_cross_entropy(logits, labels, 255), expected, 1e-6);
}

class Training : public TemporaryFolder {
 protected:
  Training() { torch::set_num_threads(1); }

  std::unique_ptr<SegmentationTask> make_task(int scenes,
                                              SegmentationOptions options = scene_options()) {
    const auto list = read_sample_list(testing::write_scenes(path(""), scenes));
    torch::manual_seed(5);
    auto task = std::make_unique<SegmentationTask>(list, list, options);
    initialise(task->model(), Initialisation::kFanIn);
    return task;
  }

  TrainerOptions options_for(const std::string& folder, int64_t iterations) {
    TrainerOptions options;
    options.output = path(folder);
    options.loader = {2, 3, 0, false};
    options.learning_rate = 3e-3;
    options.schedule.iterations = iterations;
    options.ema = 0.5;
    options.log_every = 1;
    options.progress = ProgressMode::kNone;
    options.runtime.device = "cpu";
    return options;
  }
};

TEST_F(Training, LearnsTwoImagesByHeart) {
  SegmentationOptions options = scene_options();
  options.augment.min_scale = options.augment.max_scale = 1;
  options.augment.flip = options.augment.recolour = false;
  options.augment.crop = {96, 80};
  const auto task = make_task(2, options);
  TrainerOptions training = options_for("run", 220);
  training.learning_rate = 2e-3;
  training.schedule.decay = Decay::kConstant;
  Trainer trainer(*task, training);
  EXPECT_EQ(trainer.run(), 0);
  const TrainingLog log(path("run"));
  EXPECT_EQ(log.losses().columns,
            (std::vector<std::string>{"loss", "decode", "aux", "rate", "gradient"}));
  const auto& first = log.losses().rows.front();
  const auto& last = log.losses().rows.back();
  EXPECT_GT(first[1], 0.5);
  EXPECT_LT(last[1], 0.05);
  EXPECT_NEAR(last[0], last[1] + last[2], 1e-6);
  EXPECT_GT(*trainer.state().best, 0.95);  // mIoU
  EXPECT_EQ(log.metrics().columns[0], "mIoU");
  EXPECT_EQ(log.metrics().columns[5], "IoU disc");
}

TEST_F(Training, TheAuxiliaryLossCountsTwoFifths) {
  const auto task = make_task(2);
  task->model().eval();  // the same features twice
  SegmentationOptions alone = scene_options();
  EXPECT_EQ(alone.auxiliary_weight, 0.4);
  alone.auxiliary_weight = 1;
  const auto other = make_task(2, alone);
  other->model().eval();
  Batch batch = stack({task->example(0, 1), task->example(1, 2)});
  const torch::NoGradGuard no_grad;
  const Losses losses = task->losses(batch), full = other->losses(batch);
  ASSERT_EQ(losses.parts[1].first, "aux");
  expect_close(losses.parts[0].second, full.parts[0].second, 1e-6);
  expect_close(losses.parts[1].second, 0.4 * full.parts[1].second, 1e-6);
  EXPECT_GT(full.parts[1].second.item<double>(), 0.1);
}

TEST_F(Training, IsResumedToTheBit) {
  SegmentationOptions random = scene_options();  // dropout and stochastic depth draw numbers, too
  random.architecture.segmentor->decode.dropout(0.2);
  std::get<HorNetOptions>(random.architecture.backbone).drop_path_rate = 0.3;
  const auto straight = make_task(3, random);
  Trainer once(*straight, options_for("once", 6));
  EXPECT_EQ(once.run(), 0);

  TrainerOptions options = options_for("twice", 6);
  options.settings = {{"lr", "0.003"}, {"pretrained", "a.pth"}};
  {
    const auto first_part = make_task(3, random);
    Trainer trainer(*first_part, options);
    BatchLoader loader(*first_part, options.loader, 0);
    for (int i = 0; i < 3; ++i) trainer.step(loader.next());
    trainer.save();
  }
  const auto second_part = make_task(3, random);
  torch::manual_seed(99);
  options.settings = {{"lr", "0.004"}};
  Trainer resumed(*second_part, options);
  EXPECT_EQ(resumed.resume(), (std::vector<std::string>{"--lr 0.004 (before: 0.003)",
                                                        "--pretrained not set (before: a.pth)"}));
  EXPECT_EQ(resumed.iteration(), 3);
  EXPECT_EQ(resumed.run(), 0);
  for (const char* name : {"state.safetensors", "model.safetensors"}) {
    const auto a = weights::read(path("once") / name), b = weights::read(path("twice") / name);
    ASSERT_EQ(a.tensors.size(), b.tensors.size());
    for (const auto& [key, tensor] : a.tensors) {
      EXPECT_TRUE(torch::equal(weights::to_torch(tensor), weights::to_torch(b.tensors.at(key))))
          << name << ' ' << key;
    }
  }
}

// A task whose first validation is interrupted.
class Impatient : public SegmentationTask {
 public:
  using SegmentationTask::SegmentationTask;
  Metrics evaluate(const Validation& validation) override {
    if (!std::exchange(pressed_, true)) std::raise(SIGINT);
    return SegmentationTask::evaluate(validation);
  }

 private:
  bool pressed_ = false;
};

TEST_F(Training, AnInterruptedValidationIsMadeUpFor) {
  const auto list = read_sample_list(testing::write_scenes(path(""), 2));
  for (const int64_t last : {2, 3}) {  // at the end, and before
    SCOPED_TRACE(last);
    const std::string folder = "run" + std::to_string(last);
    TrainerOptions options = options_for(folder, last);
    options.validate_every = 2;
    {
      const InterruptGuard guard;
      Impatient task(list, list, scene_options());
      Trainer trainer(task, options);
      EXPECT_EQ(trainer.run(), static_cast<int>(ErrorCode::kInterrupted));
      EXPECT_EQ(trainer.iteration(), 2);
      EXPECT_TRUE(TrainingLog(path(folder)).metrics().iterations.empty());
    }
    const InterruptGuard again;  // which forgets the signal
    SegmentationTask task(list, list, scene_options());
    Trainer resumed(task, options);
    resumed.resume();
    EXPECT_EQ(resumed.run(), 0);
    std::vector<int64_t> validated = {2};
    if (last > 2) validated.push_back(last);
    EXPECT_EQ(TrainingLog(path(folder)).metrics().iterations, validated);
  }
}

TEST_F(Training, StopsAtALossThatIsNoNumberAndKeepsTheState) {
  const auto task = make_task(2);
  TrainerOptions options = options_for("run", 9);
  Trainer trainer(*task, options);
  BatchLoader loader(*task, options.loader, 0);
  trainer.step(loader.next());
  trainer.save();
  const std::string before = read_file(path("run/state.safetensors"));
  {
    const torch::NoGradGuard no_grad;
    task->model().parameters().front().fill_(std::nan(""));
  }
  const std::string message = testing::error_of([&] { trainer.run(); }, ErrorCode::kRuntime);
  expect_contains(message, "iteration 1: loss nan (decode nan");
  expect_contains(message, "state.safetensors has iteration 1");
  EXPECT_EQ(read_file(path("run/state.safetensors")), before);
}

TEST_F(Training, RunsInBfloat16) {
  const auto task = make_task(2);
  TrainerOptions options = options_for("run", 9);
  options.runtime.dtype = "bf16";
  Trainer trainer(*task, options);
  BatchLoader loader(*task, options.loader, 0);
  const Batch batch = loader.next();
  const StepReport first = trainer.step(batch);
  for (const auto& item : task->model().named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_EQ(item.value().grad().scalar_type(), torch::kFloat32) << item.key();
  }
  EXPECT_GT(task->model()
                .named_parameters()["backbone.stages.2.0.gnconv.dwconv.complex_weight"]
                .grad()
                .abs()
                .max()
                .item<double>(),
            0);
  for (int i = 0; i < 7; ++i) trainer.step(batch);
  EXPECT_LT(trainer.step(batch).losses[0].second, first.losses[0].second);
}

TEST_F(Training, KeepsTheStepsIfAValidationImageCannotBeRead) {
  const auto list = read_sample_list(testing::write_scenes(path(""), 2));
  auto broken = list;
  broken[0].image = path("none.png");
  SegmentationTask task(list, broken, scene_options());
  initialise(task.model(), Initialisation::kFanIn);
  Trainer trainer(task, options_for("run", 2));
  expect_contains(testing::error_of([&] { trainer.run(); }, ErrorCode::kInput), "none.png");
  EXPECT_EQ(weights::read(path("run/state.safetensors")).meta.entries.at("iteration"), "2");
}

TEST_F(Training, LeavesOutWhatCannotBeReadIfAsked) {
  const auto list = read_sample_list(testing::write_scenes(path(""), 2));
  auto broken = list;
  broken[0].image = path("none.png");
  SegmentationTask task(list, broken, scene_options());
  SegmentationTask rest(list, {list[1]}, scene_options());
  for (auto* module : {&task.model(), &rest.model()}) {
    torch::manual_seed(3);
    initialise(*module, Initialisation::kFanIn);
    module->eval();
  }
  const Runtime runtime({"cpu", "fp32"});
  std::vector<std::string> errors;
  const auto note = [&](const std::string& error) { errors.push_back(error); };
  EXPECT_EQ(task.evaluate({runtime, {}, note}), rest.evaluate({runtime, {}}));
  ASSERT_EQ(errors.size(), 1u);
  expect_contains(errors[0], "none.png");
  TrainerOptions options = options_for("run", 2);
  options.loader.skip_bad = true;
  EXPECT_EQ(Trainer(task, options).run(), 0);
}

TEST_F(Training, TakesABatchWithoutAnyClass) {
  const auto task = make_task(2);
  Trainer trainer(*task, options_for("run", 9));
  Batch batch = stack({task->example(0, 1), task->example(1, 2)});
  for (auto& targets : batch.targets) targets[0].fill_(kSceneIgnore);
  const StepReport report = trainer.step(batch);
  EXPECT_EQ(report.losses.front().second, 0);
  EXPECT_EQ(report.gradient_norm, 0);
}

TEST_F(Training, ExportsWhatSegmentRunsByDefault) {
  const auto task = make_task(2);
  Trainer trainer(*task, options_for("run", 2));
  EXPECT_EQ(trainer.run(), 0);
  Segmentor segment(path("run/model.safetensors"), {"cpu", "fp32"});
  EXPECT_TRUE(segment.takes_whole_images());
  EXPECT_EQ(segment.slide().tile, 512);
  EXPECT_EQ(segment.ignore_label(), kSceneIgnore);
  EXPECT_EQ(segment.palette().names, (std::vector<std::string>{"sky", "ground", "disc"}));
  EXPECT_FALSE(segment.architecture().segmentor->auxiliary);
  const cv::Mat labels = segment(testing::scene_with_labels({70, 50}, 3).bgr);
  EXPECT_EQ(labels.size(), cv::Size(70, 50));
  SegmentorOptions windows;
  windows.tile = 64;
  EXPECT_FALSE(
      Segmentor(path("run/model.safetensors"), {"cpu", "fp32"}, windows).takes_whole_images());
  const auto file = weights::read(path("run/model.safetensors"));
  EXPECT_EQ(file.tensors.at("decode_head.conv_seg.weight").dtype, weights::DType::kFloat16);
  EXPECT_EQ(file.tensors.at("backbone.norm0.weight").dtype, weights::DType::kFloat32);
}

TEST_F(Training, RefusesWeightsThatHalvesCannotHold) {
  torch::nn::Linear model(2, 2);
  {
    const torch::NoGradGuard no_grad;
    model->weight.fill_(1e6);
  }
  const std::string message = testing::error_of(
      [&] { export_model(path("model.safetensors"), *model, {}); }, ErrorCode::kRuntime);
  expect_contains(message, "'weight' does not fit float16");
  export_model(path("model.safetensors"), *model, {{}, {}, /*half=*/false});
}

TEST_F(Training, RefusesTheStateOfAnotherModel) {
  const auto task = make_task(2);
  Trainer(*task, options_for("run", 1)).run();
  SegmentationOptions options = scene_options();
  options.architecture.segmentor->decode.channels(8);
  const auto other = make_task(2, options);
  Trainer trainer(*other, options_for("run", 1));
  expect_contains(testing::error_of([&] { trainer.resume(); }), "of another shape");
  SegmentationOptions deeper = scene_options();
  ++std::get<HorNetOptions>(deeper.architecture.backbone).stages[1].depth;
  const auto larger = make_task(2, deeper);
  Trainer(*larger, options_for("larger", 1)).run();
  Trainer smaller(*task, options_for("larger", 1));
  expect_contains(testing::error_of([&] { smaller.resume(); }, ErrorCode::kWeights),
                  "besides the model's");
  write_file(path("run/state.safetensors"), read_file(path("run/model.safetensors")));
  expect_contains(testing::error_of([&] { trainer.resume(); }), "has no 'iteration'");
}

TEST_F(Training, NamesTheImageThatIsTooSmallToValidateOn) {
  const auto list = read_sample_list(testing::write_scenes(path(""), 2));
  cv::imwrite(path("tiny.png").string(), cv::Mat(20, 64, CV_8UC3, cv::Scalar(9, 9, 9)));
  cv::imwrite(path("tiny_labels.png").string(), cv::Mat(20, 64, CV_8UC1, cv::Scalar(0)));
  SegmentationTask task(list, {list[0], {path("tiny.png"), path("tiny_labels.png")}},
                        scene_options());
  task.model().eval();
  const Runtime runtime({"cpu", "fp32"});
  expect_contains(testing::error_of(
                      [&] {
                        task.evaluate({runtime, {}});
                      },
                      ErrorCode::kInput),
                  "tiny.png");
  std::vector<std::string> errors;
  const auto note = [&](const std::string& error) { errors.push_back(error); };
  EXPECT_FALSE(task.evaluate({runtime, {}, note}).empty());
  EXPECT_EQ(errors.size(), 1u);
}

// What was learned since the last state is not lost.
TEST_F(Training, SavesBeforeItFailsAtAnImage) {
  const auto list = read_sample_list(testing::write_scenes(path(""), 4));
  SegmentationTask task(list, {}, scene_options());
  const TrainerOptions options = options_for("run", 4);
  Trainer trainer(task, options);
  BatchLoader loader(task, options.loader, 0);
  trainer.step(loader.next());  // of two, which stay in memory
  for (const SamplePaths& sample : list) write_file(sample.image, "no image");
  testing::error_of([&] { trainer.run(); }, ErrorCode::kInput);
  EXPECT_TRUE(std::filesystem::exists(path("run/state.safetensors")));
}

TEST_F(Training, WeighsClassesByTheirPixels) {
  SegmentationOptions options = scene_options();
  options.class_balance = 0.5;
  const auto task = make_task(2, options);
  std::vector<int64_t> pixels(3);
  for (int i = 0; i < 2; ++i) {
    const cv::Mat labels = testing::scene_with_labels({96, 80}, i).labels;
    for (int c = 0; c < 3; ++c) pixels[c] += cv::countNonZero(labels == c);
  }
  expect_close(task->class_weights(),
               torch::tensor(balanced_weights(pixels, 0.5), torch::kFloat32));
}

TEST_F(Training, RefusesAnIgnoredLabelThatIsAClass) {
  SegmentationOptions options = scene_options();
  options.ignore_label = 2;
  expect_contains(testing::error_of([&] { make_task(1, options); }, ErrorCode::kUsage),
                  "--ignore-label 2");
}

TEST_F(Training, ClassifiesImagesOfFolders) {
  for (const char* name : {"blue", "red"}) {
    std::filesystem::create_directories(path(name));
    const cv::Scalar colour = *name == 'b' ? cv::Scalar(220, 40, 30) : cv::Scalar(30, 40, 220);
    for (int i = 0; i < 3; ++i) {
      cv::Mat image(50, 60, CV_8UC3, colour);
      cv::circle(image, {10 + 10 * i, 20}, 8, cv::Scalar::all(90), cv::FILLED);
      cv::imwrite((path(name) / (std::to_string(i) + ".png")).string(), image);
    }
  }
  ClassificationOptions options;
  options.architecture.task = Task::kClassification;
  options.architecture.backbone = testing::narrow_hornet();
  options.architecture.num_classes = 2;
  options.augment.crop = {32, 32};
  options.augment.recolour = false;
  options.label_smoothing = 0;
  const auto folders = read_class_folders(path(""));
  ClassificationTask task(folders, folders, options);
  initialise(task.model(), Initialisation::kFanIn);
  TrainerOptions training = options_for("run", 60);
  training.loader.batch_size = 6;
  Trainer trainer(task, training);
  EXPECT_EQ(trainer.run(), 0);
  EXPECT_EQ(*trainer.state().best, 1);  // top-1
  EXPECT_LT(TrainingLog(path("run")).losses().rows.back()[0], 0.1);
  const LoadedModel model = load_model(weights::read(path("run/best.safetensors")));
  EXPECT_EQ(model.meta.classes, (std::vector<std::string>{"blue", "red"}));
  EXPECT_EQ(default_size(model.meta), options.augment.crop);

  std::filesystem::remove(path("blue") / "1.png");
  task.model().eval();
  const Runtime runtime({"cpu", "fp32"});
  expect_contains(testing::error_of(
                      [&] {
                        task.evaluate({runtime, {}});
                      },
                      ErrorCode::kInput),
                  "1.png");
  const auto ignored = [](const std::string&) {};
  EXPECT_EQ(task.evaluate({runtime, {}, ignored})[0].second, 1) << "it counts as wrong";
}

}  // namespace
}  // namespace hornet
