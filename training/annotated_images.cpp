#include <hornet/backbone/error.h>
#include <hornet/training/annotated_images.h>
#include <hornet/training/internal/decoded_cache.h>
#include <hornet/training/internal/load_training_image.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace hornet {
namespace {

namespace fs = std::filesystem;

using Objects = std::vector<AnnotatedObject>;

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorCode::kInput, message); }

std::string as_text(cv::Size size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height);
}

int64_t bytes_of_objects(const Objects& objects) {
  int64_t bytes = static_cast<int64_t>(objects.size() * sizeof(AnnotatedObject));
  for (const AnnotatedObject& object : objects) {
    if (object.mask) bytes += internal::bytes_of(object.mask->pixels);
  }
  return bytes;
}

// The first of the names of categories, for messages.
std::string names_of(const std::vector<CocoCategory>& categories) {
  constexpr size_t kMost = 20;
  std::string names;
  for (size_t i = 0; i < std::min(kMost, categories.size()); ++i) {
    names += (i > 0 ? ", " : "") + categories[i].name;
  }
  return categories.size() > kMost ? names + ", ..." : names;
}

std::unordered_map<std::string, int> labels_of(const std::vector<std::string>& classes,
                                               const CocoDataset& data) {
  std::unordered_map<std::string, int> labels;
  for (const std::string& name : classes) {
    if (!labels.emplace(name, static_cast<int>(labels.size())).second) {
      fail("the class '" + name + "' is named twice");
    }
    const bool known = std::any_of(data.categories.begin(), data.categories.end(),
                                   [&](const CocoCategory& c) { return c.name == name; });
    if (!known) {
      fail(data.name + ": has no category '" + name + "', only " + names_of(data.categories));
    }
  }
  return labels;
}

// Whether a box shows nothing of an image, whose size may not be known.
bool shows_nothing(const cv::Rect2d& box, cv::Size image) {
  if (box.width <= 0 || box.height <= 0) return true;
  return !image.empty() && (box & cv::Rect2d(0, 0, image.width, image.height)).empty();
}

// In pixels of the image. Error for what is no part of it.
cv::Rect2d clipped_box(const cv::Rect2d& box, cv::Size image) {
  const bool finite = std::isfinite(box.x) && std::isfinite(box.y) && std::isfinite(box.width) &&
                      std::isfinite(box.height);
  if (!finite) fail("its box is not finite");
  const cv::Rect2d inside = box & cv::Rect2d(0, 0, image.width, image.height);
  if (inside.empty()) fail("its box lies outside of the image of " + as_text(image) + " pixels");
  return inside;
}

std::optional<MaskCrop> mask_pixels(const CocoAnnotation& annotation, cv::Size image) {
  if (!annotation.has_mask()) return std::nullopt;
  const RunLengthMask runs = mask_of(annotation, image);
  if (runs.size != image) {
    fail("its mask is for " + as_text(runs.size) + " pixels, but its image has " + as_text(image));
  }
  MaskCrop mask = from_run_lengths(runs.counts, image);
  if (mask.region.empty()) return std::nullopt;  // polygons thinner than a pixel
  return mask;
}

}  // namespace

struct AnnotatedImages::Cache {
  internal::CacheRoom room;
  internal::DecodedCache<cv::Mat> pixels;   // of each file
  internal::DecodedCache<Objects> objects;  // of each image
  Cache(size_t files, size_t images, int64_t bytes)
      : room(bytes), pixels(files, room), objects(images, room) {}
};

AnnotatedImages::AnnotatedImages(CocoDataset data, fs::path folder,
                                 std::vector<std::string> classes, int64_t cache_bytes)
    : data_(std::move(data)), folder_(std::move(folder)), classes_(std::move(classes)) {
  if (data_.images.empty()) fail(data_.name + ": lists no images to train on");
  if (data_.categories.empty()) fail(data_.name + ": lists no categories to train on");
  merge_categories();
  list_classes();
  forget_other_categories();
  list_annotations();
  std::unordered_map<std::string, size_t> files;
  for (const CocoImage& image : data_.images) {
    files_.push_back(files.emplace(image.file_name, files.size()).first->second);
  }
  cache_ = std::make_unique<Cache>(files.size(), size(), cache_bytes);
}

AnnotatedImages::AnnotatedImages(AnnotatedImages&&) noexcept = default;
AnnotatedImages::~AnnotatedImages() = default;

