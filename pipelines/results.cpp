#include <hornet/backbone/error.h>
#include <hornet/pipelines/results.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <ostream>
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

std::vector<Run> runs_of_ones(const std::vector<uint32_t>& counts, cv::Size image) {
  const int64_t num_pixels = int64_t{image.width} * image.height;
  if (image.width < 0 || image.height < 0 || num_pixels > kMaxImagePixels) {
    throw Error(ErrorCode::kInput, "run lengths: an image of " + std::to_string(image.width) + "x" +
                                       std::to_string(image.height) +
                                       " pixels is outside 0 .. 2^30");
  }
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

cv::Rect bounding_box(const std::vector<Run>& runs, int64_t height) {
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

double rounded(double value, double steps) { return std::round(value * steps) / steps; }

constexpr int kCocoClasses = 80;

struct CocoClass {
  int id;
  const char* name;
};

constexpr CocoClass kCoco[kCocoClasses] = {
    {1, "person"},         {2, "bicycle"},       {3, "car"},
    {4, "motorcycle"},     {5, "airplane"},      {6, "bus"},
    {7, "train"},          {8, "truck"},         {9, "boat"},
    {10, "traffic light"}, {11, "fire hydrant"}, {13, "stop sign"},
    {14, "parking meter"}, {15, "bench"},        {16, "bird"},
    {17, "cat"},           {18, "dog"},          {19, "horse"},
    {20, "sheep"},         {21, "cow"},          {22, "elephant"},
    {23, "bear"},          {24, "zebra"},        {25, "giraffe"},
    {27, "backpack"},      {28, "umbrella"},     {31, "handbag"},
    {32, "tie"},           {33, "suitcase"},     {34, "frisbee"},
    {35, "skis"},          {36, "snowboard"},    {37, "sports ball"},
    {38, "kite"},          {39, "baseball bat"}, {40, "baseball glove"},
    {41, "skateboard"},    {42, "surfboard"},    {43, "tennis racket"},
    {44, "bottle"},        {46, "wine glass"},   {47, "cup"},
    {48, "fork"},          {49, "knife"},        {50, "spoon"},
    {51, "bowl"},          {52, "banana"},       {53, "apple"},
    {54, "sandwich"},      {55, "orange"},       {56, "broccoli"},
    {57, "carrot"},        {58, "hot dog"},      {59, "pizza"},
    {60, "donut"},         {61, "cake"},         {62, "chair"},
    {63, "couch"},         {64, "potted plant"}, {65, "bed"},
    {67, "dining table"},  {70, "toilet"},       {72, "tv"},
    {73, "laptop"},        {74, "mouse"},        {75, "remote"},
    {76, "keyboard"},      {77, "cell phone"},   {78, "microwave"},
    {79, "oven"},          {80, "toaster"},      {81, "sink"},
    {82, "refrigerator"},  {84, "book"},         {85, "clock"},
    {86, "vase"},          {87, "scissors"},     {88, "teddy bear"},
    {89, "hair drier"},    {90, "toothbrush"}};

}  // namespace

std::ostream& operator<<(std::ostream& out, const Instance& instance) {
  const int area = instance.mask.pixels.empty() ? 0 : cv::countNonZero(instance.mask.pixels);
  char line[160];
  std::snprintf(line, sizeof(line), "label %d score %.3f box [%.1f %.1f %.1f %.1f] mask %d px",
                instance.label, instance.score, instance.box.x, instance.box.y, instance.box.width,
                instance.box.height, area);
  return out << line;
}

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
  mask.region = bounding_box(runs, image.height);
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

namespace {

// The name of a class that none was given for.
std::string default_name(int label, int num_classes) {
  if (num_classes == kCocoClasses) return kCoco[label].name;
  if (num_classes == kCoco[kCocoClasses - 1].id) {
    for (const CocoClass& coco : kCoco) {
      if (coco.id == label + 1) return coco.name;
    }
  }
  return "class " + std::to_string(label);
}

}  // namespace

ClassTable ClassTable::from_names(std::vector<std::string> names, int num_classes) {
  if (!names.empty() && names.size() != static_cast<size_t>(num_classes)) {
    throw Error(ErrorCode::kWeights, "the model has " + std::to_string(num_classes) +
                                         " classes, but " + std::to_string(names.size()) +
                                         " class names were given");
  }
  ClassTable table;
  const bool is_coco = num_classes == kCocoClasses;
  const bool has_names = !names.empty();
  table.names = std::move(names);
  for (int label = 0; label < num_classes; ++label) {
    table.category_ids.push_back(is_coco ? kCoco[label].id : label + 1);
    if (!has_names) table.names.push_back(default_name(label, num_classes));
  }
  return table;
}

const std::string& ClassTable::name(int label) const { return names.at(label); }

int ClassTable::category_id(int label) const { return category_ids.at(label); }

nlohmann::ordered_json to_coco(const Instance& instance, cv::Size image,
                               const ClassTable& classes) {
  const cv::Rect2d box = instance.box;
  const auto pixels = [](double value) { return rounded(value, 1e3); };
  return {{"category_id", classes.category_id(instance.label)},
          {"bbox", {pixels(box.x), pixels(box.y), pixels(box.width), pixels(box.height)}},
          {"score", rounded(instance.score, 1e6)},
          {"segmentation",
           {{"size", {image.height, image.width}},
            {"counts", encode_counts(run_lengths(instance.mask, image))}}}};
}

}  // namespace hornet
