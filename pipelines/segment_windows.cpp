#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <hornet/backbone/error.h>
#include <hornet/heads/ops/blend_windows.h>
#include <hornet/pipelines/segment_windows.h>
#include <hornet/pipelines/stages.h>

#include <algorithm>
#include <opencv2/imgproc.hpp>

namespace hornet {
namespace {

constexpr int64_t kFloat = 4;
constexpr int kScoreRows = 8;  // whose probabilities are made at a time

// Windows of one row that run together. The last batch of a row carries the data mask of the rows
// that are finished with it.
struct Batch {
  std::vector<cv::Point> places;
  std::vector<torch::Tensor> inputs;
  bool ends_row = false;
  int finished = 0;  // ends_row: rows of the image above this one are complete
  cv::Mat valid;     // ends_row: mask of the newly finished rows of the region; empty: all data
  int64_t skipped = 0;
};

struct LabelRows {
  cv::Rect where;
  cv::Mat labels;
};

torch::Tensor as_tensor(const std::vector<float>& values) {
  return torch::tensor(values, torch::kFloat32);
}

// The full-width rows of the image that a row of windows needs; each row is read once.
class Strip {
 public:
  Strip(const WindowSource& source, cv::Range columns) : source_(source), columns_(columns) {}

  void advance(int top, int bottom) {
    const int keep = std::max(end_ - std::max(top, begin_), 0);
    const int from = std::max(end_, top);
    WindowPixels next;
    if (from < bottom) next = source_.read({columns_.start, from, columns_.size(), bottom - from});
    const int dropped = rows_.rows - keep;
    rows_ = joined(rows_, next.bgr, dropped);
    if (!next.valid.empty() || !valid_.empty()) {
      const cv::Mat old = filled(valid_, rows_before_), fresh = filled(next.valid, bottom - from);
      valid_ = joined(old, fresh, dropped);
    }
    if (!valid_.empty() && cv::countNonZero(valid_) == static_cast<int>(valid_.total())) {
      valid_.release();
    }
    rows_before_ = rows_.rows;
    begin_ = top;
    end_ = bottom;
  }

  cv::Mat pixels(const cv::Rect& window) const { return rows_(local(window)); }
  bool has_data(const cv::Rect& window) const {
    return valid_.empty() || cv::countNonZero(valid_(local(window))) > 0;
  }
  cv::Mat valid(const cv::Rect& window) const {
    return valid_.empty() ? cv::Mat() : valid_(local(window)).clone();
  }

 private:
  cv::Rect local(const cv::Rect& window) const {
    return window - cv::Point(columns_.start, begin_);
  }
  cv::Mat filled(const cv::Mat& mask, int rows) const {
    return mask.empty() && rows > 0 ? cv::Mat(rows, columns_.size(), CV_8UC1, cv::Scalar(255))
                                    : mask;
  }
  static cv::Mat joined(const cv::Mat& old, const cv::Mat& fresh, int dropped) {
    if (dropped >= old.rows) return fresh;
    const cv::Mat kept = old.rowRange(dropped, old.rows);
    if (fresh.empty()) return kept;
    cv::Mat both;
    cv::vconcat(kept, fresh, both);
    return both;
  }

  const WindowSource& source_;
  const cv::Range columns_;
  cv::Mat rows_, valid_;
  int begin_ = 0, end_ = 0, rows_before_ = 0;
};

// The windows that unfinished rows need, and what becomes of those rows.
class Overlap {
 public:
  Overlap(const Tiling& tiling, const WindowModel& model, const cv::Rect& region)
      : model_(model), region_(region), next_(region.y) {
    kept_.row_weights = as_tensor(tiling.y.window);
    kept_.column_weights = as_tensor(tiling.x.window);
  }

  int next() const { return next_; }  // first row that is not finished

  void add(const cv::Point& place, const torch::Tensor& logits) {
    kept_.row_weights = kept_.row_weights.to(logits.device());
    kept_.column_weights = kept_.column_weights.to(logits.device());
    kept_.logits.push_back(logits.to(torch::kFloat32).permute({1, 2, 0}).contiguous());
    kept_.x.push_back(place.x);
    kept_.y.push_back(place.y);
  }

