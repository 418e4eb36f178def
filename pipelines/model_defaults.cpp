#include <hornet/pipelines/model_defaults.h>

#include <string>

namespace hornet {
namespace {

constexpr char kMode[] = "hornet.mode", kTile[] = "hornet.tile", kStride[] = "hornet.stride",
               kSize[] = "hornet.size", kIgnoreLabel[] = "hornet.ignore_label";
constexpr int kLargest = 65536;
constexpr size_t kMostDigits = 5;

std::optional<int> between(int least, int most, const std::string& text) {
  const bool digits = !text.empty() && text.size() <= kMostDigits &&
                      text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits) return std::nullopt;
  const int number = std::stoi(text);
  return number >= least && number <= most ? std::optional<int>(number) : std::nullopt;
}

std::optional<int> positive(const std::string& text) { return between(1, kLargest, text); }

std::optional<cv::Size> box(const std::string& text) {
  const size_t cross = text.find('x');
  if (cross == std::string::npos) return std::nullopt;
  const auto width = positive(text.substr(0, cross)), height = positive(text.substr(cross + 1));
  if (!width || !height) return std::nullopt;
  return cv::Size(*width, *height);
}

std::string entry(const weights::Metadata& meta, const char* key) {
  const auto found = meta.entries.find(key);
  return found == meta.entries.end() ? std::string() : found->second;
}

}  // namespace

std::optional<cv::Size> default_size(const weights::Metadata& meta) {
  return box(entry(meta, kSize));
}

void set_default_size(weights::Metadata& meta, cv::Size size) {
  meta.entries[kSize] = std::to_string(size.width) + "x" + std::to_string(size.height);
}

SegmentDefaults segment_defaults(const weights::Metadata& meta) {
  SegmentDefaults defaults;
  const std::string mode = entry(meta, kMode);
  if (mode == "whole" || mode == "slide") defaults.whole = mode == "whole";
  defaults.tile = positive(entry(meta, kTile));
  defaults.stride = positive(entry(meta, kStride));
  defaults.size = default_size(meta);
  defaults.ignore_label = between(0, kLargest - 1, entry(meta, kIgnoreLabel));
  return defaults;
}

void set_segment_defaults(weights::Metadata& meta, const SegmentDefaults& defaults) {
  if (defaults.whole) meta.entries[kMode] = *defaults.whole ? "whole" : "slide";
  if (defaults.tile) meta.entries[kTile] = std::to_string(*defaults.tile);
  if (defaults.stride) meta.entries[kStride] = std::to_string(*defaults.stride);
  if (defaults.size) set_default_size(meta, *defaults.size);
  if (defaults.ignore_label) meta.entries[kIgnoreLabel] = std::to_string(*defaults.ignore_label);
}

}  // namespace hornet
