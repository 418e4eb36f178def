#include <hornet/backbone/error.h>
#include <hornet/pipelines/drawing.h>
#include <hornet/pipelines/internal/fail_input.h>
#include <hornet/pipelines/palette.h>
#include <hornet/pipelines/palette_tables.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace hornet {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kMaxClasses = 65535;       // 65535 itself means no data
constexpr size_t kMaxFileBytes = 16 << 20;  // well above what that many classes need
constexpr int kMaxNesting = 8;
constexpr int kFixedPoint = 16;  // bits behind the point of opacities

std::string count_of(size_t classes) {
  return std::to_string(classes) + (classes == 1 ? " class" : " classes");
}

const json& member(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) internal::fail_input(std::string("'") + key + "' is missing");
  return *found;
}

int integer(const json& value, const std::string& what, int last) {
  const std::string range = "an integer from 0 to " + std::to_string(last);
  if (!value.is_number_integer()) internal::fail_input(what + " is not " + range);
  const bool inside = value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t(last);
  if (!inside) internal::fail_input(what + " is " + value.dump() + ", expected " + range);
  return value.get<int>();
}

cv::Vec3b parse_color(const json& value) {
  if (!value.is_array() || value.size() != 3)
    internal::fail_input("'color' is not [red, green, blue]");
  const auto channel = [&](size_t i) {
    return static_cast<uint8_t>(integer(value[i], "a value of 'color'", 255));
  };
  return {channel(2), channel(1), channel(0)};
}

void parse_class(const json& object, Palette& palette, std::vector<bool>& seen) {
  if (!object.is_object()) internal::fail_input("it is not an object");
  const int index = integer(member(object, "index"), "'index'", palette.size() - 1);
  if (seen[index]) internal::fail_input("'index' is " + std::to_string(index) + " a second time");
  seen[index] = true;
  const json& name = member(object, "name");
  if (!name.is_string()) internal::fail_input("'name' is not a string");
  palette.names[index] = name.get<std::string>();
  palette.colors[index] = parse_color(member(object, "color"));
}

json parse_json(const std::string& text) {
  if (text.size() > kMaxFileBytes) {
    internal::fail_input("larger than " + std::to_string(kMaxFileBytes >> 20) + " MiB");
  }
  const auto check_nesting = [](int depth, json::parse_event_t, json&) {
    if (depth > kMaxNesting) internal::fail_input("JSON that is nested too deeply");
    return true;
  };
  json document = json::parse(text, check_nesting, /*allow_exceptions=*/false);
  if (document.is_discarded()) internal::fail_input("broken JSON");
  return document;
}

Palette parse_document(const json& document) {
  if (!document.is_object()) internal::fail_input("expected a JSON object with 'classes'");
  const json& classes = member(document, "classes");
  if (!classes.is_array()) internal::fail_input("'classes' is not an array");
  if (classes.empty() || classes.size() > kMaxClasses) {
    internal::fail_input("it has " + count_of(classes.size()) + ", expected 1 to " +
                         std::to_string(kMaxClasses));
  }
  Palette palette{std::vector<std::string>(classes.size()), std::vector<cv::Vec3b>(classes.size())};
  std::vector<bool> seen(classes.size());
  for (size_t i = 0; i < classes.size(); ++i) {
    try {
      parse_class(classes[i], palette, seen);
    } catch (const Error& error) {
      internal::fail_input("entry " + std::to_string(i) + " of 'classes': " + error.what());
    }
  }
  if (document.contains("nodata") &&
      integer(document["nodata"], "'nodata'", 65535) != palette.nodata()) {
    internal::fail_input("'nodata' is " + document["nodata"].dump() + ", expected " +
                         std::to_string(palette.nodata()) + " for " + count_of(classes.size()));
  }
  return palette;
}

std::string read_palette_file(const std::string& name) {
  std::ifstream stream(name, std::ios::binary);
  std::string text(kMaxFileBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad() || !stream.eof()) {
    if (stream.gcount() > 0 && !stream.bad())
      internal::fail_input(name + ": not a palette: it is too large");
    internal::fail_input(name +
                         ": the palette cannot be read; check that it is a file you may read");
  }
  text.resize(static_cast<size_t>(stream.gcount()));
  return text;
}

Palette from_table(const BuiltInPalette& table) {
  Palette palette;
  for (size_t i = 0; i < table.size; ++i) {
    const PaletteEntry& entry = table.entries[i];
    palette.names.emplace_back(entry.name);
    palette.colors.emplace_back(entry.blue, entry.green, entry.red);
  }
  return palette;
}

Palette made_up(int num_classes) {
  Palette palette;
  for (int i = 0; i < num_classes; ++i) {
    const cv::Scalar color = class_color(i);
    palette.names.push_back("class " + std::to_string(i));
    palette.colors.emplace_back(cv::saturate_cast<uint8_t>(color[0]),
                                cv::saturate_cast<uint8_t>(color[1]),
                                cv::saturate_cast<uint8_t>(color[2]));
  }
  return palette;
}

