#include <hornet/backbone/error.h>
#include <hornet/pipelines/results.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <ostream>
#include <utility>

namespace hornet {
namespace {

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
