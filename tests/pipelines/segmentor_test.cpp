// The segmentor on fixture models, against the heads' own whole and slide modes.
#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/forward.h>
#include <hornet/pipelines/measure.h>
#include <hornet/pipelines/segment_file.h>
#include <hornet/pipelines/segmentor.h>
#include <torch/types.h>

#include <filesystem>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <tuple>

#include "temporary_folder.h"

namespace hornet {
namespace {

const std::string kFixtures = std::string(HORNET_TEST_DATA) + "/fixtures/";
const std::string kModel = kFixtures + "upernet_hornet_tiny_gf_s2/model.pth";

// Smooth colours with edges, the same every time.
cv::Mat picture(cv::Size size) {
  cv::Mat noise(size.height / 8 + 2, size.width / 8 + 2, CV_8UC3), image;
  cv::RNG(5).fill(noise, cv::RNG::UNIFORM, 0, 256);
  cv::resize(noise, image, size, 0, 0, cv::INTER_CUBIC);
  cv::rectangle(image, {size.width / 3, size.height / 4, 40, 30}, {20, 200, 90}, cv::FILLED);
  return image;
}

// What the model itself gives in slide or whole mode: [C,H,W].
torch::Tensor logits_of(const cv::Mat& image, const ForwardOptions& options) {
  LoadedModel model = load_model(weights::read(kModel));
  const ForwardInput input = forward_input(image, segmentation_preprocess(image.size()));
  for (const auto& [name, value] :
       forward_stages(model, input, options, Runtime({"cpu", "fp32"}))) {
    if (name == "ori_logits") return value[0];
  }
  return {};
}

cv::Mat as_labels(const torch::Tensor& scores) {
  const torch::Tensor labels = scores.argmax(0).to(torch::kUInt8).contiguous();
  return cv::Mat(static_cast<int>(labels.size(0)), static_cast<int>(labels.size(1)), CV_8UC1,
                 labels.data_ptr())
      .clone();
}

double share_that_differs(const cv::Mat& a, const cv::Mat& b) {
  EXPECT_EQ(a.size(), b.size());
  return cv::countNonZero(a != b) / static_cast<double>(a.total());
}

// The official augmented testing, transcribed: each scale and its mirror image in slide or whole
// mode, softmax at the image's size, mean.
torch::Tensor official_augmented(const cv::Mat& image, cv::Size box, const ForwardOptions& mode) {
  LoadedModel model = load_model(weights::read(kModel));
  const Runtime runtime({"cpu", "fp32"});
  torch::Tensor sum;
  for (double ratio : {0.5, 0.75, 1.0, 1.25, 1.5, 1.75}) {
    for (bool mirrored : {false, true}) {
      const cv::Size scale(static_cast<int>(box.width * ratio),
                           static_cast<int>(box.height * ratio));
      ForwardInput input = forward_input(image, segmentation_preprocess(scale));
      if (mirrored) input.input = input.input.flip(3);
      for (const auto& [name, value] : forward_stages(model, input, mode, runtime)) {
        if (name != "ori_logits") continue;
        const torch::Tensor p = value[0].softmax(0);
        const torch::Tensor upright = mirrored ? p.flip(2) : p;
        sum = sum.defined() ? sum + upright : upright;
      }
    }
  }
  return sum / 12;
}

TEST(Segmentor, MeanBlendingIsTheOfficialSlideMode) {
  const cv::Mat image = picture({301, 233});
  SegmentorOptions options;
  options.tile = 128;
  options.stride = 85;
  Segmentor segment(kModel, {"cpu", "fp32"}, options);
  const cv::Mat wanted = as_labels(logits_of(image, {SlideOptions{128, 85}}));
  EXPECT_LE(share_that_differs(segment(image), wanted), 1e-3);
}

TEST(Segmentor, WholeModeIsTheOfficialOne) {
  const cv::Mat image = picture({187, 131});
  SegmentorOptions options;
  options.whole = true;
  Segmentor segment(kModel, {"cpu", "fp32"}, options);
  EXPECT_LE(share_that_differs(segment(image), as_labels(logits_of(image, {}))), 1e-3);
}

TEST(Segmentor, ScalesAsTheOfficialPipelineDoes) {
  const cv::Mat image = picture({150, 100});
  LoadedModel model = load_model(weights::read(kModel));
  const ForwardInput input = forward_input(image, segmentation_preprocess({512, 160}));
  torch::Tensor wanted;
  for (const auto& [name, value] :
       forward_stages(model, input, {SlideOptions{96, 64}}, Runtime({"cpu", "fp32"}))) {
    if (name == "ori_logits") wanted = value[0];
  }
  SegmentorOptions options;
  options.size = cv::Size(512, 160);
  options.tile = 96;
  options.stride = 64;
  Segmentor segment(kModel, {"cpu", "fp32"}, options);
  EXPECT_LE(share_that_differs(segment(image), as_labels(wanted)), 1e-3);
}

TEST(Segmentor, AugmentedTestingOfWholeImagesIsTheOfficialOne) {
  const cv::Mat image = picture({120, 90});
  SegmentorOptions options;
  options.tta = true;
  options.whole = true;
  Segmentor whole(kModel, {"cpu", "fp32"}, options);
  EXPECT_LE(share_that_differs(whole(image), as_labels(official_augmented(image, {120, 90}, {}))),
            2e-3);
  options.whole = false;
  options.size = cv::Size(256, 128);
  options.tile = 96;
  options.stride = 64;
  Segmentor slide(kModel, {"cpu", "fp32"}, options);
  const torch::Tensor wanted = official_augmented(image, {256, 128}, {SlideOptions{96, 64}});
  EXPECT_LE(share_that_differs(slide(image), as_labels(wanted)), 2e-3);
}

TEST(Segmentor, AugmentedWindowsAreTheOfficialTestingOfEach) {
  const cv::Mat image = picture({128, 96});  // one window
  SegmentorOptions options;
  options.tta = true;
  options.tile = 128;
  Segmentor segment(kModel, {"cpu", "fp32"}, options);
  EXPECT_LE(share_that_differs(segment(image), as_labels(official_augmented(image, {128, 96}, {}))),
            2e-3);
}

TEST(Segmentor, BatchesChangeNothing) {
  const cv::Mat image = picture({300, 160});
  SegmentorOptions options;
  options.tile = 96;
  Segmentor one(kModel, {"cpu", "fp32"}, options);
  options.batch_size = 3;
  Segmentor three(kModel, {"cpu", "fp32"}, options);
  EXPECT_LE(share_that_differs(one(image), three(image)), 1e-3);
}

// How often this thread has called LibTorch's convolutions.
int64_t convolutions = 0;

std::unique_ptr<at::ObserverContext> count_convolutions(const at::RecordFunction& function) {
  if (std::string(function.name()) == "aten::conv2d") ++convolutions;
  return nullptr;
}

TEST(Segmentor, MeasuringMemoryRunsNoWindowTwice) {
  const cv::Mat image = picture({1920, 96});  // 340 MB with probabilities: worth measuring
  const WindowSource source = window_source(image);
  const auto callback = at::addThreadLocalCallback(at::RecordFunctionCallback(count_convolutions));
  const auto segmented = [&](int64_t max_memory, int batch_size) {
    SegmentorOptions options;
    options.tile = 96;
    options.stride = 96;
    options.batch_size = batch_size;
    options.max_memory = max_memory;
    Segmentor segment(kModel, {"cpu", "fp32"}, options);
    cv::Mat labels(image.size(), CV_8UC1);
    LabelSink sink;
    sink.labels = [&](const cv::Rect& where, const cv::Mat& part) { part.copyTo(labels(where)); };
    convolutions = 0;
    const std::vector<cv::Rect> regions = segment.regions(source, /*probabilities=*/true);
    const int64_t measuring = convolutions;
    for (const cv::Rect& region : regions) segment(source, sink, region);
    return std::tuple(labels, convolutions, measuring);
  };
  const int64_t plenty = int64_t{64} << 30, scarce = int64_t{2} << 30;
  for (int batch_size : {1, 2}) {
    const auto [labels, runs, not_measured] = segmented(plenty, batch_size);
    const auto [same, runs_there, measured] = segmented(scarce, batch_size);
    EXPECT_EQ(not_measured, 0);
    EXPECT_GT(measured, 0);
    EXPECT_GT(runs, measured);
    EXPECT_EQ(runs_there, runs);
    EXPECT_EQ(share_that_differs(same, labels), 0);
  }
  at::removeCallback(callback);
}

TEST(Segmentor, MemoryThatEarlierWorkTookDoesNotCount) {
  const auto use = memory_of([] {});
  if (!use || !use->exact) GTEST_SKIP() << "this system does not reset a process's peak";
  const cv::Mat image = picture({1920, 96});
  SegmentorOptions options;
  options.tile = 96;
  options.stride = 96;
  options.max_memory = use->before + (int64_t{768} << 20);
  Segmentor segment(kModel, {"cpu", "fp32"}, options);
  {
    const std::vector<char> earlier(size_t{1} << 30, 1);
    EXPECT_EQ(earlier.back(), 1);
  }
  EXPECT_NO_THROW(segment.regions(window_source(image), /*probabilities=*/true));
}

TEST(Segmentor, TakesTheModelsWindowsAndTwoThirdsOfOthers) {
  EXPECT_EQ(Segmentor(kModel, {"cpu", "fp32"}).slide().tile, 512);
  EXPECT_EQ(Segmentor(kModel, {"cpu", "fp32"}).slide().stride, 341);
  SegmentorOptions options;
  options.tile = 96;
  EXPECT_EQ(Segmentor(kModel, {"cpu", "fp32"}, options).slide().stride, 64);
  options.stride = 97;
  EXPECT_THROW(Segmentor(kModel, {"cpu", "fp32"}, options), Error);
}

TEST(Segmentor, RefusesDetectorsSmallImagesAndWhatDoesNotFit) {
  EXPECT_THROW(Segmentor(kFixtures + "fpn_mask_rcnn_hornet_small_7x7_s1/model.pth"), Error);
  Segmentor segment(kModel, {"cpu", "fp32"});
  EXPECT_THROW(segment(picture({31, 64})), Error);
  SegmentorOptions options;
  options.whole = true;
  options.max_memory = 1 << 20;
  Segmentor whole(kModel, {"cpu", "fp32"}, options);
  EXPECT_THROW(whole(picture({400, 300})), Error);
  options.whole = false;
  Segmentor windows(kModel, {"cpu", "fp32"}, options);
  EXPECT_THROW(windows(picture({400, 300})), Error);
}

TEST(Segmentor, TransparentPixelsHaveNoData) {
  cv::Mat image;
  cv::cvtColor(picture({100, 80}), image, cv::COLOR_BGR2BGRA);
  image(cv::Rect(10, 20, 30, 40)).setTo(cv::Scalar(1, 2, 3, 0));
  SegmentorOptions options;
  options.tile = 64;
  Segmentor segment(kModel, {"cpu", "fp32"}, options);
  cv::Mat hole(80, 100, CV_8UC1, cv::Scalar(0));
  hole(cv::Rect(10, 20, 30, 40)).setTo(255);
  EXPECT_EQ(cv::countNonZero((segment(image) == 255) != hole), 0);
}

class SegmentFile : public TemporaryFolder {
 protected:
  SegmentFile() {
    options_.labels = path("out.tif");
    options_.class_list = false;
  }

