#include <hornet/backbone/error.h>
#include <hornet/pipelines/label_metrics.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <string>

namespace hornet {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double ratio(int64_t part, int64_t whole) {
  return whole == 0 ? kNone : static_cast<double>(part) / static_cast<double>(whole);
}

// Of the values that are numbers.
double mean(const std::vector<double>& values) {
  double sum = 0;
  int64_t count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  return count == 0 ? kNone : sum / static_cast<double>(count);
}

int64_t sum_of(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

void add_to(std::vector<int64_t>& counts, const std::vector<int64_t>& more) {
  for (size_t i = 0; i < counts.size(); ++i) counts[i] += more[i];
}

bool is_label_map(const cv::Mat& map) { return map.type() == CV_8UC1 || map.type() == CV_16UC1; }

std::string size_text(const cv::Mat& map) {
  return std::to_string(map.cols) + "x" + std::to_string(map.rows);
}

template <typename Label>
void reduce(cv::Mat& labels, int ignore_label) {
  for (int y = 0; y < labels.rows; ++y) {
    Label* label = labels.ptr<Label>(y);
    for (int x = 0; x < labels.cols; ++x) {
      const bool ignored = label[x] == 0 || label[x] == ignore_label;
      label[x] = static_cast<Label>(ignored ? ignore_label : label[x] - 1);
    }
  }
}

}  // namespace

LabelMetrics::LabelMetrics(int64_t num_classes, int ignore_label) : ignore_label_(ignore_label) {
  constexpr int64_t kMaxClasses = 65536;  // that 16 bits can hold
  if (num_classes < 1 || num_classes > kMaxClasses) {
    throw Error(ErrorCode::kInput,
                "label metrics: expected 1 to 65536 classes, found " + std::to_string(num_classes));
  }
  for (auto* counts : {&correct_, &predicted_, &true_}) counts->resize(num_classes);
}

void LabelMetrics::add(const cv::Mat& predicted, const cv::Mat& truth) {
  if (!is_label_map(predicted) || !is_label_map(truth)) {
    throw Error(ErrorCode::kInput, "label metrics: expected one channel of 8 or 16 bits unsigned");
  }
  if (predicted.size() != truth.size()) {
    throw Error(ErrorCode::kInput, "label metrics: the predicted labels are " +
                                       size_text(predicted) + " pixels, the true ones " +
                                       size_text(truth) + "; expected the same size");
  }
  const bool wide = predicted.depth() == CV_16U;
  if (truth.depth() == CV_16U) {
    wide ? count<uint16_t, uint16_t>(predicted, truth) : count<uint8_t, uint16_t>(predicted, truth);
  } else {
    wide ? count<uint16_t, uint8_t>(predicted, truth) : count<uint8_t, uint8_t>(predicted, truth);
  }
}

template <typename Predicted, typename Truth>
void LabelMetrics::count(const cv::Mat& predicted, const cv::Mat& truth) {
  const size_t classes = true_.size();
  for (int y = 0; y < truth.rows; ++y) {
    const Predicted* found = predicted.ptr<Predicted>(y);
    const Truth* wanted = truth.ptr<Truth>(y);
    for (int x = 0; x < truth.cols; ++x) {
      if (wanted[x] == ignore_label_) continue;
      ++pixels_;
      if (found[x] < classes) ++predicted_[found[x]];
      if (wanted[x] >= classes) {
        ++foreign_;
        continue;
      }
      ++true_[wanted[x]];
      if (found[x] == wanted[x]) ++correct_[wanted[x]];
    }
  }
}

void LabelMetrics::merge(const LabelMetrics& other) {
  if (other.num_classes() != num_classes() || other.ignore_label_ != ignore_label_) {
    throw Error(ErrorCode::kInput, "label metrics: counts of " + std::to_string(num_classes()) +
                                       " classes cannot take in those of " +
                                       std::to_string(other.num_classes()) +
                                       ", or another label was ignored");
  }
  add_to(correct_, other.correct_);
  add_to(predicted_, other.predicted_);
  add_to(true_, other.true_);
  pixels_ += other.pixels_;
  foreign_ += other.foreign_;
}

std::vector<int64_t> LabelMetrics::counts() const {
  std::vector<int64_t> all = {pixels_, foreign_};
  for (const auto* counts : {&correct_, &predicted_, &true_}) {
    all.insert(all.end(), counts->begin(), counts->end());
  }
  return all;
}

void LabelMetrics::set_counts(const std::vector<int64_t>& counts) {
  if (counts.size() != this->counts().size()) {
    throw Error(ErrorCode::kInput, "label metrics: the counts are not of " +
                                       std::to_string(num_classes()) + " classes");
  }
  auto next = counts.begin();
  pixels_ = *next++;
  foreign_ = *next++;
  for (auto* part : {&correct_, &predicted_, &true_}) {
    for (int64_t& count : *part) count = *next++;
  }
}

LabelScores LabelMetrics::scores() const {
  LabelScores scores;
  for (size_t i = 0; i < true_.size(); ++i) {
    scores.iou.push_back(ratio(correct_[i], predicted_[i] + true_[i] - correct_[i]));
    scores.accuracy.push_back(ratio(correct_[i], true_[i]));
  }
  scores.mean_iou = mean(scores.iou);
  scores.mean_accuracy = mean(scores.accuracy);
  scores.pixel_accuracy = ratio(sum_of(correct_), sum_of(true_));
  return scores;
}

cv::Mat with_room_for(int label, const cv::Mat& labels) {
  constexpr int kLargestOf8Bits = 255;
  if (label <= kLargestOf8Bits) return labels;
  cv::Mat wide;
  labels.convertTo(wide, CV_16U);
  return wide;
}

cv::Mat reduce_zero_label(const cv::Mat& labels, int ignore_label) {
  if (!is_label_map(labels)) {
    throw Error(ErrorCode::kInput, "labels: expected one channel of 8 or 16 bits unsigned");
  }
  cv::Mat reduced = with_room_for(ignore_label, labels).clone();
  reduced.depth() == CV_8U ? reduce<uint8_t>(reduced, ignore_label)
                           : reduce<uint16_t>(reduced, ignore_label);
  return reduced;
}

}  // namespace hornet
