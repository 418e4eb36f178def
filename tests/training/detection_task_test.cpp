// The task of detection: targets, learning by heart, what the checkpoint says, what is refused.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/training/detection_task.h>
#include <hornet/training/initialise.h>
#include <hornet/training/trainer.h>

#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "tests/modules.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet {
namespace {

using testing::error_of;
using testing::expect_contains;
using testing::expect_identical;

constexpr int64_t kRoom = 1 << 24;
const cv::Size kImage(96, 96);

struct Thing {
  cv::Rect box;
  int category;  // 1 "red" or 2 "blue"
  bool masked = true;
  bool crowd = false;
};

const std::vector<std::vector<Thing>> kScenes = {
    {{{10, 16, 44, 36}, 1}, {{60, 40, 28, 48}, 2}},
    {{{30, 8, 40, 70}, 2, /*masked=*/false}},
    {},  // background
    {{{4, 50, 50, 40}, 1}, {{60, 4, 30, 30}, 2, false, /*crowd=*/true}}};

class DetectionTaskTest : public TemporaryFolder {
 protected:
  DetectionTaskTest() { torch::set_num_threads(1); }

  AnnotatedImages write_scenes(const std::vector<std::vector<Thing>>& scenes) {
    std::string images, annotations;
    int id = 0;
    for (size_t i = 0; i < scenes.size(); ++i) {
      const std::string name = std::to_string(i) + ".png";
      cv::Mat image(kImage, CV_8UC3, cv::Scalar(90, 100, 110));
      for (const Thing& thing : scenes[i]) {
        const auto colour = thing.category == 1 ? cv::Scalar(20, 30, 230) : cv::Scalar(230, 40, 20);
        cv::rectangle(image, thing.box, colour, cv::FILLED);
        annotations += (annotations.empty() ? "" : ",") + annotation(++id, i, thing);
      }
      cv::imwrite(path(name).string(), image);
      images += (i > 0 ? "," : "") + (R"({"id":)" + std::to_string(i) + R"(,"file_name":")" + name +
                                      R"(","width":96,"height":96})");
    }
    const std::string text =
        R"({"categories":[{"id":1,"name":"red"},{"id":2,"name":"blue"}],"images":[)" + images +
        R"(],"annotations":[)" + annotations + "]}";
    return {parse_coco_dataset(text, "scenes.json"), path(""), {}, kRoom};
  }

  static std::string annotation(int id, size_t image, const Thing& thing) {
    const auto [x, y, width, height] =
        std::tie(thing.box.x, thing.box.y, thing.box.width, thing.box.height);
    const auto corner = [](int a, int b) { return std::to_string(a) + "," + std::to_string(b); };
    const std::string polygon = corner(x, y) + "," + corner(x + width, y) + "," +
                                corner(x + width, y + height) + "," + corner(x, y + height);
    return R"({"id":)" + std::to_string(id) + R"(,"image_id":)" + std::to_string(image) +
           R"(,"category_id":)" + std::to_string(thing.category) + R"(,"iscrowd":)" +
           std::to_string(thing.crowd) + R"(,"bbox":[)" + corner(x, y) + "," +
           corner(width, height) + "]" +
           (thing.masked ? R"(,"segmentation":[[)" + polygon + "]]" : "") + "}";
  }

  // Images as they are, on a narrow network with anchors of its own.
  static DetectionOptions plain_options() {
    DetectionOptions options;
    Architecture& architecture = options.architecture;
    architecture.task = Task::kDetection;
    architecture.backbone = testing::narrow_hornet();
    architecture.num_classes = 2;
    architecture.neck = FpnOptions(feature_info(architecture.backbone)).channels(16).levels(4);
    architecture.detector = MaskRcnnOptions(FpnImpl::feature_info(*architecture.neck));
    architecture.detector->num_classes(2);
    architecture.detector->rpn.max_proposals(50);
    architecture.detector->rpn.anchors().scales = {6, 8.5};
    architecture.detector->rpn.anchors().ratios = {1, 2};
    architecture.detector->roi.bbox().fc_channels(32);
    architecture.detector->roi.mask().convs(1);
    options.losses.roi_sample.number = 64;
    options.augment.crop = options.size.emplace(kImage);
    options.augment.min_scale = options.augment.max_scale = 1;
    options.augment.flip = options.augment.recolour = false;
    return options;
  }

  TrainerOptions trainer_options(int64_t iterations) {
    TrainerOptions options;
    options.output = path("run");
    options.loader = {2, 3, 0, false};
    options.learning_rate = 2e-3;
    options.schedule.iterations = iterations;
    options.ema = 0;
    options.clip_norm = 5;
    options.validate_every = 0;
    options.progress = ProgressMode::kNone;
    options.runtime.device = "cpu";
    return options;
  }
};

