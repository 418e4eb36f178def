#include <hornet/backbone/error.h>
#include <hornet/pipelines/run_length.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

namespace hornet {
namespace {

constexpr int64_t kMaxImagePixels = int64_t{1} << 30;

// Column-major positions [begin, end) of a run of ones.
struct Run {
  int64_t begin;
  int64_t end;
};

// Collects runs in ascending order; runs that touch become one.
class RunCollector {
 public:
  void add(Run run) {
    if (!runs_.empty() && runs_.back().end == run.begin) {
      runs_.back().end = run.end;
    } else {
      runs_.push_back(run);
    }
  }

  std::vector<uint32_t> counts(int64_t num_pixels) const {
    std::vector<uint32_t> counts;
    counts.reserve(2 * runs_.size() + 1);
    int64_t position = 0;
    for (const Run& run : runs_) {
      counts.push_back(static_cast<uint32_t>(run.begin - position));
      counts.push_back(static_cast<uint32_t>(run.end - run.begin));
      position = run.end;
    }
    if (position < num_pixels || counts.empty()) {
      counts.push_back(static_cast<uint32_t>(num_pixels - position));
    }
    return counts;
  }

 private:
  std::vector<Run> runs_;
};

void add_runs_of_column(const uint8_t* column, int rows, int64_t offset, RunCollector& runs) {
  const uint8_t* const end = column + rows;
  const auto is_one = [](uint8_t value) { return value != 0; };
  for (const uint8_t* from = column;;) {
    from = std::find_if(from, end, is_one);
    if (from == end) return;
    const uint8_t* to = std::find(from, end, uint8_t{0});
    runs.add({offset + (from - column), offset + (to - column)});
    from = to;
  }
}

int64_t pixels_of(cv::Size image) {
  const int64_t num_pixels = int64_t{image.width} * image.height;
  if (image.width < 0 || image.height < 0 || num_pixels > kMaxImagePixels) {
    throw Error(ErrorCode::kInput, "run lengths: an image of " + std::to_string(image.width) + "x" +
                                       std::to_string(image.height) +
                                       " pixels is outside 0 .. 2^30");
  }
  return num_pixels;
}

std::vector<Run> runs_of_ones(const std::vector<uint32_t>& counts, cv::Size image) {
  const int64_t num_pixels = pixels_of(image);
  std::vector<Run> runs;
  int64_t position = 0;
  for (size_t i = 0; i < counts.size() && position <= num_pixels; ++i) {
    if (i % 2 == 1 && counts[i] > 0) runs.push_back({position, position + counts[i]});
    position += counts[i];
  }
  if (position != num_pixels) {
    throw Error(ErrorCode::kInput, "run lengths: they add up to " +
                                       std::string(position > num_pixels ? "more" : "less") +
                                       " than the image's " + std::to_string(num_pixels) +
                                       " pixels");
  }
  return runs;
}

cv::Rect box_around(const std::vector<Run>& runs, int64_t height) {
  if (runs.empty()) return {};
  int64_t top = height;
  int64_t bottom = 0;
  for (const Run& run : runs) {
    const bool one_column = run.begin / height == (run.end - 1) / height;
    top = std::min(top, one_column ? run.begin % height : 0);
    bottom = std::max(bottom, one_column ? (run.end - 1) % height + 1 : height);
  }
  const int64_t left = runs.front().begin / height;
  const int64_t right = (runs.back().end - 1) / height + 1;
  return {cv::Point(static_cast<int>(left), static_cast<int>(top)),
          cv::Point(static_cast<int>(right), static_cast<int>(bottom))};
}

// Sets a run in `columns`, which holds the columns of `region` as rows.
void fill_run(Run run, const cv::Rect& region, int64_t height, cv::Mat& columns) {
  while (run.begin < run.end) {
    const int64_t x = run.begin / height;
    const int64_t end = std::min(run.end, (x + 1) * height);
    uint8_t* column = columns.ptr<uint8_t>(static_cast<int>(x) - region.x);
    std::memset(column + (run.begin - x * height - region.y), 1, end - run.begin);
    run.begin = end;
  }
}

constexpr char kDigitZero = 48;
constexpr int kDigitBits = 5;
constexpr int kDigitMask = 31;
constexpr int kSignBit = 16;
constexpr int kMoreBit = 32;
constexpr int kMaxDigits = 7;  // enough for the difference of two uint32

// One signed number that starts at text[position]; moves `position` behind it.
int64_t decode_number(const std::string& text, size_t& position) {
  int64_t value = 0;
  for (int digit = 0; digit < kMaxDigits; ++digit) {
    const int code = position < text.size() ? text[position] - kDigitZero : -1;
    if (code < 0 || code > (kMoreBit | kDigitMask)) break;
    ++position;
    value |= int64_t{code & kDigitMask} << (kDigitBits * digit);
    if (code & kMoreBit) continue;
    return code & kSignBit ? value - (int64_t{1} << (kDigitBits * (digit + 1))) : value;
  }
  throw Error(ErrorCode::kInput, "run lengths: the text is broken at character " +
                                     std::to_string(position) + " of " +
                                     std::to_string(text.size()));
}

// cocoapi draws outlines on a grid that is five times as fine as the pixels.
constexpr int64_t kFine = 5;
constexpr double kFarthestCorner = 1e8;
constexpr size_t kMaxCrossings = size_t{1} << 24;

struct GridPoint {
  int64_t x, y;
};

GridPoint to_grid(const cv::Point2d& corner) {
  const bool near = std::abs(corner.x) <= kFarthestCorner && std::abs(corner.y) <= kFarthestCorner;
  if (!near) throw Error(ErrorCode::kInput, "a polygon's corner is farther off than 10^8 pixels");
  return {static_cast<int64_t>(static_cast<double>(kFine) * corner.x + 0.5),
          static_cast<int64_t>(static_cast<double>(kFine) * corner.y + 0.5)};
}

// The first of the numbers [low, high] that `is_beyond`, which is false, then true.
template <typename Predicate>
int64_t first_beyond(int64_t low, int64_t high, Predicate&& is_beyond) {
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    is_beyond(middle) ? high = middle : low = middle + 1;
  }
  return low;
}

// An edge in single steps along its longer axis, the other coordinate rounded: the digital line
// that cocoapi's outlines consist of.
class GridEdge {
 public:
  GridEdge(GridPoint from, GridPoint to)
      : steps_(std::max(std::abs(to.x - from.x), std::abs(to.y - from.y))),
        steep_(std::abs(to.y - from.y) > std::abs(to.x - from.x)) {
    if (steep_ ? from.y > to.y : from.x > to.x) std::swap(from, to);
    from_ = from;
    rises_ = to.x > from.x;
    const int64_t across = steep_ ? to.x - from.x : to.y - from.y;
    slope_ = static_cast<double>(across) / static_cast<double>(steps_);
  }

