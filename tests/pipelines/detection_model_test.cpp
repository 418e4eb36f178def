// The detector behind OpenCV's conventions, held against the detector itself.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/blob.h>
#include <hornet/pipelines/detection_model.h>

#include <cmath>
#include <map>

#include "tests/pipelines/scene.h"
#include "tests/weights/helpers.h"

namespace hornet {
namespace {

using testing::kDetector;
using testing::scene;
using weights::error_of;
using weights::expect_contains;

const RuntimeOptions kCpu = {"cpu", "fp32"};
const cv::Scalar kScale(1 / 58.395, 1 / 57.12, 1 / 57.375), kMean(123.675, 116.28, 103.53);

struct Results {
  std::vector<int> classes;
  std::vector<float> confidences;
  std::vector<cv::Rect> boxes;
  std::vector<cv::Mat> masks;
};

Results detect(DetectionModel& model, const cv::Mat& frame, float confidence = 0.2f,
               float nms = 0.0f) {
  Results found;
  model.detect(frame, found.classes, found.confidences, found.boxes, found.masks, confidence, nms);
  EXPECT_EQ(found.classes.size(), found.boxes.size());
  EXPECT_EQ(found.classes.size(), found.masks.size());
  EXPECT_EQ(found.classes.size(), found.confidences.size());
  return found;
}

DetectionModel small_model(cv::Size size = {160, 128}) {
  DetectionModel model(kDetector, kCpu);
  model.setInputParams(kScale, size, kMean, true);
  return model;
}

DetectorOptions detector_options(cv::Size size) {
  DetectorOptions options;
  options.size = size;
  options.score_threshold = 0.2;
  return options;
}

// Whether the rectangle is the box, rounded outwards; `slack` for boxes that are near a whole
// number.
bool encloses(const cv::Rect& rect, const cv::Rect2f& box, float slack) {
  const auto lower = [slack](int whole, float value) {
    return whole <= value + slack && whole > value - 1 - slack;
  };
  const auto upper = [slack](int whole, float value) {
    return whole >= value - slack && whole < value + 1 + slack;
  };
  return lower(rect.x, box.x) && lower(rect.y, box.y) && upper(rect.br().x, box.br().x) &&
         upper(rect.br().y, box.br().y);
}

// Every instance is among the results, and there are no others.
void expect_same(const Results& found, const std::vector<Instance>& expected, float slack = 0.05f) {
  ASSERT_FALSE(expected.empty());
  ASSERT_EQ(found.boxes.size(), expected.size());
  for (const Instance& instance : expected) {
    bool there = false;
    for (size_t i = 0; i < found.boxes.size(); ++i) {
      there = there || (found.classes[i] == instance.label &&
                        std::abs(found.confidences[i] - instance.score) < 1e-3f &&
                        encloses(found.boxes[i], instance.box, slack));
    }
    EXPECT_TRUE(there) << instance;
  }
}

double iou(const cv::Rect& a, const cv::Rect& b) {
  const double common = (a & b).area();
  return common / (a.area() + b.area() - common);
}

TEST(DetectionModel, PreparesFramesAsTheAuthorsDo) {
  DetectionModel model(kDetector, kCpu);
  Detector detector(kDetector, kCpu, detector_options({1333, 800}));
  const cv::Mat frame = scene({120, 70}, 1);
  const auto expected = detector(frame);
  const Results found = detect(model, frame);
  expect_same(found, expected, 0);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(found.confidences[i], expected[i].score) << "in the same order";
  }
}

TEST(DetectionModel, WithTheAuthorsNumbersIsTheDetector) {
  DetectionModel model = small_model();
  Detector detector(kDetector, kCpu, detector_options({160, 128}));
  const cv::Mat frame = scene({160, 128}, 2);
  expect_same(detect(model, frame), detector(frame));
}

TEST(DetectionModel, SettersOneByOneAreSetInputParams) {
  DetectionModel whole = small_model({150, 100});
  DetectionModel single(kDetector, kCpu);
  EXPECT_EQ(&single.setInputScale(kScale), &single);
  single.setInputSize(150, 100).setInputMean(kMean).setInputSwapRB(true).setInputCrop(false);
  const cv::Mat frame = scene({160, 128}, 3);
  const Results a = detect(whole, frame), b = detect(single, frame);
  EXPECT_FALSE(a.boxes.empty());
  EXPECT_EQ(a.boxes, b.boxes);
  EXPECT_EQ(a.confidences, b.confidences);

  whole.setInputScale(1 / 57.0);
  single.setInputScale(cv::Scalar(1 / 57.0));
  const Results c = detect(whole, frame), d = detect(single, frame);
  EXPECT_EQ(c.confidences, d.confidences) << "one number is for all channels";
  EXPECT_NE(a.confidences, c.confidences) << "the scale counts";
}

TEST(DetectionModel, EveryParameterCounts) {
  const cv::Mat frame = scene({160, 128}, 4);
  const std::vector<float> base = [&] {
    DetectionModel model = small_model({128, 96});
    return detect(model, frame).confidences;
  }();
  const auto differs = [&](auto change) {
    DetectionModel model = small_model({128, 96});
    change(model);
    return detect(model, frame).confidences != base;
  };
  EXPECT_TRUE(differs([](DetectionModel& m) { m.setInputSwapRB(false); }));
  EXPECT_TRUE(differs([](DetectionModel& m) { m.setInputCrop(true).setInputSize(128, 128); }));
  EXPECT_TRUE(differs([](DetectionModel& m) { m.setInputMean({100, 100, 100}); }));
  EXPECT_TRUE(differs([](DetectionModel& m) { m.setInputSize({128, 128}); }));
  EXPECT_FALSE(differs([](DetectionModel& m) { m.setInputMean(kMean); }));
}

TEST(DetectionModel, BoxesOfAStretchedInputAreInFramePixels) {
  const cv::Mat frame = scene({100, 120}, 5);
  cv::Mat stretched;
  cv::resize(frame, stretched, {200, 120}, 0, 0, cv::INTER_LINEAR);
  Detector detector(kDetector, kCpu, detector_options({200, 120}));
  std::vector<Instance> expected = detector(stretched);
  for (Instance& instance : expected) {
    instance.box.x /= 2;
    instance.box.width /= 2;
  }
  DetectionModel model = small_model({200, 120});
  const Results found = detect(model, frame);
  expect_same(found, expected);
  for (const cv::Rect& box : found.boxes) EXPECT_EQ(box & cv::Rect(0, 0, 100, 120), box);
}

TEST(DetectionModel, BoxesOfACropAreInFramePixels) {
  const cv::Mat frame = scene({201, 96}, 6);
  Detector detector(kDetector, kCpu, detector_options({96, 96}));
  std::vector<Instance> expected = detector(frame(cv::Rect(52, 0, 96, 96)));
  for (Instance& instance : expected) instance.box.x += 52;
  DetectionModel model = small_model({96, 96});
  model.setInputCrop(true);
  expect_same(detect(model, frame), expected);
}

TEST(DetectionModel, MasksAreOfTheBoxesSize) {
  DetectionModel model = small_model();
  Detector detector(kDetector, kCpu, detector_options({160, 128}));
  const cv::Mat frame = scene({160, 128}, 7);
  BlobOptions options;
  options.scale = kScale;
  options.mean = kMean;
  options.swap_rb = true;
  const auto expected = detector.run({blob_input(frame, options)}).front();
  const Results found = detect(model, frame);
  ASSERT_EQ(found.masks.size(), expected.size());
  int painted = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(found.masks[i].type(), CV_8UC1);
    ASSERT_EQ(found.masks[i].size(), found.boxes[i].size());
    cv::Mat canvas = cv::Mat::zeros(frame.size(), CV_8UC1), other = canvas.clone();
    found.masks[i].copyTo(canvas(found.boxes[i]));
    other(expected[i].mask.region) += expected[i].mask.pixels * 255;
    EXPECT_EQ(cv::countNonZero(canvas != other), 0) << "object " << i;
    painted += cv::countNonZero(canvas);
  }
  EXPECT_GT(painted, 0);
}