TEST_F(DetectionTaskTest, ExamplesHaveBoxesMasksAndCrowds) {
  const DetectionTask task(write_scenes(kScenes), std::nullopt, plain_options());
  ASSERT_EQ(task.size(), 4);
  const Example both = task.example(0, 1);
  EXPECT_EQ(both.image.sizes(), (std::vector<int64_t>{3, 96, 96}));
  expect_identical(both.targets[0],
                   torch::tensor({{10.f, 16.f, 54.f, 52.f}, {60.f, 40.f, 88.f, 88.f}}));
  expect_identical(both.targets[1], torch::tensor({0, 1}, torch::kInt64));
  EXPECT_EQ(both.targets[2].sizes(), (std::vector<int64_t>{2, 96, 96}));
  EXPECT_EQ(both.targets[2][0].sum().item<int64_t>(), 44 * 36);
  EXPECT_EQ(both.targets[2][1].slice(0, 40, 88).slice(1, 60, 88).sum().item<int64_t>(), 28 * 48);
  EXPECT_TRUE(both.targets[3].all().item<bool>());
  // Red is the first channel of what the network sees.
  EXPECT_GT(both.image[0][30][20].item<float>(), 1);
  EXPECT_LT(both.image[2][30][20].item<float>(), -1);

  const Example unmasked = task.example(1, 1);
  EXPECT_FALSE(unmasked.targets[3].any().item<bool>());
  EXPECT_EQ(unmasked.targets[2].sum().item<int64_t>(), 0);
  const Example empty = task.example(2, 1);
  EXPECT_EQ(empty.targets[0].sizes(), (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(empty.targets[2].sizes(), (std::vector<int64_t>{0, 96, 96}));
  const Example crowded = task.example(3, 1);
  EXPECT_EQ(crowded.targets[0].size(0), 1);
  expect_identical(crowded.targets[4], torch::tensor({{60.f, 4.f, 90.f, 34.f}}));
}

TEST_F(DetectionTaskTest, LearnsImagesByHeart) {
  const std::vector<std::vector<Thing>> scenes = {kScenes[0], {{{20, 30, 40, 50}, 2}}};
  DetectionTask task(write_scenes(scenes), write_scenes(scenes), plain_options());
  torch::manual_seed(5);
  initialise(task.model(), Initialisation::kFanIn);
  Trainer trainer(task, trainer_options(150));
  EXPECT_EQ(trainer.run(), 0);
  const TrainingLog log(path("run"));
  EXPECT_EQ(log.losses().columns, (std::vector<std::string>{"loss", "rpn_cls", "rpn_box", "cls",
                                                            "box", "mask", "rate", "gradient"}));
  EXPECT_LT(log.losses().rows.back()[0], 0.25 * log.losses().rows.front()[0]);
  EXPECT_EQ(log.metrics().columns,
            (std::vector<std::string>{"bbox AP", "bbox AP50", "segm AP", "segm AP50"}));
  EXPECT_GT(log.metrics().rows.back()[1], 0.99);
  EXPECT_GT(log.metrics().rows.back()[3], 0.99);

  // What was exported is used as it was trained.
  Detector detect(path("run/model.safetensors"), {"cpu", "fp32"});
  EXPECT_EQ(detect.size(), kImage);
  EXPECT_EQ(detect.classes().names, (std::vector<std::string>{"red", "blue"}));
  EXPECT_EQ(detect.architecture().neck->levels(), 4);
  const RpnHeadOptions& rpn = detect.architecture().detector->rpn;
  EXPECT_EQ(rpn.max_proposals(), 50);
  EXPECT_EQ(rpn.anchors().scales, (std::vector<double>{6, 8.5}));
  EXPECT_EQ(rpn.anchors().ratios, (std::vector<double>{1, 2}));
  const auto found = detect(cv::imread(path("1.png").string()));
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0].label, 1);
  const cv::Rect2f common = found[0].box & cv::Rect2f(20, 30, 40, 50);
  EXPECT_GT(common.area(), 0.7 * 40 * 50);

  // An image that is gone counts neither for nor against it.
  DetectionTask again(write_scenes(scenes), write_scenes(scenes), plain_options());
  {
    const torch::NoGradGuard no_grad;
    const auto from = task.model().named_parameters(), to = again.model().named_parameters();
    for (const auto& item : to) item.value().copy_(from[item.key()]);
  }
  again.model().eval();
  std::filesystem::remove(path("0.png"));
  const Runtime runtime({"cpu", "fp32"});
  expect_contains(testing::error_of(
                      [&] {
                        again.evaluate({runtime, {}});
                      },
                      ErrorCode::kInput),
                  "0.png");
  std::vector<std::string> errors;
  const auto note = [&](const std::string& error) { errors.push_back(error); };
  const Metrics metrics = again.evaluate({runtime, {}, note});
  EXPECT_EQ(errors.size(), 1u);
  EXPECT_EQ(metrics[1].first, "bbox AP50");
  EXPECT_GT(metrics[1].second, 0.99);
}