  // Labels of the next rows; undefined if no window lies anywhere.
  torch::Tensor labels(int rows) const {
    if (kept_.logits.empty()) return {};
    return ops::blended_labels(kept_, part(next_, rows)).cpu();
  }

  // [rows,W,C] of the next rows, from `skip` on.
  torch::Tensor probabilities(int skip, int rows) const {
    const torch::Tensor mean = ops::blended_scores(kept_, part(next_ + skip, rows));
    return (model_.gives_probabilities ? mean : mean.softmax(2)).cpu();
  }

  void advance(int rows) {
    next_ += rows;
    size_t left = 0;
    for (size_t i = 0; i < kept_.logits.size(); ++i) {
      if (kept_.y[i] + kept_.row_weights.size(0) <= next_) continue;
      kept_.logits[left] = kept_.logits[i];
      kept_.x[left] = kept_.x[i];
      kept_.y[left++] = kept_.y[i];
    }
    kept_.logits.resize(left);
    kept_.x.resize(left);
    kept_.y.resize(left);
  }

 private:
  ops::PixelRectangle part(int y, int rows) const { return {region_.x, y, region_.width, rows}; }

  const WindowModel& model_;
  const cv::Rect region_;
  int next_;
  ops::PlacedWindows kept_;
};

class RegionRun {
 public:
  RegionRun(const WindowSource& source, const Tiling& tiling, const WindowModel& model,
            const cv::Rect& region, const LabelSink& sink, const SegmentRun& run)
      : source_(source),
        tiling_(tiling),
        model_(model),
        region_(region),
        sink_(sink),
        run_(run),
        type_(model.scores.classes <= 255 ? CV_8UC1 : CV_16UC1),
        overlap_(tiling, model, region),
        batches_(2),
        finished_(1) {}

  SegmentReport operator()() {
    run_stages(
        batches_, finished_, [this] { read(); }, [this] { infer(); },
        [this](const LabelRows& rows) { write(rows); });
    return report_;
  }

 private:
  void read() {
    const auto [first_row, last_row] = tiling_.y.touching(region_.y, region_.y + region_.height);
    const auto [first, last] = tiling_.x.touching(region_.x, region_.x + region_.width);
    const int left = tiling_.x.starts[first];
    Strip strip(source_, {left, tiling_.x.starts[last - 1] + tiling_.x.tile});
    int done = region_.y;
    for (size_t row = first_row; row < last_row && !run_.stop(); ++row) {
      const int top = tiling_.y.starts[row];
      {
        const StageTimer timer(report_.read, 0);
        strip.advance(top, top + tiling_.y.tile);
      }
      const bool is_last = row + 1 == last_row;
      const int finished =
          is_last ? region_.y + region_.height : std::max(tiling_.y.starts[row + 1], region_.y);
      if (!read_row(strip, top, {first, last}, done, finished)) return;
      done = finished;
    }
  }

  // False if nobody takes batches any more.
  bool read_row(const Strip& strip, int top, std::pair<size_t, size_t> columns, int done,
                int finished) {
    Batch batch;
    std::vector<cv::Mat> windows;
    for (size_t column = columns.first; column < columns.second; ++column) {
      const cv::Rect window({tiling_.x.starts[column], top}, tiling_.tile());
      const StageTimer timer(report_.read);
      if (strip.has_data(window)) {
        batch.places.push_back(window.tl());
        windows.push_back(strip.pixels(window));
      } else {
        ++batch.skipped;
      }
      const bool is_last = column + 1 == columns.second;
      if (!is_last && windows.size() < static_cast<size_t>(run_.batch_size)) continue;
      if (!windows.empty()) batch.inputs = model_.prepare(windows);
      windows.clear();
      if (is_last) {
        batch.ends_row = true;
        batch.finished = finished;
        batch.valid = strip.valid({region_.x, done, region_.width, finished - done});
      }
      if (!batches_.push(std::exchange(batch, Batch{}))) return false;
    }
    return true;
  }

