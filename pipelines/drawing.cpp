#include <hornet/pipelines/drawing.h>

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>
#include <utility>

namespace hornet {
namespace {

constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
constexpr double kCapitalsHeight = 21.0;  // of kFont at scale 1, in pixels

// Sizes in pixels that follow from the frame's.
struct Pen {
  Pen(cv::Size frame, const DrawOptions& options) {
    const double side =
        options.reference_side > 0 ? options.reference_side : std::min(frame.width, frame.height);
    const double letters = std::max(9.0, side / 45);
    line = std::max(1, cvRound(side / 300));
    font_scale = letters / kCapitalsHeight;
    font_line = std::max(1, cvRound(letters / 9));
    padding = std::max(2, cvRound(letters / 4));
  }
  int line;
  double font_scale;
  int font_line;
  int padding;
};

// A label without its width is as high for any text.
int label_height(const Pen& pen) {
  int descent = 0;
  const cv::Size text = cv::getTextSize("0", kFont, pen.font_scale, pen.font_line, &descent);
  return text.height + descent + pen.padding;
}

cv::Scalar from_hls(double hue, double lightness, double saturation) {
  const double chroma = saturation * std::min(lightness, 1 - lightness);
  const auto channel = [&](double offset) {
    const double k = std::fmod(offset + hue * 12, 12.0);
    return 255 * (lightness - chroma * std::max(-1.0, std::min({k - 3, 9 - k, 1.0})));
  };
  return {channel(4), channel(8), channel(0)};
}

cv::Scalar contrasting(const cv::Scalar& color) {
  const double luma = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2];
  return luma > 140 ? cv::Scalar::all(0) : cv::Scalar::all(255);
}

void draw_mask(cv::Mat& bgr, const Instance& instance, const Pen& pen, const DrawOptions& options) {
  const cv::Rect inside = instance.mask.region & cv::Rect({}, bgr.size());
  if (inside.empty()) return;
  const cv::Scalar color = class_color(instance.label);
  const cv::Mat mask = instance.mask.pixels(inside - instance.mask.region.tl());
  if (options.mask_opacity > 0) {
    cv::Mat below = bgr(inside);
    const cv::Mat paint(below.size(), below.type(), color);
    cv::Mat blended;
    cv::addWeighted(below, 1 - options.mask_opacity, paint, options.mask_opacity, 0, blended);
    blended.copyTo(below, mask);
  }
  if (options.outlines) {
    std::vector<std::vector<cv::Point>> outlines;
    cv::findContours(mask, outlines, cv::RETR_EXTERNAL, cv::CHAIN_APPROX_SIMPLE, inside.tl());
    cv::drawContours(bgr, outlines, -1, color, pen.line, cv::LINE_AA);
  }
}

void draw_box(cv::Mat& bgr, const Instance& instance, const Pen& pen) {
  const cv::Rect2d box = instance.box;
  const cv::Point from(cvRound(box.x), cvRound(box.y));
  const cv::Point to(cvRound(box.x + box.width), cvRound(box.y + box.height));
  cv::rectangle(bgr, from, to, class_color(instance.label), pen.line);
}

// Above the box where there is room, else just inside its upper edge; always within the frame.
cv::Rect place_label(const cv::Rect2f& box, cv::Size label, cv::Size frame) {
  cv::Point at(cvRound(box.x), cvRound(box.y) - label.height);
  if (at.y < 0) at.y = cvRound(box.y);
  at.x = std::max(0, std::min(at.x, frame.width - label.width));
  at.y = std::max(0, std::min(at.y, frame.height - label.height));
  return {at, label};
}

void draw_label(cv::Mat& bgr, const Instance& instance, const ClassTable& classes, Pen pen) {
  const std::string text =
      classes.name(instance.label) + " " + std::to_string(cvRound(100.0 * instance.score)) + "%";
  int descent = 0;
  cv::Size size = cv::getTextSize(text, kFont, pen.font_scale, pen.font_line, &descent);
  const int room = bgr.cols - 2 * pen.padding;
  if (size.width > room) {
    pen.font_scale *= std::max(0.1, static_cast<double>(room) / size.width);
    size = cv::getTextSize(text, kFont, pen.font_scale, pen.font_line, &descent);
  }
  const cv::Size label(size.width + 2 * pen.padding, size.height + descent + pen.padding);
  const cv::Rect background = place_label(instance.box, label, bgr.size());
  const cv::Scalar color = class_color(instance.label);
  cv::rectangle(bgr, background, color, cv::FILLED);
  const cv::Point baseline(background.x + pen.padding,
                           background.y + pen.padding / 2 + size.height + pen.font_line / 2);
  cv::putText(bgr, text, baseline, kFont, pen.font_scale, contrasting(color), pen.font_line,
              cv::LINE_AA);
}

std::vector<const Instance*> by_ascending_score(const std::vector<Instance>& instances) {
  std::vector<const Instance*> order;
  for (const Instance& instance : instances) order.push_back(&instance);
  std::stable_sort(order.begin(), order.end(),
                   [](const Instance* a, const Instance* b) { return a->score < b->score; });
  return order;
}

bool reaches(const PackedInstance& one, int from, int to) {
  const double bottom = double{one.box.y} + one.box.height;
  const bool box = one.box.y < to && bottom > from;
  return box || (!one.region.empty() && one.region.y < to && one.region.br().y > from);
}

}  // namespace