TEST(DetectionModel, ThresholdsLeaveTheBest) {
  DetectionModel model = small_model();
  const cv::Mat frame = scene({160, 128}, 8);
  const Results all = detect(model, frame, 0.0f), some = detect(model, frame, 0.4f);
  ASSERT_FALSE(some.boxes.empty());
  ASSERT_LT(some.boxes.size(), all.boxes.size());
  EXPECT_GE(some.confidences.back(), 0.4f);
  EXPECT_LT(all.confidences[some.boxes.size()], 0.4f) << "and nothing else is left out";
  EXPECT_TRUE(std::is_sorted(some.confidences.rbegin(), some.confidences.rend()));

  Results none = some;
  model.detect(frame, none.classes, none.confidences, none.boxes, none.masks, 1.0f);
  EXPECT_TRUE(none.boxes.empty() && none.classes.empty() && none.confidences.empty() &&
              none.masks.empty())
      << "what was in the vectors is gone";

  std::vector<int> classes;
  std::vector<float> confidences;
  std::vector<cv::Rect> boxes;
  model.detect(frame, classes, confidences, boxes, 0.4f);
  EXPECT_EQ(boxes, some.boxes) << "the same without masks";
  EXPECT_EQ(classes, some.classes);
}

TEST(DetectionModel, SuppressesWithinOrAcrossClasses) {
  DetectionModel model = small_model();
  EXPECT_FALSE(model.getNmsAcrossClasses());
  const cv::Mat frame = scene({160, 128}, 8);
  constexpr float kThreshold = 0.1f;
  const auto pairs_above = [](const Results& found, bool same_class) {
    int pairs = 0;
    for (size_t i = 0; i < found.boxes.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        const bool counts = !same_class || found.classes[i] == found.classes[j];
        pairs += counts && iou(found.boxes[i], found.boxes[j]) > kThreshold;
      }
    }
    return pairs;
  };
  const Results all = detect(model, frame, 0.1f), within = detect(model, frame, 0.1f, kThreshold);
  ASSERT_GT(pairs_above(all, true), 0);
  EXPECT_EQ(pairs_above(within, true), 0);
  ASSERT_GT(pairs_above(within, false), 0) << "other classes do not count";
  EXPECT_TRUE(std::is_sorted(within.confidences.rbegin(), within.confidences.rend()));
  std::map<int, float> best;
  for (size_t i = 0; i < all.classes.size(); ++i) best.emplace(all.classes[i], all.confidences[i]);
  for (size_t i = within.classes.size(); i-- > 0;) {
    if (best.at(within.classes[i]) == within.confidences[i]) best.erase(within.classes[i]);
  }
  EXPECT_TRUE(best.empty()) << "the best of each class stays";

  EXPECT_EQ(&model.setNmsAcrossClasses(true), &model);
  const Results across = detect(model, frame, 0.1f, kThreshold);
  EXPECT_EQ(pairs_above(across, false), 0);
  EXPECT_EQ(across.confidences.front(), all.confidences.front());
}

