#include <hornet/backbone/error.h>
#include <hornet/pipelines/output_guard.h>
#include <hornet/training/training_log.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iomanip>
#include <iterator>
#include <limits>
#include <opencv2/imgcodecs.hpp>
#include <sstream>

namespace hornet {
namespace {

namespace fs = std::filesystem;

constexpr char kLosses[] = "losses.csv", kMetrics[] = "metrics.csv", kCurves[] = "curves.png";

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields(1);
  bool inside = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') {
      const bool doubled = inside && i + 1 < line.size() && line[i + 1] == '"';
      if (doubled) fields.back() += line[++i];
      if (!doubled) inside = !inside;
    } else if (line[i] == ',' && !inside) {
      fields.emplace_back();
    } else {
      fields.back() += line[i];
    }
  }
  return fields;
}

double number_of(const std::string& field, const std::string& source) {
  if (field.empty()) return std::numeric_limits<double>::quiet_NaN();
  char* end = nullptr;
  const double value = std::strtod(field.c_str(), &end);
  if (*end != '\0') throw Error(ErrorCode::kInput, source + ": '" + field + "' is not a number");
  return value;
}

LogTable read_log(const fs::path& path) {
  std::ifstream stream(path);
  if (!stream) return {};
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  return parse_log(text, path.string());
}

void write_png(const fs::path& path, const cv::Mat& image) {
  OutputFile file(path, /*force=*/true);
  if (!cv::imwrite(file.partial().string(), image)) file.fail("the image cannot be written");
  file.commit();
}

std::vector<std::string> first_of(const std::vector<std::string>& columns, size_t most) {
  return {columns.begin(), columns.begin() + std::min(columns.size(), most)};
}

}  // namespace

void LogTable::add(int64_t iteration, const std::vector<std::pair<std::string, double>>& values) {
  constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
  iterations.push_back(iteration);
  std::vector<double>& row = rows.emplace_back(columns.size(), kNothing);
  for (const auto& [name, value] : values) {
    const auto known = std::find(columns.begin(), columns.end(), name);
    const auto column = static_cast<size_t>(known - columns.begin());
    if (known == columns.end()) {
      columns.push_back(name);
      for (auto& other : rows) other.push_back(kNothing);
    }
    row[column] = value;
  }
}

void LogTable::drop_after(int64_t iteration) {
  while (!iterations.empty() && iterations.back() > iteration) {
    iterations.pop_back();
    rows.pop_back();
  }
  if (rows.empty()) columns.clear();
}

std::string LogTable::csv() const {
  std::ostringstream out;
  out << "iteration";
  for (const std::string& column : columns) out << ',' << quoted(column);
  out << '\n' << std::setprecision(7);
  for (size_t i = 0; i < rows.size(); ++i) {
    out << iterations[i];
    for (const double value : rows[i]) {
      out << ',';
      if (!std::isnan(value)) out << value;
    }
    out << '\n';
  }
  return out.str();
}

LogTable parse_log(const std::string& csv, const std::string& source) {
  std::istringstream stream(csv);
  std::string line;
  LogTable table;
  if (!std::getline(stream, line)) return table;
  table.columns = fields_of(line);
  if (table.columns.front() != "iteration") {
    throw Error(ErrorCode::kInput, source +
                                       ": expected a log of `hornet train`, whose first column "
                                       "is 'iteration'");
  }
  table.columns.erase(table.columns.begin());
  while (std::getline(stream, line)) {
    const std::vector<std::string> fields = fields_of(line);
    if (fields.size() != table.columns.size() + 1) {
      throw Error(ErrorCode::kInput, source + ": a row has " + std::to_string(fields.size()) +
                                         " fields, expected " +
                                         std::to_string(table.columns.size() + 1));
    }
    table.iterations.push_back(static_cast<int64_t>(number_of(fields[0], source)));
    auto& row = table.rows.emplace_back();
    for (size_t i = 1; i < fields.size(); ++i) row.push_back(number_of(fields[i], source));
  }
  return table;
}

TrainingLog::TrainingLog(fs::path folder)
    : folder_(std::move(folder)),
      losses_(read_log(folder_ / kLosses)),
      metrics_(read_log(folder_ / kMetrics)) {}

void TrainingLog::add_losses(int64_t iteration,
                             const std::vector<std::pair<std::string, double>>& values) {
  losses_.add(iteration, values);
}

void TrainingLog::add_metrics(int64_t iteration,
                              const std::vector<std::pair<std::string, double>>& values) {
  metrics_.add(iteration, values);
}

void TrainingLog::drop_after(int64_t iteration) {
  losses_.drop_after(iteration);
  metrics_.drop_after(iteration);
}

void TrainingLog::save() const {
  const cv::Size panel(900, 360);
  std::vector<cv::Mat> panels;
  if (!losses_.rows.empty()) {
    std::vector<std::string> shown;  // the loss and its parts stand before the rest
    for (const std::string& column : losses_.columns) {
      if (column == "rate") break;
      shown.push_back(column);
    }
    panels.push_back(draw_curves(losses_, {"loss", shown, true}, panel));
    write_text(OutputFile(folder_ / kLosses, true), losses_.csv());
  }
  if (!metrics_.rows.empty()) {
    constexpr size_t kShown = 3;
    panels.push_back(
        draw_curves(metrics_, {"validation", first_of(metrics_.columns, kShown)}, panel));
    write_text(OutputFile(folder_ / kMetrics, true), metrics_.csv());
  }
  if (panels.empty()) return;
  cv::Mat picture;
  cv::vconcat(panels, picture);
  write_png(folder_ / kCurves, picture);
}

}  // namespace hornet
