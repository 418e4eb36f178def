#include <hornet/pipelines/model_defaults.h>

#include <string>

namespace hornet {
namespace {

constexpr char kMode[] = "hornet.mode", kTile[] = "hornet.tile", kStride[] = "hornet.stride",
               kSize[] = "hornet.size";
constexpr int kLargest = 65536;
constexpr size_t kMostDigits = 5;

std::optional<int> positive(const std::string& text) {
  const bool digits = !text.empty() && text.size() <= kMostDigits &&
                      text.find_first_not_of("0123456789") == std::string::npos;
  const int number = digits ? std::stoi(text) : 0;
  return number >= 1 && number <= kLargest ? std::optional<int>(number) : std::nullopt;
}

std::optional<cv::Size> box(const std::string& text) {
  const size_t cross = text.find('x');
  if (cross == std::string::npos) return std::nullopt;
  const auto width = positive(text.substr(0, cross)), height = positive(text.substr(cross + 1));
  if (!width || !height) return std::nullopt;
  return cv::Size(*width, *height);
}

}  // namespace

SegmentDefaults segment_defaults(const weights::Metadata& meta) {
  const auto entry = [&](const char* key) {
    const auto found = meta.entries.find(key);
    return found == meta.entries.end() ? std::string() : found->second;
  };
  SegmentDefaults defaults;
  const std::string mode = entry(kMode);
  if (mode == "whole" || mode == "slide") defaults.whole = mode == "whole";
  defaults.tile = positive(entry(kTile));
  defaults.stride = positive(entry(kStride));
  defaults.size = box(entry(kSize));
  return defaults;
}

void set_segment_defaults(weights::Metadata& meta, const SegmentDefaults& defaults) {
  if (defaults.whole) meta.entries[kMode] = *defaults.whole ? "whole" : "slide";
  if (defaults.tile) meta.entries[kTile] = std::to_string(*defaults.tile);
  if (defaults.stride) meta.entries[kStride] = std::to_string(*defaults.stride);
  if (defaults.size) {
    meta.entries[kSize] =
        std::to_string(defaults.size->width) + "x" + std::to_string(defaults.size->height);
  }
}

}  // namespace hornet