TEST_F(DetectionTaskTest, TakesImagesWithoutObjects) {
  DetectionTask task(write_scenes({{}, {}}), std::nullopt, plain_options());
  initialise(task.model(), Initialisation::kFanIn);
  Trainer trainer(task, trainer_options(2));
  const StepReport report = trainer.step(stack({task.example(0, 1), task.example(1, 2)}));
  EXPECT_TRUE(std::isfinite(report.losses.front().second));
  EXPECT_GT(report.gradient_norm, 0);
}

TEST_F(DetectionTaskTest, PastesWhatHasAMask) {
  DetectionOptions options = plain_options();
  options.augment.paste = 1;
  options.augment.pasted_height = {20, 40};
  const DetectionTask task(write_scenes({kScenes[0], {}}), std::nullopt, options);
  int64_t objects = 0;
  for (uint64_t seed = 0; seed < 10; ++seed) objects += task.example(1, seed).targets[0].size(0);
  EXPECT_GT(objects, 10);
  expect_contains(
      error_of([&] { DetectionTask(write_scenes({kScenes[1]}), std::nullopt, options); },
               ErrorCode::kInput),
      "--paste needs objects with masks");
}

TEST_F(DetectionTaskTest, PolygonsToValidateOnNeedTheSizesOfTheirImages) {
  write_scenes(kScenes);
  const char text[] =
      R"({"categories":[{"id":1,"name":"red"},{"id":2,"name":"blue"}],)"
      R"("images":[{"id":0,"file_name":"0.png"}],"annotations":[{"id":4,"image_id":0,)"
      R"("category_id":1,"area":5,"bbox":[10,16,44,36],"segmentation":[[10,16,54,16,54,52]]}]})";
  const auto unsized = [&] {
    return AnnotatedImages(parse_coco_dataset(text, "bare.json"), path(""), {}, kRoom);
  };
  EXPECT_EQ(DetectionTask(unsized(), std::nullopt, plain_options()).size(), 1);
  expect_contains(
      error_of([&] { DetectionTask(write_scenes(kScenes), unsized(), plain_options()); },
               ErrorCode::kInput),
      "bare.json: image 0: has no 'width' and 'height'");
}

TEST_F(DetectionTaskTest, SaysWhatValidationCannotMeasure) {
  const auto notes = [&](const std::vector<std::vector<Thing>>& scenes) {
    const DetectionTask task(write_scenes(kScenes), write_scenes(scenes), plain_options());
    std::string text;
    for (const std::string& note : task.notes()) text += note + "\n";
    return text;
  };
  EXPECT_EQ(notes({kScenes[0]}), "");
  expect_contains(notes({kScenes[0], kScenes[1]}), "masks are not measured, because annotation");
  expect_contains(notes({{}}), "no objects of the classes to find");
  DetectionTask nothing(write_scenes(kScenes), write_scenes({{}}), plain_options());
  nothing.model().eval();
  const Runtime runtime({"cpu", "fp32"});
  for (const auto& [name, value] : nothing.evaluate({runtime, {}})) {
    EXPECT_TRUE(std::isnan(value)) << name;
  }
}

TEST_F(DetectionTaskTest, RefusesCropsThatAPyramidCannotDivide) {
  DetectionOptions options = plain_options();
  options.augment.crop = {96, 80};
  expect_contains(error_of([&] { DetectionTask(write_scenes(kScenes), std::nullopt, options); },
                           ErrorCode::kUsage),
                  "--crop 96x80");
}

}  // namespace
}  // namespace hornet