template <typename T>
void replace_by(std::vector<T>& standard, const std::vector<T>& checkpoint, const char* what) {
  if (checkpoint.empty()) return;
  if (checkpoint.size() != standard.size()) {
    throw Error(ErrorCode::kWeights, "the model has " + count_of(standard.size()) +
                                         ", but its checkpoint has " +
                                         std::to_string(checkpoint.size()) + " " + what +
                                         "; name a palette with --palette");
  }
  standard = checkpoint;
}

Palette of_file(const std::string& name, int num_classes) {
  std::error_code ignored;
  if (!std::filesystem::exists(name, ignored)) {
    throw Error(ErrorCode::kUsage, "palette '" + name +
                                       "': expected ade20k, cityscapes, camvid or a palette file, "
                                       "but there is no such file");
  }
  Palette palette = parse_palette(read_palette_file(name), name);
  if (palette.size() != num_classes) {
    internal::fail_input(name + ": the palette has " + count_of(palette.names.size()) +
                         ", but the model has " + std::to_string(num_classes) +
                         "; name a palette of that many classes");
  }
  return palette;
}

template <typename Label>
void blend_rows(cv::Mat& bgr, const cv::Mat& labels, const std::vector<cv::Vec3i>& paint,
                int image_share) {
  for (int y = 0; y < bgr.rows; ++y) {
    cv::Vec3b* pixel = bgr.ptr<cv::Vec3b>(y);
    const Label* label = labels.ptr<Label>(y);
    for (int x = 0; x < bgr.cols; ++x) {
      if (label[x] >= paint.size()) continue;
      const cv::Vec3i& color = paint[label[x]];
      for (int channel = 0; channel < 3; ++channel) {
        const int sum = pixel[x][channel] * image_share + color[channel];
        pixel[x][channel] = static_cast<uint8_t>(sum >> kFixedPoint);
      }
    }
  }
}

}  // namespace

Palette Palette::make(const std::string& name, int num_classes,
                      const std::vector<std::string>& checkpoint_names,
                      const std::vector<cv::Vec3b>& checkpoint_colors) {
  if (num_classes < 1 || static_cast<size_t>(num_classes) > kMaxClasses) {
    throw Error(ErrorCode::kWeights, "the model has " + std::to_string(num_classes) +
                                         " classes; label maps hold 1 to " +
                                         std::to_string(kMaxClasses));
  }
  if (name.empty()) {
    const BuiltInPalette* table = built_in_palette(num_classes);
    Palette palette = table != nullptr ? from_table(*table) : made_up(num_classes);
    replace_by(palette.names, checkpoint_names, "class names");
    replace_by(palette.colors, checkpoint_colors, "colours");
    return palette;
  }
  const BuiltInPalette* table = built_in_palette(name);
  if (table == nullptr) return of_file(name, num_classes);
  if (table->size != static_cast<size_t>(num_classes)) {
    throw Error(ErrorCode::kUsage, "palette '" + name + "': has " + count_of(table->size) +
                                       ", but the model has " + std::to_string(num_classes) +
                                       "; name another, or a palette file");
  }
  return from_table(*table);
}

Palette parse_palette(const std::string& text, const std::string& source) {
  try {
    return parse_document(parse_json(text));
  } catch (const Error& error) {
    internal::fail_input(source + ": not a palette: " + error.what());
  }
}

ordered_json to_json(const Palette& palette) {
  ordered_json classes = ordered_json::array();
  for (int i = 0; i < palette.size(); ++i) {
    const cv::Vec3b& color = palette.colors[i];
    classes.push_back(
        {{"index", i}, {"name", palette.names[i]}, {"color", {color[2], color[1], color[0]}}});
  }
  return {{"classes", std::move(classes)}, {"nodata", palette.nodata()}};
}

void blend_labels(cv::Mat& bgr, const cv::Mat& labels, const Palette& palette, double opacity) {
  CV_Assert(bgr.type() == CV_8UC3 && bgr.size() == labels.size());
  CV_Assert(labels.type() == CV_8UC1 || labels.type() == CV_16UC1);
  CV_Assert(opacity >= 0 && opacity <= 1);
  constexpr int kOne = 1 << kFixedPoint;
  const int label_share = cvRound(opacity * kOne);
  std::vector<cv::Vec3i> paint;  // with a half, so that the shift rounds
  for (const cv::Vec3b& color : palette.colors) {
    paint.push_back(cv::Vec3i(color) * label_share + cv::Vec3i::all(kOne / 2));
  }
  if (labels.depth() == CV_8U) {
    blend_rows<uint8_t>(bgr, labels, paint, kOne - label_share);
  } else {
    blend_rows<uint16_t>(bgr, labels, paint, kOne - label_share);
  }
}

}  // namespace hornet