  // The y at which it passes from `x` to x + 1, which must both be on it.
  int64_t y_between(int64_t x) const {
    if (!steep_) return std::min(across(from_.y, x - from_.x), across(from_.y, x + 1 - from_.x));
    const int64_t step = first_beyond(1, steps_, [&](int64_t i) {
      return rises_ ? across(from_.x, i) > x : across(from_.x, i) <= x;
    });
    return from_.y + step - 1;
  }

 private:
  int64_t across(int64_t start, int64_t step) const {
    const double exact = static_cast<double>(start) + slope_ * static_cast<double>(step) + 0.5;
    return static_cast<int64_t>(exact);
  }

  int64_t steps_;
  bool steep_;
  bool rises_ = false;  // in x
  GridPoint from_ = {0, 0};
  double slope_ = 0;
};

// Where an edge crosses the middle of a column of pixels, as column-major positions: the pixels
// from there on change sides.
void add_crossings(GridPoint from, GridPoint to, cv::Size image, std::vector<int64_t>& crossings) {
  constexpr int64_t kMiddle = kFine / 2;
  const auto [left, right] = std::minmax(from.x, to.x);
  if (right <= kMiddle || left == right) return;
  const int64_t first = left <= kMiddle ? 0 : (left - kMiddle + kFine - 1) / kFine;
  const int64_t last = std::min<int64_t>(image.width - 1, (right - kMiddle - 1) / kFine);
  const GridEdge edge(from, to);
  for (int64_t column = first; column <= last; ++column) {
    const auto y = static_cast<double>(edge.y_between(column * kFine + kMiddle));
    const double row = (y + 0.5) / static_cast<double>(kFine) - 0.5;
    const double inside = std::clamp(row, 0.0, static_cast<double>(image.height));
    crossings.push_back(column * image.height + static_cast<int64_t>(std::ceil(inside)));
  }
}

void add_runs_of_polygon(const Polygon& polygon, cv::Size image, std::vector<Run>& runs) {
  std::vector<int64_t> crossings;
  for (size_t i = 0; i < polygon.size(); ++i) {
    const GridPoint from = to_grid(polygon[i]), to = to_grid(polygon[(i + 1) % polygon.size()]);
    add_crossings(from, to, image, crossings);
    if (crossings.size() + runs.size() > kMaxCrossings) {
      throw Error(ErrorCode::kInput, "the outline goes to and fro over the image too often");
    }
  }
  std::sort(crossings.begin(), crossings.end());
  if (crossings.size() % 2 == 1) crossings.push_back(int64_t{image.width} * image.height);
  for (size_t i = 0; i < crossings.size(); i += 2) {
    if (crossings[i] < crossings[i + 1]) runs.push_back({crossings[i], crossings[i + 1]});
  }
}

}  // namespace