  static Segmentor windows_of_64() {
    SegmentorOptions options;
    options.tile = 64;
    options.stride = 64;
    return Segmentor(kModel, {"cpu", "fp32"}, options);
  }

  // Segments a picture of this size, stored as `name`.
  bool run(const std::string& name, cv::Size size = {96, 64}) {
    if (!exists(name)) cv::imwrite(path(name).string(), picture(size));
    RasterReader raster(path(name), {});
    return segment_file(segmentor_, raster, options_).complete;
  }

  void expect_error(const std::string& name, ErrorCode code, const std::vector<std::string>& parts,
                    cv::Size size = {96, 64}) {
    try {
      run(name, size);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      for (const std::string& part : parts) {
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      }
    }
  }

  bool exists(const std::string& name) const { return std::filesystem::exists(path(name)); }

  Segmentor segmentor_ = windows_of_64();
  SegmentFileOptions options_;
};

TEST_F(SegmentFile, LabelsAndProbabilitiesMayHaveOneStem) {
  options_.labels = path("out.png");
  options_.probabilities = path("out.tif");
  EXPECT_TRUE(run("in.png"));
  EXPECT_EQ(cv::imread(path("out.png").string()).size(), cv::Size(96, 64));
  EXPECT_TRUE(is_raster(path("out.tif")));
  EXPECT_EQ(files_in_folder(), 3u);
}

TEST_F(SegmentFile, ReplacesNothingThatIsReadOrAskedFor) {
  expect_error("out.partial.tif", ErrorCode::kUsage, {"out.partial.tif", "out.tif"});
  EXPECT_TRUE(exists("out.partial.tif"));
  options_.also_read = {path("out.partial.json")};
  expect_error("in.png", ErrorCode::kUsage, {"out.partial.json", "out.tif"});
  options_.also_read.clear();
  options_.overlay = path("out.partial.tif");
  expect_error("in.png", ErrorCode::kUsage, {"out.partial.tif", "out.tif"});
}

TEST_F(SegmentFile, StartingOverForgetsTheRowsOfAnEarlierRun) {
  options_.stop = [this] { return exists("out.partial.json"); };
  EXPECT_FALSE(run("in.png", {64, 1200}));
  options_.stop = [] { return false; };
  options_.force = true;
  options_.begin = [](int64_t) { throw std::runtime_error("killed"); };
  EXPECT_THROW(run("in.png"), std::runtime_error);
  EXPECT_FALSE(exists("out.partial.json"));
}

TEST_F(SegmentFile, WhoseLabelsHaveNoNameGoesOn) {
  options_.probabilities = path("p.tif");
  options_.overlay = path("look.png");
  for (const char* labels : {"out.tif", "out.png"}) {
    SCOPED_TRACE(labels);
    options_.labels = path(labels);
    options_.resume = options_.force = false;
    options_.begin = [&](int64_t) { write_file(path(labels), "somebody else's"); };
    expect_error("in.png", ErrorCode::kOutput, {std::string(labels) + ": exists"});
    EXPECT_EQ(read_file(path(labels)), "somebody else's");
    EXPECT_FALSE(exists("look.png"));
    options_.begin = [](int64_t windows) { EXPECT_EQ(windows, 0); };
    options_.resume = true;
    expect_error("in.png", ErrorCode::kOutput, {std::string(labels) + ": exists"});
    options_.force = true;
    EXPECT_TRUE(run("in.png"));
    for (const char* result : {labels, "p.tif", "look.png"}) EXPECT_TRUE(is_raster(path(result)));
    EXPECT_EQ(files_in_folder(), 4u);
    for (const char* result : {labels, "p.tif", "look.png"}) std::filesystem::remove(path(result));
  }
}

TEST_F(SegmentFile, WhoseOverlayHasNoNameGoesOn) {
  options_.probabilities = path("p.tif");
  options_.overlay = path("look.png");
  for (const char* labels : {"out.tif", "out.png"}) {
    SCOPED_TRACE(labels);
    options_.labels = path(labels);
    options_.resume = false;
    options_.begin = [&](int64_t) { write_file(path("look.png"), "somebody else's"); };
    expect_error("in.png", ErrorCode::kOutput, {"look.png: exists"});
    std::filesystem::remove(path("look.png"));
    options_.begin = [](int64_t windows) { EXPECT_EQ(windows, 0); };
    options_.resume = true;
    EXPECT_TRUE(run("in.png"));
    for (const char* result : {labels, "p.tif", "look.png"}) EXPECT_TRUE(is_raster(path(result)));
    EXPECT_EQ(files_in_folder(), 4u);
    for (const char* result : {labels, "p.tif", "look.png"}) std::filesystem::remove(path(result));
  }
}

TEST_F(SegmentFile, ThatLacksItsUnfinishedFilesSaysSo) {
  options_.begin = [&](int64_t) { write_file(path("out.tif"), "somebody else's"); };
  expect_error("in.png", ErrorCode::kOutput, {"out.tif: exists"});
  std::filesystem::remove(path("out.tif"));
  std::filesystem::remove(path("out.partial.tif"));
  options_.begin = [](int64_t) {};
  options_.resume = true;
  expect_error("in.png", ErrorCode::kOutput, {"out.partial.tif: is missing", "--force"});
}

TEST_F(SegmentFile, NamesTheFileWhoseImageIsWrong) {
  expect_error("low.png", ErrorCode::kInput, {"low.png: ", "400x20", "32x32"}, {400, 20});
  SegmentorOptions options;
  options.tile = 64;
  options.max_memory = 1 << 20;
  segmentor_ = Segmentor(kModel, {"cpu", "fp32"}, options);
  expect_error("in.png", ErrorCode::kUsage, {"in.png: --max-memory"});
  options.tile.reset();
  options.whole = true;
  segmentor_ = Segmentor(kModel, {"cpu", "fp32"}, options);
  expect_error("other.png", ErrorCode::kInput, {"other.png: ", "as a whole"});
}

}  // namespace
}  // namespace hornet