// Categories of one name are one: merged sets and exports with supercategories have such. The first
// one's id stays.
void AnnotatedImages::merge_categories() {
  std::unordered_map<std::string, int64_t> first;
  std::unordered_map<int64_t, int64_t> ids;
  std::vector<CocoCategory> kept;
  for (const CocoCategory& category : data_.categories) {
    const auto [found, is_new] = first.emplace(category.name, category.id);
    ids[category.id] = found->second;
    if (is_new) kept.push_back(category);
  }
  data_.categories = std::move(kept);
  for (CocoAnnotation& annotation : data_.annotations) {
    annotation.category_id = ids.at(annotation.category_id);
  }
}

// Fills `labels_`, and `classes_` unless they are given.
void AnnotatedImages::list_classes() {
  if (classes_.empty()) {
    for (const CocoCategory& category : data_.categories) {
      labels_[category.id] = static_cast<int>(classes_.size());
      classes_.push_back(category.name);
    }
    return;
  }
  const auto labels = labels_of(classes_, data_);
  for (const CocoCategory& category : data_.categories) {
    const auto found = labels.find(category.name);
    if (found != labels.end()) labels_[category.id] = found->second;
  }
}

void AnnotatedImages::forget_other_categories() {
  const auto forget = [this](auto& list, const auto& category_of) {
    const auto is_other = [&](const auto& entry) { return labels_.count(category_of(entry)) == 0; };
    list.erase(std::remove_if(list.begin(), list.end(), is_other), list.end());
  };
  forget(data_.categories, [](const CocoCategory& category) { return category.id; });
  forget(data_.annotations, [](const CocoAnnotation& object) { return object.category_id; });
}

void AnnotatedImages::list_annotations() {
  annotations_.resize(size());
  for (size_t i = 0; i < data_.annotations.size(); ++i) {
    const CocoAnnotation& annotation = data_.annotations[i];
    const size_t image = data_.image_index.at(annotation.image_id);
    if (shows_nothing(annotation.box, data_.images[image].size)) {
      left_out_.push_back(annotation.id);
    } else {
      annotations_[image].push_back(i);
    }
  }
}

fs::path AnnotatedImages::path(size_t index) const {
  return folder_ / data_.images[index].file_name;
}

cv::Mat AnnotatedImages::read_pixels(size_t index) const {
  const CocoImage& image = data_.images[index];
  if (image.file_name.empty()) {
    fail(data_.name + ": image " + std::to_string(image.id) + ": it has no 'file_name'");
  }
  const cv::Mat bgr = cache_->pixels.read(
      files_[index], [&] { return internal::load_training_image(path(index)); },
      [](const cv::Mat& pixels) { return internal::bytes_of(pixels); });
  if (!image.size.empty() && image.size != bgr.size()) {
    fail(path(index).string() + ": has " + as_text(bgr.size()) + " pixels, but image " +
         std::to_string(image.id) + " of " + data_.name + " has " + as_text(image.size));
  }
  return bgr;
}

AnnotatedObject AnnotatedImages::decode_object(const CocoAnnotation& annotation,
                                               cv::Size image) const {
  try {
    return {labels_.at(annotation.category_id), clipped_box(annotation.box, image),
            mask_pixels(annotation, image), annotation.crowd};
  } catch (const Error& error) {
    fail(data_.name + ": annotation " + std::to_string(annotation.id) + ": " + error.what());
  }
}

Objects AnnotatedImages::decode_objects(size_t index, cv::Size image) const {
  Objects objects;
  for (const size_t i : annotations_[index]) {
    objects.push_back(decode_object(data_.annotations[i], image));
  }
  return objects;
}

AnnotatedImage AnnotatedImages::read(size_t index) const {
  const auto damaged = data_.damaged.find(data_.images[index].id);
  if (damaged != data_.damaged.end()) throw Error(ErrorCode::kInput, damaged->second);
  AnnotatedImage sample;
  sample.bgr = read_pixels(index);
  sample.objects = cache_->objects.read(
      index, [&] { return decode_objects(index, sample.bgr.size()); }, bytes_of_objects);
  return sample;
}

std::vector<size_t> AnnotatedImages::with_masks() const {
  std::vector<size_t> found;
  for (size_t image = 0; image < size(); ++image) {
    const auto& indices = annotations_[image];
    if (data_.damaged.count(data_.images[image].id)) continue;
    const bool any = std::any_of(indices.begin(), indices.end(), [&](size_t i) {
      return data_.annotations[i].has_mask() && !data_.annotations[i].crowd;
    });
    if (any) found.push_back(image);
  }
  return found;
}

}  // namespace hornet
