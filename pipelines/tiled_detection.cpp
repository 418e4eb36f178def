#include <hornet/heads/windows.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/preprocess.h>
#include <hornet/pipelines/stages.h>
#include <hornet/pipelines/tiled_detection.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <opencv2/imgproc.hpp>
#include <utility>

namespace hornet {
namespace {

struct Tile {
  cv::Rect window;
  cv::Mat bgr;
};

// What goes to the sink in one call.
struct FinalRows {
  std::vector<Instance> found;
  int final_row;
};

// First pixels of the tiles' columns and rows, and their common size.
struct TileGrid {
  TileGrid(cv::Size image, const TiledDetectionOptions& options)
      : size(std::min(options.tile, image.width), std::min(options.tile, image.height)) {
    const SlideOptions slide{options.tile,
                             options.tile - static_cast<int>(options.overlap * options.tile)};
    for (int64_t x : window_starts(image.width, slide)) columns.push_back(static_cast<int>(x));
    for (int64_t y : window_starts(image.height, slide)) rows.push_back(static_cast<int>(y));
  }
  int64_t count() const { return static_cast<int64_t>(rows.size() * columns.size()); }

  std::vector<int> columns, rows;
  cv::Size size;
};

// How the i-th pixel of `in` falls on the pixels of a shorter row of `out`: its weight in the one
// where it begins, and in the next.
struct Share {
  Share(int i, int in, int out) {
    const double scale = static_cast<double>(out) / in;
    const double begin = i * scale;
    first = std::min(static_cast<int>(begin), out - 1);
    const double in_next = first + 1 < out ? std::max((i + 1) * scale - (first + 1), 0.0) : 0.0;
    weight = static_cast<float>(scale - in_next);
    next_weight = static_cast<float>(in_next);
  }
  int first;
  float weight;
  float next_weight;
};

std::vector<Share> shares(int in, int out) {
  std::vector<Share> list;
  for (int i = 0; i < in; ++i) list.emplace_back(i, in, out);
  return list;
}

void add_row(const cv::Vec3b* row, const std::vector<Share>& columns, float weight,
             cv::Vec3f* sums) {
  for (size_t x = 0; x < columns.size(); ++x) {
    const Share& share = columns[x];
    const cv::Vec3f pixel = cv::Vec3f(row[x]) * weight;
    sums[share.first] += pixel * share.weight;
    if (share.next_weight > 0) sums[share.first + 1] += pixel * share.next_weight;
  }
}

// Whether the box ends within a pixel of a border of its tile that is no border of the image.
bool is_cut(const cv::Rect2f& box, const cv::Rect& tile, cv::Size image) {
  constexpr float kNear = 1;
  return (tile.x > 0 && box.x <= tile.x + kNear) || (tile.y > 0 && box.y <= tile.y + kNear) ||
         (tile.br().x < image.width && box.x + box.width >= tile.br().x - kNear) ||
         (tile.br().y < image.height && box.y + box.height >= tile.br().y - kNear);
}

// From pixels of a tile to pixels of the image.
Instance moved(Instance instance, const cv::Rect& tile) {
  CV_Assert((instance.mask.region & cv::Rect({}, tile.size())) == instance.mask.region);
  instance.box &= cv::Rect2f({}, cv::Size2f(tile.size()));
  instance.box += cv::Point2f(tile.tl());
  instance.mask.region += tile.tl();
  return instance;
}

// From pixels of an image of size `from` to those of the same image at size `to`.
Instance scaled(const Instance& instance, cv::Size from, cv::Size to) {
  const double sx = static_cast<double>(to.width) / from.width;
  const double sy = static_cast<double>(to.height) / from.height;
  Instance out;
  out.score = instance.score;
  out.label = instance.label;
  const cv::Rect2d box = instance.box;
  out.box = cv::Rect2d(box.x * sx, box.y * sy, box.width * sx, box.height * sy);
  out.box &= cv::Rect2f({}, cv::Size2f(to));
  const cv::Rect& small = instance.mask.region;
  const cv::Rect large = cv::Rect(cv::Point(cvFloor(small.x * sx), cvFloor(small.y * sy)),
                                  cv::Point(cvCeil(small.br().x * sx), cvCeil(small.br().y * sy))) &
                         cv::Rect({}, to);
  if (large.empty() || !can_have_mask(out.box)) return out;
  out.mask.region = large;
  cv::resize(instance.mask.pixels * 255, out.mask.pixels, large.size(), 0, 0, cv::INTER_LINEAR);
  cv::threshold(out.mask.pixels, out.mask.pixels, 127, 1, cv::THRESH_BINARY);
  return out;
}

class TiledRun {
 public:
  TiledRun(const DetectFunction& detect, const WindowSource& source,
           const TiledDetectionOptions& options, const TiledDetectionSink& sink, Progress* progress)
      : detect_(detect),
        source_(source),
        options_(options),
        sink_(sink),
        progress_(progress),
        grid_(source.size, options),
        pool_(options.rule, options.threshold),
        tiles_(static_cast<size_t>(options.batch_size) + 2) {}

  TiledDetectionReport run() {
    if (!options_.whole_image.empty() && grid_.count() > 1) search_whole_image();
    const auto infer_and_finish = [this] {
      infer_all();
      hand_out(source_.size.height);
    };
    run_stages(
        tiles_, finished_, [this] { read_all(); }, infer_and_finish,
        [this](const FinalRows& rows) { sink_(rows.found, rows.final_row); });
    return report_;
  }

