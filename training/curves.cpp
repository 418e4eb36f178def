// Drawing the curves of a log.
#include <hornet/pipelines/drawing.h>
#include <hornet/training/training_log.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <opencv2/imgproc.hpp>

namespace hornet {
namespace {

const cv::Scalar kInk(40, 40, 40), kGrid(225, 225, 225);
constexpr int kLeft = 70, kRight = 20, kTop = 34, kBottom = 34;
constexpr double kLetter = 0.42;

struct Range {
  double low = 0, high = 1;
  double share(double value) const { return (value - low) / (high - low); }
};

// The values from the smallest to the largest, with a little room. Those that differ in their last
// digits alone count as one: steps along the axis must be larger than those of the numbers.
Range range_of(const std::vector<double>& values) {
  if (values.empty()) return {};
  constexpr double kSame = 1e-6;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double size = std::max({std::abs(*low), std::abs(*high), 1e-3});
  const double extent = *high - *low;
  const double room = extent > kSame * size ? extent * 0.05 : size * 0.1;
  return {*low - room, *high + room};
}

// 1, 2 or 5 times a power of ten, so that a range has three to eight of them.
double tick_step(const Range& range) {
  const double rough = (range.high - range.low) / 6;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

void write(cv::Mat& image, const std::string& text, cv::Point at, const cv::Scalar& colour = kInk) {
  cv::putText(image, text, at, cv::FONT_HERSHEY_SIMPLEX, kLetter, colour, 1, cv::LINE_AA);
}

// The plot's frame: where data are, and pixels for values.
struct Frame {
  cv::Rect area;
  Range x, y;
  bool logarithmic;

  double vertical(double value) const { return logarithmic ? std::log10(value) : value; }
  cv::Point at(double iteration, double value) const {
    return {area.x + static_cast<int>(std::lround(x.share(iteration) * area.width)),
            area.br().y - static_cast<int>(std::lround(y.share(vertical(value)) * area.height))};
  }
};

void draw_axes(cv::Mat& image, const Frame& frame) {
  const double y_step = tick_step(frame.y), x_step = tick_step(frame.x);
  for (double y = std::ceil(frame.y.low / y_step) * y_step; y <= frame.y.high; y += y_step) {
    const double value = frame.logarithmic ? std::pow(10, y) : std::abs(y) < 1e-9 ? 0 : y;
    const int row = frame.at(frame.x.low, value == 0 && frame.logarithmic ? 1 : value).y;
    cv::line(image, {frame.area.x, row}, {frame.area.br().x, row}, kGrid);
    write(image, number_text(value), {6, row + 4});
  }
  for (double x = std::ceil(frame.x.low / x_step) * x_step; x <= frame.x.high; x += x_step) {
    const int column =
        frame.area.x + static_cast<int>(std::lround(frame.x.share(x) * frame.area.width));
    cv::line(image, {column, frame.area.y}, {column, frame.area.br().y}, kGrid);
    write(image, number_text(std::abs(x) < 1e-9 ? 0 : x), {column - 12, frame.area.br().y + 18});
  }
  cv::rectangle(image, frame.area, kInk);
}

// The values of a column that are numbers, with their iterations.
std::vector<std::pair<double, double>> points_of(const LogTable& table, const std::string& column) {
  std::vector<std::pair<double, double>> points;
  const auto found = std::find(table.columns.begin(), table.columns.end(), column);
  if (found == table.columns.end()) return points;
  const auto index = static_cast<size_t>(found - table.columns.begin());
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const double value = table.rows[i][index];
    if (std::isfinite(value)) points.emplace_back(table.iterations[i], value);
  }
  return points;
}

}  // namespace

cv::Mat draw_curves(const LogTable& table, const PlotPanel& panel, cv::Size size) {
  cv::Mat image(size, CV_8UC3, cv::Scalar::all(255));
  std::vector<std::vector<std::pair<double, double>>> curves;
  std::vector<double> xs, ys;
  for (const std::string& column : panel.columns) {
    curves.push_back(points_of(table, column));
    for (const auto& [x, y] : curves.back()) {
      xs.push_back(x);
      ys.push_back(y);
    }
  }
  Frame frame{
      {kLeft, kTop, size.width - kLeft - kRight, size.height - kTop - kBottom},
      {},
      {},
      panel.logarithmic && std::all_of(ys.begin(), ys.end(), [](double y) { return y > 0; })};
  for (double& y : ys) y = frame.vertical(y);
  frame.x = range_of(xs);
  frame.y = range_of(ys);
  draw_axes(image, frame);
  write(image, panel.title, {kLeft, kTop - 12});
  int legend = kLeft + 110;
  for (size_t i = 0; i < curves.size(); ++i) {
    const cv::Scalar colour = class_color(static_cast<int>(i));
    std::vector<cv::Point> line;
    for (const auto& [x, y] : curves[i]) line.push_back(frame.at(x, y));
    cv::polylines(image, line, false, colour, 2, cv::LINE_AA);
    if (line.size() == 1) cv::circle(image, line[0], 3, colour, cv::FILLED, cv::LINE_AA);
    write(image, panel.columns[i], {legend, kTop - 12}, colour);
    legend += 20 + 9 * static_cast<int>(panel.columns[i].size());
  }
  return image;
}

}  // namespace hornet
