#include <hornet/backbone/error.h>
#include <hornet/pipelines/coco_dataset.h>
#include <hornet/pipelines/internal/coco_json.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <utility>

namespace hornet {
namespace {

using namespace internal;
using nlohmann::json;

constexpr int64_t kMaxPixels = int64_t{1} << 30;  // of an image, as everywhere here
constexpr size_t kFewestCorners = 3;

// A number, or the text of one.
template <typename T>
std::optional<T> from_text(const json& value) {
  if (!value.is_string()) return std::nullopt;
  const std::string& text = value.get_ref<const std::string&>();
  T result{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), result);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return result;
}

int64_t relaxed_integer(const json& value, const char* key) {
  constexpr double kExact = 9007199254740992.0;  // 2^53: beyond it, whole numbers are not exact
  if (const auto parsed = from_text<int64_t>(value)) return *parsed;
  if (value.is_number_float()) {
    const double real = value.get<double>();
    if (std::abs(real) < kExact && std::floor(real) == real) return static_cast<int64_t>(real);
  }
  return integer(value, key);
}

double relaxed_number(const json& value, const char* key) {
  const auto parsed = from_text<double>(value);
  if (parsed && std::isfinite(*parsed)) return *parsed;
  return number(value, key);
}

int64_t integer_of(const json& object, const char* key) {
  return relaxed_integer(member(object, key), key);
}

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return "";
  if (!found->is_string()) fail_input(std::string("'") + key + "' is not a string");
  return found->get<std::string>();
}

bool has(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && !found->is_null();
}

CocoImage parse_image(const json& object) {
  CocoImage image;
  image.id = integer_of(object, "id");
  image.file_name = text_of(object, "file_name");
  if (!has(object, "width") && !has(object, "height")) return image;
  const int64_t width = integer_of(object, "width"), height = integer_of(object, "height");
  if (width < 1 || height < 1 || width > kMaxPixels || height > kMaxPixels / width) {
    fail_input("'width' and 'height' are " + std::to_string(width) + " and " +
               std::to_string(height) + ", expected 1 to 2^30 pixels");
  }
  image.size = {static_cast<int>(width), static_cast<int>(height)};
  return image;
}

CocoCategory parse_category(const json& object) {
  CocoCategory category;
  category.id = integer_of(object, "id");
  category.name = text_of(object, "name");
  if (category.name.empty()) category.name = "category " + std::to_string(category.id);
  return category;
}

cv::Rect2d parse_box(const json& value) {
  array_of(value, 4, "bbox");
  const auto side = [&](size_t i) { return relaxed_number(value[i], "bbox"); };
  const cv::Rect2d box(side(0), side(1), side(2), side(3));
  if (box.width < 0 || box.height < 0) fail_input("'bbox' has a negative width or height");
  return box;
}

Polygon parse_polygon(const json& value) {
  if (!value.is_array() || value.size() % 2 != 0) {
    fail_input("'segmentation' has a polygon that is not a list of x, y, x, y, ...");
  }
  Polygon polygon;
  polygon.reserve(value.size() / 2);
  for (size_t i = 0; i < value.size(); i += 2) {
    polygon.emplace_back(relaxed_number(value[i], "segmentation"),
                         relaxed_number(value[i + 1], "segmentation"));
  }
  return polygon;
}

void parse_mask(const json& value, CocoAnnotation& annotation) {
  if (value.is_object()) {
    annotation.runs = run_length_mask(value);
    return;
  }
  if (!value.is_array()) fail_input("'segmentation' is neither polygons nor run lengths");
  for (const json& item : value) {
    Polygon polygon = parse_polygon(item);
    if (polygon.size() >= kFewestCorners) annotation.polygons.push_back(std::move(polygon));
  }
}

bool parse_crowd(const json& object) {
  if (!has(object, "iscrowd")) return false;
  const json& value = object["iscrowd"];
  return value.is_boolean() ? value.get<bool>() : relaxed_integer(value, "iscrowd") != 0;
}

// What the file does not say about the box and the area.
void complete(const json& object, cv::Size image, CocoAnnotation& annotation) {
  const bool has_box = has(object, "bbox") && !object["bbox"].empty();
  const bool has_area = has(object, "area");
  if (has_box) annotation.box = parse_box(object["bbox"]);
  if (has_area) annotation.area = relaxed_number(object["area"], "area");
  if (has_box && has_area) return;
  if (!has_box && !annotation.has_mask()) fail_input("it has neither 'bbox' nor 'segmentation'");
  if (!annotation.has_mask()) {
    annotation.area = annotation.box.area();
    return;
  }
  const RunLengthMask mask = mask_of(annotation, image);
  if (!has_box) annotation.box = bounding_box(mask);
  if (!has_area) annotation.area = static_cast<double>(area(mask));
}

void check_mask_size(const CocoAnnotation& annotation, cv::Size image) {
  if (!annotation.runs || image.empty() || annotation.runs->size == image) return;
  const cv::Size found = annotation.runs->size;
  fail_input("'segmentation' is for " + std::to_string(found.width) + "x" +
             std::to_string(found.height) + " pixels, but its image has " +
             std::to_string(image.width) + "x" + std::to_string(image.height));
}

