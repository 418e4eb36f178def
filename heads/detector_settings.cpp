#include <hornet/backbone/error.h>
#include <hornet/heads/detector_settings.h>

#include <cmath>
#include <limits>
#include <sstream>

namespace hornet {
namespace {

constexpr char kScales[] = "hornet.anchor_scales", kRatios[] = "hornet.anchor_ratios",
               kLevels[] = "hornet.pyramid_levels", kProposals[] = "hornet.proposals";
constexpr size_t kMostNumbers = 16;
constexpr double kLargest = 1e4, kMostLevels = 8;

class Reader {
 public:
  Reader(const weights::Metadata& meta, const std::string& file) : meta_(meta), file_(file) {}

  // The numbers of an entry; none if it is missing.
  std::vector<double> numbers(const char* key, double least, double most) const {
    const auto found = meta_.entries.find(key);
    if (found == meta_.entries.end()) return {};
    std::vector<double> out;
    std::istringstream text(found->second);
    for (std::string word; text >> word;) {
      char* end = nullptr;
      const double value = std::strtod(word.c_str(), &end);
      const bool fine = *end == '\0' && value >= least && value <= most;
      if (!fine || out.size() == kMostNumbers) fail(key, found->second);
      out.push_back(value);
    }
    if (out.empty()) fail(key, found->second);
    return out;
  }

  int64_t whole(const char* key, double most, int64_t standard) const {
    const std::vector<double> values = numbers(key, 1, most);
    if (values.empty()) return standard;
    if (values.size() > 1 || std::floor(values[0]) != values[0]) fail(key, "not a whole number");
    return static_cast<int64_t>(values[0]);
  }

 private:
  [[noreturn]] void fail(const char* key, const std::string& found) const {
    throw Error(ErrorCode::kWeights, file_ + ": its metadata '" + key +
                                         "' are no numbers of the expected range: " + found);
  }

  const weights::Metadata& meta_;
  const std::string& file_;
};

std::string text_of(const std::vector<double>& numbers) {
  std::ostringstream text;
  text.precision(std::numeric_limits<double>::max_digits10);
  for (size_t i = 0; i < numbers.size(); ++i) text << (i ? " " : "") << numbers[i];
  return text.str();
}

}  // namespace

DetectorSettings read_detector_settings(const weights::Metadata& meta, const std::string& file) {
  constexpr double kSmallest = 1e-3;
  const Reader reader(meta, file);
  DetectorSettings settings;
  const auto scales = reader.numbers(kScales, kSmallest, kLargest);
  const auto ratios = reader.numbers(kRatios, kSmallest, kLargest);
  if (!scales.empty()) settings.anchors.scales = scales;
  if (!ratios.empty()) settings.anchors.ratios = ratios;
  settings.levels = reader.whole(kLevels, kMostLevels, settings.levels);
  settings.proposals = reader.whole(kProposals, kLargest, settings.proposals);
  return settings;
}

void write_detector_settings(weights::Metadata& meta, const DetectorSettings& settings) {
  meta.entries[kScales] = text_of(settings.anchors.scales);
  meta.entries[kRatios] = text_of(settings.anchors.ratios);
  meta.entries[kLevels] = std::to_string(settings.levels);
  meta.entries[kProposals] = std::to_string(settings.proposals);
}

}  // namespace hornet