  void infer() {
    const c10::InferenceMode inference;
    while (std::optional<Batch> batch = batches_.pop()) {
      const StageTimer timer(report_.infer, static_cast<int64_t>(batch->places.size()));
      if (!batch->places.empty()) {
        const torch::Tensor logits = model_.run(batch->inputs, tiling_.tile());
        for (size_t i = 0; i < batch->places.size(); ++i) {
          overlap_.add(batch->places[i], logits[static_cast<int64_t>(i)]);
        }
      }
      const auto windows = static_cast<int64_t>(batch->places.size());
      report_.windows += windows + batch->skipped;
      report_.skipped += batch->skipped;
      run_.progress(windows + batch->skipped);
      if (batch->ends_row && !finish_rows(batch->finished, batch->valid)) return;
    }
  }

  // Brings the rows up to `end` into blocks for the writer.
  bool finish_rows(int end, const cv::Mat& valid) {
    for (const int first = overlap_.next(); overlap_.next() < end;) {
      const int row = overlap_.next();
      const int block_end =
          std::min((row / kLabelBlock + 1) * kLabelBlock, region_.y + region_.height);
      open_block(row, block_end);
      const int count = std::min(end, block_end) - row;
      fill_block(row, count,
                 valid.empty() ? cv::Mat() : valid.rowRange(row - first, row - first + count));
      overlap_.advance(count);
      if (row + count == block_end && !push_block()) return false;
    }
    return true;
  }

  void open_block(int row, int end) {
    if (!block_.labels.empty()) return;
    block_.where = {region_.x, row, region_.width, end - row};
    block_.labels = cv::Mat::zeros(block_.where.size(), type_);
    if (!sink_.probabilities) return;
    planes_.resize(model_.scores.classes);
    for (cv::Mat& plane : planes_) plane.create(block_.where.size(), CV_32FC1);
  }

  void fill_block(int row, int count, const cv::Mat& valid) {
    const int begin = row - block_.where.y;
    cv::Mat part = block_.labels.rowRange(begin, begin + count);
    const torch::Tensor labels = overlap_.labels(count);
    if (labels.defined()) {
      const int type = labels.scalar_type() == torch::kUInt8 ? CV_8UC1 : CV_32SC1;
      cv::Mat(count, region_.width, type, labels.data_ptr()).convertTo(part, type_);
    }
    const cv::Mat nothing = valid.empty() ? cv::Mat() : cv::Mat(valid == 0);
    if (!nothing.empty()) part.setTo(type_ == CV_8UC1 ? 255 : 65535, nothing);
    if (!sink_.probabilities) return;
    for (cv::Mat& plane : planes_) plane.rowRange(begin, begin + count).setTo(0);
    for (int done = 0; labels.defined() && done < count; done += kScoreRows) {
      const int rows = std::min(kScoreRows, count - done);
      fill_planes(begin + done, overlap_.probabilities(done, rows));
    }
    if (nothing.empty()) return;
    for (cv::Mat& plane : planes_) plane.rowRange(begin, begin + count).setTo(0, nothing);
  }

  void fill_planes(int begin, const torch::Tensor& probabilities) {
    const torch::Tensor by_class = probabilities.permute({2, 0, 1}).contiguous();
    for (int64_t c = 0; c < by_class.size(0); ++c) {
      const int rows = static_cast<int>(by_class.size(1));
      cv::Mat part = planes_[c].rowRange(begin, begin + rows);
      cv::Mat(rows, region_.width, CV_32FC1, by_class[c].data_ptr()).copyTo(part);
    }
  }

  bool push_block() {
    // Not through the queue: two blocks of planes would take twice the memory.
    if (sink_.probabilities) sink_.probabilities(block_.where, planes_);
    return finished_.push(std::exchange(block_, LabelRows{}));
  }

  void write(const LabelRows& rows) {
    const StageTimer timer(report_.write);
    sink_.labels(rows.where, rows.labels);
    report_.rows = rows.where.y + rows.where.height - region_.y;
  }