TEST(DetectionModel, CopiesShareTheNetworkAndItsClassesHaveNames) {
  DetectionModel model(kDetector, kCpu);
  DetectionModel copy = model;
  copy.setInputParams(kScale, {64, 64}, kMean, true);
  const cv::Mat frame = scene({64, 64}, 9);
  EXPECT_EQ(detect(model, frame).confidences, detect(copy, frame).confidences);
  EXPECT_EQ(model.classes().name(0), "c0") << "what the checkpoint calls it";
}

TEST(DetectionModel, SaysWhatIsWrong) {
  DetectionModel model = small_model();
  const auto message = [&](const cv::Mat& frame, float confidence, float nms, ErrorCode code) {
    return error_of([&] { detect(model, frame, confidence, nms); }, code);
  };
  const cv::Mat frame = scene({64, 64}, 1);
  expect_contains(message(cv::Mat(), 0.5f, 0, ErrorCode::kInput), "found one without pixels");
  expect_contains(message(cv::Mat(40, 40, CV_32FC3), 0.5f, 0, ErrorCode::kInput), "float32");
  expect_contains(message(frame, 1.5f, 0, ErrorCode::kUsage),
                  "expected a confidence threshold from 0 to 1, found 1.5");
  expect_contains(message(frame, 0.5f, -1, ErrorCode::kUsage), "an NMS threshold");
  message(frame, std::nanf(""), 0, ErrorCode::kUsage);
  DetectionModel official(kDetector, kCpu);
  EXPECT_THROW(detect(official, cv::Mat()), Error);
  expect_contains(
      error_of([] {
        DetectionModel(std::string(HORNET_TEST_DATA) + "/fixtures/hornet_tiny_gf_s1/model.pth");
      }),
      "is for classification");
}

}  // namespace
}  // namespace hornet
