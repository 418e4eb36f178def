#include "tests/pipelines/fixture.h"

#include <cstdlib>
#include <fstream>
#include <opencv2/imgproc.hpp>
#include <sstream>

namespace hornet::testing {
namespace {

namespace fs = std::filesystem;

// A shared image file's tensor 'rgb' as OpenCV's BGR.
cv::Mat read_bgr(const fs::path& file) {
  const torch::Tensor rgb = weights::to_torch(weights::read(file).tensors.at("rgb"));
  const cv::Mat view(static_cast<int>(rgb.size(0)), static_cast<int>(rgb.size(1)), CV_8UC3,
                     rgb.data_ptr());
  cv::Mat bgr;
  cv::cvtColor(view, bgr, cv::COLOR_RGB2BGR);
  return bgr;
}

// "messi5.jpg:pipe:517x333" -> 517x333, "HappyFish.jpg:cls:224" -> 224x224.
cv::Size case_size(const std::string& name) {
  std::istringstream text(name.substr(name.rfind(':') + 1));
  int width = 0, height = 0;
  char separator = 0;
  text >> width;
  height = text >> separator >> height ? height : width;
  return {width, height};
}

std::vector<fs::path> roots() {
  std::vector<fs::path> roots = {fs::path(HORNET_TEST_DATA) / "fixtures"};
  if (const char* more = std::getenv("HORNET_FIXTURES")) roots.emplace_back(more);
  return roots;
}

}  // namespace

weights::File FixtureCase::expected() const {
  return weights::read(folder / description["file"].get<std::string>());
}

ForwardInput FixtureCase::input(const LoadedModel& model) const {
  PreprocessOptions options = official_preprocess(model);
  const auto& images = description["images"];
  const bool resizes = mode() == "pipe" || mode() == "e2e" || mode() == "cls" || mode() == "slide";
  const char* key = resizes || kind != "cls" ? "image_rgb" : "input_u8_rgb";
  const cv::Mat image = read_bgr(folder.parent_path() / images[key].get<std::string>());
  if (resizes) {
    options.scale = case_size(description["case"]);
    return forward_input(image, options);
  }
  cv::Mat rgb;
  cv::cvtColor(image, rgb, cv::COLOR_BGR2RGB);
  const ImageSize size = {rgb.rows, rgb.cols};
  return {normalize(rgb, options), size, size, {}};
}

ForwardOptions FixtureCase::options(const LoadedModel& model) const {
  ForwardOptions options;
  if (mode() == "slide") options.slide = official_slide(model);
  return options;
}

std::vector<FixtureCase> all_cases() {
  std::vector<FixtureCase> cases;
  for (const fs::path& root : roots()) {
    std::vector<fs::path> folders;
    for (const auto& entry : fs::directory_iterator(root)) {
      if (fs::exists(entry.path() / "manifest.json")) folders.push_back(entry.path());
    }
    std::sort(folders.begin(), folders.end());
    for (const fs::path& folder : folders) {
      const auto manifest = nlohmann::json::parse(std::ifstream(folder / "manifest.json"));
      for (const auto& item : manifest["cases"]) cases.push_back({folder, item, manifest["kind"]});
    }
  }
  return cases;
}

torch::Tensor subsample(const torch::Tensor& full, const nlohmann::json& entry) {
  torch::Tensor part = full;
  if (!entry.contains("stride")) return part;
  for (size_t i = 0; i < entry["stride"].size(); ++i) {
    part = part.slice(static_cast<int64_t>(i), c10::nullopt, c10::nullopt,
                      entry["stride"][i].get<int64_t>());
  }
  return part;
}

}  // namespace hornet::testing