  const WindowSource& source_;
  const Tiling& tiling_;
  const WindowModel& model_;
  const cv::Rect region_;
  const LabelSink& sink_;
  const SegmentRun& run_;
  const int type_;
  Overlap overlap_;
  LabelRows block_;              // being filled
  std::vector<cv::Mat> planes_;  // of block_
  BoundedQueue<Batch> batches_;
  BoundedQueue<LabelRows> finished_;
  SegmentReport report_;
};

// The logits of the windows that unfinished rows of a region may need, in bytes.
int64_t bytes_of_logits(const Tiling& tiling, const WindowScores& scores, int64_t width) {
  const auto low = [&](int64_t side) { return (side + scores.stride - 1) / scores.stride; };
  const auto all = static_cast<int64_t>(tiling.x.starts.size());
  // At regular distances, and the last one.
  const int64_t side_by_side = std::min(all, (width + tiling.x.tile - 2) / tiling.x.stride + 2);
  return kFloat * scores.classes * low(tiling.x.tile) * low(tiling.y.tile) * side_by_side *
         tiling.y.overlapping();
}

}  // namespace

SegmentReport segment_region(const WindowSource& source, const Tiling& tiling,
                             const WindowModel& model, const cv::Rect& region,
                             const LabelSink& sink, const SegmentRun& run) {
  TORCH_CHECK(region.y % kLabelBlock == 0 && !region.empty() &&
                  (region & cv::Rect({0, 0}, source.size)) == region,
              "segment_region: the region must lie in the image and start at a multiple of ",
              kLabelBlock, " rows");
  return RegionRun(source, tiling, model, region, sink, run)();
}

int64_t count_windows(const Tiling& tiling, const cv::Rect& region) {
  const auto rows = tiling.y.touching(region.y, region.y + region.height);
  const auto columns = tiling.x.touching(region.x, region.x + region.width);
  return static_cast<int64_t>(rows.second - rows.first) *
         static_cast<int64_t>(columns.second - columns.first);
}

int64_t bytes_of_region(const Tiling& tiling, const WindowScores& scores, bool probabilities,
                        int batch_size, int64_t width) {
  constexpr int64_t kPixel = 3, kMask = 1, kInput = 3 * kFloat, kBatches = 4, kStripBytes = 8;
  const int64_t tile = tiling.y.tile, pixels = tile * tiling.x.tile;
  const bool wide = scores.classes > 255;
  // Of each column: a strip of pixels, and the next one while it is made; masks on their way with
  // the batches; labels being filled, queued, being written, and as the kernel gives them.
  const int64_t strips = 2 * tile * (kPixel + kMask);
  const int64_t masks = 4 * tile * kMask;
  const int64_t labels = kLabelBlock * (wide ? 3 * 2 + 4 : 3 + 1);
  const int64_t planes =
      probabilities ? kFloat * scores.classes * (kLabelBlock + 3 * kScoreRows) : 0;
  return bytes_of_logits(tiling, scores, width) + width * (strips + masks + labels + planes) +
         kBatches * batch_size * scores.inputs * pixels * kInput + 2 * pixels * kStripBytes;
}

std::vector<cv::Rect> column_blocks(const Tiling& tiling, const WindowScores& scores,
                                    bool probabilities, int batch_size, int64_t budget) {
  const int64_t width = tiling.x.length;
  const auto bytes = [&](int64_t columns) {
    return bytes_of_region(tiling, scores, probabilities, batch_size, columns);
  };
  int64_t columns = width;
  if (bytes(width) > budget) {
    for (columns = 0; bytes(columns + kLabelBlock) <= budget;) columns += kLabelBlock;
  }
  if (columns == 0) {
    const int64_t needed = bytes(std::min<int64_t>(width, kLabelBlock));
    throw Error(
        ErrorCode::kUsage,
        "--max-memory: leaves " + std::to_string(std::max<int64_t>(budget, 0) >> 20) +
            " MiB beside the model; windows of this size and " + std::to_string(scores.classes) +
            " classes need " + std::to_string((needed >> 20) + 1) +
            " MiB; raise it, or take a larger --stride, or a smaller --tile or --batch-size");
  }
  std::vector<cv::Rect> blocks;
  for (int64_t x = 0; x < width; x += columns) {
    blocks.emplace_back(static_cast<int>(x), 0, static_cast<int>(std::min(columns, width - x)),
                        tiling.y.length);
  }
  return blocks;
}

}  // namespace hornet