 private:
  void search_whole_image() {
    cv::Size size = keep_ratio_size(source_.size, options_.whole_image);
    if (size.width > source_.size.width || size.height > source_.size.height) size = source_.size;
    cv::Mat image;
    {
      const StageTimer timer(report_.read);
      image = reduce_image(source_, size);
    }
    if (interrupted()) return;
    const std::vector<std::vector<Instance>> found = infer({image});
    for (const Instance& instance : found.front()) {
      pool_.add(pack(scaled(instance, size, source_.size)));
    }
  }

  void read_all() {
    for (int y : grid_.rows) {
      for (int x : grid_.columns) {
        if (interrupted() || !read({{x, y}, grid_.size})) return;
      }
    }
  }

  // False if nobody takes tiles any more.
  bool read(const cv::Rect& window) {
    WindowPixels pixels;
    {
      const StageTimer timer(report_.read);
      pixels = source_.read(window);
    }
    if (pixels.valid.empty() || cv::countNonZero(pixels.valid) > 0) {
      return tiles_.push({window, std::move(pixels.bgr)});
    }
    ++report_.skipped;
    if (progress_ != nullptr) progress_->advance();
    return true;
  }

  void infer_all() {
    std::vector<Tile> batch;
    while (std::optional<Tile> tile = tiles_.pop()) {
      batch.push_back(std::move(*tile));
      if (batch.size() == static_cast<size_t>(options_.batch_size) && !search(batch)) return;
    }
    if (!batch.empty()) search(batch);
  }

  // False if nobody takes results any more.
  bool search(std::vector<Tile>& batch) {
    std::vector<cv::Mat> images;
    for (const Tile& tile : batch) images.push_back(tile.bgr);
    std::vector<std::vector<Instance>> found = infer(images);
    for (size_t i = 0; i < batch.size(); ++i) {
      if (!add(batch[i].window, std::move(found[i]))) return false;
    }
    report_.tiles += static_cast<int64_t>(batch.size());
    if (progress_ != nullptr) progress_->advance(static_cast<int64_t>(batch.size()));
    batch.clear();
    return true;
  }

  std::vector<std::vector<Instance>> infer(const std::vector<cv::Mat>& images) {
    const StageTimer timer(report_.infer, static_cast<int64_t>(images.size()));
    std::vector<std::vector<Instance>> found = detect_(images);
    CV_Assert(found.size() == images.size());
    return found;
  }

  bool add(const cv::Rect& window, std::vector<Instance> found) {
    if (window.y != row_ && !hand_out(window.y)) return false;
    row_ = window.y;
    const StageTimer timer(report_.merge);
    for (Instance& instance : found) {
      const Instance in_image = moved(std::move(instance), window);
      pool_.add(pack(in_image, is_cut(in_image.box, window, source_.size)));
    }
    return true;
  }

  // All tiles that begin above `row` have been searched.
  bool hand_out(int row) {
    report_.peak_waiting = std::max(report_.peak_waiting, static_cast<int64_t>(pool_.size()));
    std::vector<Instance> found;
    {
      const StageTimer timer(report_.merge, 0);
      found = pool_.take_final(row);
    }
    report_.objects += static_cast<int64_t>(found.size());
    report_.without_mask += std::count_if(
        found.begin(), found.end(), [](const Instance& one) { return !can_have_mask(one.box); });
    return finished_.push({std::move(found), pool_.first_row(row)});
  }

  const DetectFunction& detect_;
  const WindowSource& source_;
  const TiledDetectionOptions& options_;
  const TiledDetectionSink& sink_;
  Progress* progress_;
  const TileGrid grid_;
  DetectionPool pool_;
  BoundedQueue<Tile> tiles_;
  BoundedQueue<FinalRows> finished_{2};
  int row_ = 0;  // of the tiles that were searched last
  TiledDetectionReport report_;
};

}  // namespace

int64_t count_tiles(cv::Size image, const TiledDetectionOptions& options) {
  return TileGrid(image, options).count();
}

TiledDetectionReport detect_tiled(const DetectFunction& detect, const WindowSource& source,
                                  const TiledDetectionOptions& options,
                                  const TiledDetectionSink& sink, Progress* progress) {
  CV_Assert(options.tile > 0 && options.overlap >= 0 && options.overlap < 1);
  CV_Assert(options.batch_size > 0 && !source.size.empty());
  return TiledRun(detect, source, options, sink, progress).run();
}

cv::Mat reduce_image(const WindowSource& source, cv::Size size) {
  constexpr int kMostRows = 512;
  constexpr int kMostPixels = 1 << 24;
  CV_Assert(!size.empty() && size.width <= source.size.width && size.height <= source.size.height);
  const std::vector<Share> columns = shares(source.size.width, size.width);
  const int strip = std::clamp(kMostPixels / source.size.width, 1, kMostRows);
  cv::Mat sums = cv::Mat::zeros(size, CV_32FC3);
  for (int top = 0; top < source.size.height && !interrupted(); top += strip) {
    const int rows = std::min(strip, source.size.height - top);
    const cv::Mat part = source.read({0, top, source.size.width, rows}).bgr;
    for (int y = 0; y < rows; ++y) {
      const Share share(top + y, source.size.height, size.height);
      const auto* row = part.ptr<cv::Vec3b>(y);
      add_row(row, columns, share.weight, sums.ptr<cv::Vec3f>(share.first));
      if (share.next_weight > 0) {
        add_row(row, columns, share.next_weight, sums.ptr<cv::Vec3f>(share.first + 1));
      }
    }
  }
  cv::Mat image;
  sums.convertTo(image, CV_8UC3);
  return image;
}

}  // namespace hornet
