#include <hornet/backbone/error.h>
#include <hornet/pipelines/image_list.h>
#include <hornet/pipelines/label_metrics.h>
#include <hornet/pipelines/label_reader.h>
#include <hornet/training/internal/decoded_cache.h>
#include <hornet/training/internal/load_training_image.h>
#include <hornet/training/samples.h>

#include <algorithm>
#include <cmath>

namespace hornet {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_sample(const std::string& message) {
  throw Error(ErrorCode::kInput, message);
}

// The first label that is neither a class nor `ignore`.
template <typename Label>
std::optional<int> stray_label(const cv::Mat& labels, const LabelRules& rules) {
  for (int y = 0; y < labels.rows; ++y) {
    const Label* row = labels.ptr<Label>(y);
    for (int x = 0; x < labels.cols; ++x) {
      if (row[x] >= rules.classes && row[x] != rules.ignore) return row[x];
    }
  }
  return std::nullopt;
}

cv::Mat read_labels(const fs::path& path, cv::Size image, const LabelRules& rules) {
  LabelReader reader(path);
  const cv::Size size = reader.size();
  if (size != image) {
    reader.fail("labels " + std::to_string(size.width) + "x" + std::to_string(size.height) +
                " pixels, but its image has " + std::to_string(image.width) + "x" +
                std::to_string(image.height));
  }
  cv::Mat labels = with_room_for(rules.ignore, reader.read({{0, 0}, size}));
  if (rules.reduce_zero) labels = reduce_zero_label(labels, rules.ignore);
  const auto stray = labels.depth() == CV_8U ? stray_label<uint8_t>(labels, rules)
                                             : stray_label<uint16_t>(labels, rules);
  if (stray) {
    reader.fail("has label " + std::to_string(*stray) + ", expected 0 to " +
                std::to_string(rules.classes - 1) + ", or " + std::to_string(rules.ignore) +
                " for pixels without a class (--ignore-label)");
  }
  return labels;
}

bool is_image(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* known : {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}) {
    if (extension == known) return true;
  }
  return false;
}

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

std::vector<SamplePaths> read_sample_list(const fs::path& list) {
  std::vector<SamplePaths> samples;
  for (const ListedImage& listed : read_image_list(list)) {
    samples.push_back({listed.image, label_path(list, listed)});
  }
  return samples;
}

struct LabelledImages::Cache {
  internal::CacheRoom room;
  internal::DecodedCache<LabelledImage> samples;
  Cache(size_t size, int64_t bytes) : room(bytes), samples(size, room) {}
};

LabelledImages::LabelledImages(std::vector<SamplePaths> samples, LabelRules rules,
                               int64_t cache_bytes)
    : samples_(std::move(samples)),
      rules_(rules),
      cache_(std::make_unique<Cache>(samples_.size(), cache_bytes)) {}

LabelledImages::~LabelledImages() = default;

LabelledImage LabelledImages::read(size_t index) const {
  const auto decode = [&] {
    LabelledImage sample;
    sample.bgr = internal::load_training_image(samples_[index].image);
    sample.labels = read_labels(samples_[index].label, sample.bgr.size(), rules_);
    return sample;
  };
  return cache_->samples.read(index, decode, [](const LabelledImage& sample) {
    return internal::bytes_of(sample.bgr) + internal::bytes_of(sample.labels);
  });
}

std::vector<double> balanced_weights(const std::vector<int64_t>& pixels, double power) {
  double all = 0;
  for (const int64_t count : pixels) all += static_cast<double>(count);
  std::vector<double> weights;
  double mean = 0;
  for (const int64_t count : pixels) {
    const double share = all > 0 ? static_cast<double>(count) / all : 0;
    weights.push_back(count > 0 ? std::pow(std::log(1.02 + share), -power) : 0);
    mean += share * weights.back();
  }
  for (double& weight : weights) weight = mean > 0 ? weight / mean : 0;
  return weights;
}

std::vector<ImageClass> read_class_folders(const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    fail_sample(folder.string() + ": expected a folder with a folder of images for every class");
  }
  std::vector<ImageClass> classes;
  for (const fs::path& path : sorted_entries(folder)) {
    if (!fs::is_directory(path)) continue;
    ImageClass& found = classes.emplace_back();
    found.name = path.filename().string();
    for (const fs::path& image : sorted_entries(path)) {
      if (is_image(image)) found.images.push_back(image);
    }
    if (found.images.empty()) fail_sample(path.string() + ": the class has no images");
  }
  if (classes.empty()) {
    fail_sample(folder.string() + ": has no folders; expected one of images for every class");
  }
  return classes;
}

}  // namespace hornet
