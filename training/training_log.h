// What a run leaves behind to look at: losses.csv, metrics.csv and curves.png in its folder.
//
//   TrainingLog log(folder);
//   log.add_losses(120, {{"loss", 0.81}, {"rate", 1e-3}});  // columns by name, new ones any time
//   log.add_metrics(2000, {{"mIoU", 0.52}});
//   log.save();  // whole files, or none
//
// A run that is resumed from iteration n keeps the rows up to n: drop_after(n).
#pragma once

#include <cstdint>
#include <filesystem>
#include <opencv2/core.hpp>
#include <string>
#include <utility>
#include <vector>

namespace hornet {

// Rows by iteration. What a row does not know is not-a-number, an empty field of the file.
struct LogTable {
  std::vector<std::string> columns;
  std::vector<int64_t> iterations;
  std::vector<std::vector<double>> rows;

  void add(int64_t iteration, const std::vector<std::pair<std::string, double>>& values);
  void drop_after(int64_t iteration);
  std::string csv() const;
};

// Error(kInput) that names `source` for what csv() has not written.
LogTable parse_log(const std::string& csv, const std::string& source);

struct PlotPanel {
  std::string title;
  std::vector<std::string> columns;  // of the table
  bool logarithmic = false;          // its vertical axis, if all values are above 0
};

// Curves over iterations, CV_8UC3.
cv::Mat draw_curves(const LogTable& table, const PlotPanel& panel, cv::Size size);

class TrainingLog {
 public:
  // Reads what is in the folder already.
  explicit TrainingLog(std::filesystem::path folder);

  void add_losses(int64_t iteration, const std::vector<std::pair<std::string, double>>& values);
  void add_metrics(int64_t iteration, const std::vector<std::pair<std::string, double>>& values);
  void drop_after(int64_t iteration);
  void save() const;

  const LogTable& losses() const { return losses_; }
  const LogTable& metrics() const { return metrics_; }

 private:
  std::filesystem::path folder_;
  LogTable losses_, metrics_;
};

}  // namespace hornet