cv::Scalar class_color(int label) {
  constexpr double kGoldenRatio = 0.618033988749895;
  constexpr double kLightness[] = {0.55, 0.68, 0.42};
  const double hue = std::fmod(0.02 + label * kGoldenRatio, 1.0);
  return from_hls(hue, kLightness[label % 3], 0.85);
}

void draw(cv::Mat& bgr, const std::vector<Instance>& instances, const ClassTable& classes,
          const DrawOptions& options) {
  CV_Assert(bgr.type() == CV_8UC3);
  const Pen pen(bgr.size(), options);
  const std::vector<const Instance*> order = by_ascending_score(instances);
  for (const Instance* instance : order) draw_mask(bgr, *instance, pen, options);
  if (options.boxes) {
    for (const Instance* instance : order) draw_box(bgr, *instance, pen);
  }
  if (options.labels) {
    for (const Instance* instance : order) draw_label(bgr, *instance, classes, pen);
  }
}

StripPainter::StripPainter(WindowSource source, ClassTable classes, const DrawOptions& options,
                           int strip, Write write)
    : source_(std::move(source)),
      classes_(std::move(classes)),
      options_(options),
      strip_(strip),
      write_(std::move(write)) {
  CV_Assert(strip > 0 && strip % 2 == 0);
  if (options_.reference_side == 0) {
    options_.reference_side = std::min(source_.size.width, source_.size.height);
  }
  // Room for a label above a box, and for one that the border of what is painted moved inside.
  const Pen pen(source_.size, options_);
  margin_ = 2 * (label_height(pen) + pen.line + 1);
}

void StripPainter::add(const std::vector<Instance>& found, int final_row) {
  for (const Instance& one : found) reaching_.push_back(pack(one));
  const int height = source_.size.height;
  while (painted_ < height) {
    const int end = height - painted_ > strip_ ? painted_ + strip_ : height;
    if (final_row < height && final_row < end + margin_) return;
    paint(painted_, end);
    painted_ = end;
    const auto passed = [&](const auto& one) { return !reaches(one, end - margin_, height); };
    reaching_.erase(std::remove_if(reaching_.begin(), reaching_.end(), passed), reaching_.end());
  }
}

// Offsets are even, so that halves of pixels are rounded as in the whole image.
void StripPainter::paint(int from, int to) {
  const int top = std::max(from - margin_, 0);
  const int bottom = std::min(to + margin_, source_.size.height);
  cv::Mat bgr = source_.read({0, top, source_.size.width, bottom - top}).bgr.clone();
  std::vector<Instance> instances;
  for (const PackedInstance& one : reaching_) {
    if (!reaches(one, top, bottom)) continue;
    instances.push_back(unpack(one));
    instances.back().box.y -= static_cast<float>(top);
    instances.back().mask.region.y -= top;
  }
  draw(bgr, instances, classes_, options_);
  write_({0, from, source_.size.width, to - from}, bgr.rowRange(from - top, to - top));
}

}  // namespace hornet