// Into a dataset whose images and categories are complete. An error is thrown before it is added.
void add_annotation(const json& object, const std::set<int64_t>& categories, CocoDataset& data) {
  CocoAnnotation annotation;
  annotation.id = integer_of(object, "id");
  annotation.image_id = integer_of(object, "image_id");
  annotation.category_id = integer_of(object, "category_id");
  const auto index = data.image_index.find(annotation.image_id);
  if (index == data.image_index.end() || categories.count(annotation.category_id) == 0) {
    ++data.strays;
    return;
  }
  const cv::Size image = data.images[index->second].size;
  annotation.crowd = parse_crowd(object);
  if (has(object, "segmentation")) parse_mask(object["segmentation"], annotation);
  check_mask_size(annotation, image);
  complete(object, image, annotation);
  data.annotations.push_back(std::move(annotation));
}

struct Section {
  const char* key;
  const char* item;
};

// "annotation 1774", or "entry 3 of 'annotations'" if it has no id.
std::string place_of(const json& object, const Section& section, size_t index) {
  if (object.is_object() && object.contains("id") && object["id"].is_primitive()) {
    return std::string(section.item) + " " + object["id"].dump(-1, ' ', true);
  }
  return "entry " + std::to_string(index) + " of '" + section.key + "'";
}

// Calls `read` with each object of an array, and, where that is refused, `refuse` with the object
// and what was wrong with it and where it was.
template <typename Read, typename Refuse>
void read_all(const json& document, const Section& section, const std::string& name, Read&& read,
              Refuse&& refuse) {
  const auto found = document.find(section.key);
  if (found == document.end() || !found->is_array()) {
    fail_input(name + ": not a COCO annotation file: it has no array '" + section.key + "'");
  }
  for (size_t i = 0; i < found->size(); ++i) {
    const json& object = (*found)[i];
    try {
      if (!object.is_object()) fail_input("it is not an object");
      read(object);
    } catch (const Error& error) {
      refuse(object, name + ": " + place_of(object, section, i) + ": " + error.what());
    }
  }
}

template <typename Read>
void read_all(const json& document, const Section& section, const std::string& name, Read&& read) {
  read_all(document, section, name, read,
           [](const json&, const std::string& error) { fail_input(error); });
}

// The image that an annotation says it is of.
std::optional<int64_t> image_of(const json& object) {
  try {
    return object.is_object() ? std::optional<int64_t>(integer_of(object, "image_id"))
                              : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::set<int64_t> read_categories(const json& document, CocoDataset& data) {
  std::set<int64_t> ids;
  read_all(document, {"categories", "category"}, data.name, [&](const json& object) {
    data.categories.push_back(parse_category(object));
    if (!ids.insert(data.categories.back().id).second) fail_input("this 'id' is there twice");
  });
  std::sort(data.categories.begin(), data.categories.end(),
            [](const CocoCategory& a, const CocoCategory& b) { return a.id < b.id; });
  return ids;
}

void read_images(const json& document, CocoDataset& data) {
  read_all(document, {"images", "image"}, data.name, [&](const json& object) {
    data.images.push_back(parse_image(object));
    const auto added = data.image_index.emplace(data.images.back().id, data.images.size() - 1);
    if (!added.second) fail_input("this 'id' is there twice");
  });
}

}  // namespace

CocoDataset parse_coco_dataset(const std::string& text, const std::string& name,
                               BadAnnotations bad) {
  const json document = parse_document(text, name);
  if (!document.is_object()) fail_input(name + ": not a COCO annotation file: no JSON object");
  CocoDataset data;
  data.name = name;
  read_images(document, data);
  const std::set<int64_t> categories = read_categories(document, data);
  const auto refuse = [&](const json& object, const std::string& error) {
    const auto image = bad == BadAnnotations::kNote ? image_of(object) : std::nullopt;
    if (!image) fail_input(error);
    data.damaged.emplace(*image, error);
  };
  read_all(
      document, {"annotations", "annotation"}, name,
      [&](const json& object) { add_annotation(object, categories, data); }, refuse);
  if (data.strays > 0 && data.annotations.empty() && data.damaged.empty()) {
    fail_input(name + ": none of its " + std::to_string(data.strays) +
               " annotations is of an image and a category that it lists");
  }
  return data;
}

CocoDataset read_coco_dataset(const std::filesystem::path& file, BadAnnotations bad) {
  return parse_coco_dataset(read_text(file), file.string(), bad);
}

void remove_annotations(CocoDataset& data, const std::set<int64_t>& images) {
  auto& objects = data.annotations;
  objects.erase(std::remove_if(objects.begin(), objects.end(),
                               [&](const auto& object) { return images.count(object.image_id); }),
                objects.end());
}

RunLengthMask mask_of(const CocoAnnotation& object, cv::Size image) {
  if (!object.has_mask()) fail_input("it has no 'segmentation'");
  if (object.runs) return *object.runs;
  if (image.empty()) fail_input("its image has no 'width' and 'height', which its polygons need");
  return fill_polygons(object.polygons, image);
}

}  // namespace hornet
