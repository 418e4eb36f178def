#include "tests/demos/samples.h"

#include <gtest/gtest.h>
#include <hornet/backbone/weights/tensor_file.h>
#include <hornet/pipelines/results.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#include <set>

namespace hornet::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kFixtures = fs::path(HORNET_TEST_DATA) / "fixtures";

// COCO's ids: 1 to 90 without the ten categories that were never annotated.
bool is_coco_category(int id) {
  static const std::set<int> unused = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83};
  return id >= 1 && id <= 90 && unused.count(id) == 0;
}

bool is_same_object(const json& a, const json& b) {
  if (a["frame"] != b["frame"] || a["category_id"] != b["category_id"]) return false;
  double apart = 0;
  for (int i = 0; i < 4; ++i) {
    apart = std::max(apart, std::abs(a["bbox"][i].get<double>() - b["bbox"][i].get<double>()));
  }
  return apart < 0.1 && std::abs(a["score"].get<double>() - b["score"].get<double>()) < 1e-4;
}

}  // namespace

std::string checkpoint(const std::string& fixture) {
  return (kFixtures / fixture / "model.pth").string();
}

const std::string& detector_checkpoint() {
  static const std::string path = checkpoint("fpn_mask_rcnn_hornet_small_7x7_s1");
  return path;
}

const std::string& classifier_checkpoint() {
  static const std::string path = checkpoint("hornet_base_7x7_s3");
  return path;
}

cv::Mat scene(cv::Size size, int seed) {
  cv::Mat image(size, CV_8UC3);
  cv::RNG rng(seed + 1);
  rng.fill(image, cv::RNG::UNIFORM, 0, 60);
  for (int i = 0; i < 6; ++i) {
    const cv::Point centre(rng.uniform(0, size.width), rng.uniform(0, size.height));
    cv::circle(image, centre, rng.uniform(8, 30), cv::Scalar(rng.uniform(0, 255), 200, 90), -1);
  }
  return image;
}

cv::Mat fixture_image(const std::string& name) {
  const weights::File file = weights::read(kFixtures / "images" / name);
  const weights::Tensor& rgb = file.tensors.at("rgb");
  std::vector<uint8_t> pixels(static_cast<size_t>(rgb.numel()));
  std::memcpy(pixels.data(), rgb.data, pixels.size());
  const cv::Mat view(static_cast<int>(rgb.shape[0]), static_cast<int>(rgb.shape[1]), CV_8UC3,
                     pixels.data());
  cv::Mat bgr;
  cv::cvtColor(view, bgr, cv::COLOR_RGB2BGR);
  return bgr;
}

void write_image(const fs::path& file, const cv::Mat& bgr) {
  ASSERT_TRUE(cv::imwrite(file.string(), bgr)) << file;
}

void write_video(const fs::path& file, int frames, cv::Size size, double fps) {
  cv::VideoWriter writer(file.string(), cv::VideoWriter::fourcc('M', 'J', 'P', 'G'), fps, size);
  ASSERT_TRUE(writer.isOpened()) << file;
  for (int i = 0; i < frames; ++i) writer.write(scene(size, i));
}

VideoFacts read_video(const fs::path& file) {
  cv::VideoCapture capture(file.string());
  VideoFacts facts;
  facts.fps = capture.get(cv::CAP_PROP_FPS);
  for (cv::Mat frame; capture.read(frame); ++facts.frames) facts.size = frame.size();
  return facts;
}

std::vector<json> read_json_lines(const std::string& text) {
  std::vector<json> objects;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    objects.push_back(json::parse(line, nullptr, /*allow_exceptions=*/false));
    EXPECT_TRUE(objects.back().is_object()) << line;
  }
  return objects;
}

json read_json(const fs::path& file) {
  std::ifstream stream(file);
  const json document = json::parse(stream, nullptr, /*allow_exceptions=*/false);
  EXPECT_FALSE(document.is_discarded()) << file;
  return document;
}

void expect_coco_result(const json& result, cv::Size image, double threshold) {
  constexpr double kRounding = 2e-3;
  const auto box = result.at("bbox").get<std::array<double, 4>>();
  EXPECT_GE(std::min(box[0], box[1]), 0) << result;
  EXPECT_GE(std::min(box[2], box[3]), 0) << result;
  EXPECT_LE(box[0] + box[2], image.width + kRounding) << result;
  EXPECT_LE(box[1] + box[3], image.height + kRounding) << result;
  EXPECT_TRUE(is_coco_category(result.at("category_id").get<int>())) << result;
  EXPECT_GE(result.at("score").get<double>(), threshold);
  EXPECT_LE(result.at("score").get<double>(), 1);
  const json& mask = result.at("segmentation");
  EXPECT_EQ(mask.at("size"), json({image.height, image.width}));
  const auto counts = decode_counts(mask.at("counts").get<std::string>());
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), int64_t{0}), image.area());
}

void expect_contained(const std::vector<json>& left, const std::vector<json>& right,
                      double threshold) {
  for (const json& object : left) {
    if (object["score"].get<double>() < threshold + 1e-3) continue;
    const auto same = [&](const json& other) { return is_same_object(object, other); };
    EXPECT_TRUE(std::any_of(right.begin(), right.end(), same)) << object;
  }
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace hornet::testing