std::vector<uint32_t> run_lengths(const MaskCrop& mask, cv::Size image) {
  const int64_t num_pixels = int64_t{image.width} * image.height;
  CV_Assert(num_pixels <= std::numeric_limits<uint32_t>::max());
  RunCollector runs;
  if (!mask.region.empty()) {
    CV_Assert((mask.region & cv::Rect({}, image)) == mask.region);
    CV_Assert(mask.pixels.type() == CV_8UC1 && mask.pixels.size() == mask.region.size());
    cv::Mat columns;
    cv::transpose(mask.pixels, columns);
    for (int x = 0; x < columns.rows; ++x) {
      const int64_t offset = int64_t{mask.region.x + x} * image.height + mask.region.y;
      add_runs_of_column(columns.ptr<uint8_t>(x), columns.cols, offset, runs);
    }
  }
  return runs.counts(num_pixels);
}

MaskCrop from_run_lengths(const std::vector<uint32_t>& counts, cv::Size image) {
  const std::vector<Run> runs = runs_of_ones(counts, image);
  MaskCrop mask;
  mask.region = box_around(runs, image.height);
  if (runs.empty()) return mask;
  cv::Mat columns = cv::Mat::zeros(mask.region.width, mask.region.height, CV_8UC1);
  for (const Run& run : runs) fill_run(run, mask.region, image.height, columns);
  cv::transpose(columns, mask.pixels);
  return mask;
}

std::string encode_counts(const std::vector<uint32_t>& counts) {
  std::string text;
  for (size_t i = 0; i < counts.size(); ++i) {
    int64_t value = counts[i];
    if (i > 2) value -= counts[i - 2];
    for (bool more = true; more;) {
      int digit = static_cast<int>(value & kDigitMask);
      value >>= kDigitBits;
      more = value != (digit & kSignBit ? -1 : 0);
      if (more) digit |= kMoreBit;
      text.push_back(static_cast<char>(digit + kDigitZero));
    }
  }
  return text;
}

std::vector<uint32_t> decode_counts(const std::string& text) {
  std::vector<uint32_t> counts;
  for (size_t position = 0; position < text.size();) {
    int64_t value = decode_number(text, position);
    if (counts.size() > 2) value += counts[counts.size() - 2];
    if (value < 0 || value > std::numeric_limits<uint32_t>::max()) {
      throw Error(ErrorCode::kInput, "run lengths: count " + std::to_string(counts.size()) +
                                         " is " + std::to_string(value) +
                                         ", outside 0 .. 2^32 - 1");
    }
    counts.push_back(static_cast<uint32_t>(value));
  }
  return counts;
}

RunLengthMask fill_polygons(const std::vector<Polygon>& polygons, cv::Size image) {
  const int64_t num_pixels = pixels_of(image);
  std::vector<Run> runs;
  for (const Polygon& polygon : polygons) add_runs_of_polygon(polygon, image, runs);
  std::sort(runs.begin(), runs.end(), [](Run a, Run b) { return a.begin < b.begin; });
  RunCollector covered;
  int64_t position = 0;
  for (const Run& run : runs) {
    if (run.end <= position) continue;
    covered.add({std::max(run.begin, position), run.end});
    position = run.end;
  }
  return {image, covered.counts(num_pixels)};
}

int64_t area(const RunLengthMask& mask) {
  int64_t sum = 0;
  for (size_t i = 1; i < mask.counts.size(); i += 2) sum += mask.counts[i];
  return sum;
}

int64_t common_area(const RunLengthMask& a, const RunLengthMask& b) {
  if (a.counts.empty() || b.counts.empty()) return 0;
  int64_t sum = 0;
  size_t i = 0, j = 0;
  uint32_t left_of_a = a.counts[0], left_of_b = b.counts[0];
  for (;;) {
    const uint32_t step = std::min(left_of_a, left_of_b);
    if (i % 2 == 1 && j % 2 == 1) sum += step;
    left_of_a -= step;
    left_of_b -= step;
    if (left_of_a == 0) {
      if (++i == a.counts.size()) return sum;
      left_of_a = a.counts[i];
    }
    if (left_of_b == 0) {
      if (++j == b.counts.size()) return sum;
      left_of_b = b.counts[j];
    }
  }
}

cv::Rect bounding_box(const RunLengthMask& mask) {
  return box_around(runs_of_ones(mask.counts, mask.size), mask.size.height);
}

}  // namespace hornet
