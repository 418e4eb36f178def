#include <gtest/gtest.h>
#include <hornet/heads/windows.h>
#include <hornet/pipelines/tiled_detection.h>

#include <algorithm>
#include <array>
#include <opencv2/imgproc.hpp>
#include <stdexcept>
#include <tuple>

namespace hornet {
namespace {

using Found = std::tuple<int, int, int, int, int>;  // label, y, x, height, width

struct Block {
  cv::Rect box;
  int label;  // 0: blue, 1: green
};

// Blocks on black that never touch, at most 30 pixels wide and high; repeats every 64 rows.
std::vector<Block> blocks(cv::Size image) {
  constexpr int kCell = 64;
  std::vector<Block> list;
  for (int x = 0; x + kCell <= image.width; x += kCell) {
    for (int y = 0; y + kCell <= image.height; y += kCell) {
      const int kind = x / kCell;
      const cv::Point at(x + 1 + 11 * kind % 32, y + 1 + 17 * kind % 32);
      list.push_back({{at, cv::Size(8 + 7 * kind % 23, 8 + 5 * kind % 23)}, kind % 2});
    }
  }
  return list;
}

// An image that is painted where it is read.
WindowSource source_of(const std::vector<Block>& list, cv::Size size) {
  return {size, [list](const cv::Rect& window) {
            cv::Mat bgr = cv::Mat::zeros(window.size(), CV_8UC3);
            for (const Block& block : list) {
              const cv::Rect part = block.box & window;
              if (part.empty()) continue;
              bgr(part - window.tl())
                  .setTo(block.label == 0 ? cv::Scalar(255, 0, 0) : cv::Scalar(0, 255, 0));
            }
            return WindowPixels{bgr, {}};
          }};
}

// Finds blue and green areas. A larger one scores higher by `slope`, or lower if it is negative.
std::vector<Instance> find_areas(const cv::Mat& bgr, double slope) {
  std::vector<Instance> found;
  for (int label = 0; label < 2; ++label) {
    cv::Mat channel, areas, stats, centroids;
    cv::extractChannel(bgr, channel, label);
    const int count = cv::connectedComponentsWithStats(channel > 127, areas, stats, centroids);
    for (int i = 1; i < count; ++i) {
      const int* row = stats.ptr<int>(i);
      Instance one;
      one.mask.region = {row[cv::CC_STAT_LEFT], row[cv::CC_STAT_TOP], row[cv::CC_STAT_WIDTH],
                         row[cv::CC_STAT_HEIGHT]};
      one.mask.pixels = (areas(one.mask.region) == i) / 255;
      one.box = one.mask.region;
      one.score = static_cast<float>(0.6 + slope * row[cv::CC_STAT_AREA]);
      one.label = label;
      found.push_back(one);
    }
  }
  return found;
}

DetectFunction detector(double slope = 1e-5) {
  return [slope](const std::vector<cv::Mat>& images) {
    std::vector<std::vector<Instance>> found;
    for (const cv::Mat& image : images) found.push_back(find_areas(image, slope));
    return found;
  };
}

Found found_of(int label, const cv::Rect& box) {
  return {label, box.y, box.x, box.height, box.width};
}

std::vector<Found> sorted(const std::vector<Instance>& instances) {
  std::vector<Found> list;
  for (const Instance& one : instances) list.push_back(found_of(one.label, cv::Rect(one.box)));
  std::sort(list.begin(), list.end());
  return list;
}

std::vector<Found> sorted(const std::vector<Block>& blocks) {
  std::vector<Found> list;
  for (const Block& block : blocks) list.push_back(found_of(block.label, block.box));
  std::sort(list.begin(), list.end());
  return list;
}

TiledDetectionOptions small_tiles(MergeRule rule = MergeRule::kNms) {
  TiledDetectionOptions options;
  options.tile = 128;
  options.overlap = 0.25;
  options.rule = rule;
  return options;
}

struct Outcome {
  TiledDetectionReport report;
  std::vector<Instance> found;
  std::vector<int> final_rows;
};

Outcome run(const DetectFunction& detect, const WindowSource& source,
            const TiledDetectionOptions& options) {
  Outcome outcome;
  outcome.report = detect_tiled(detect, source, options, [&](const auto& found, int final_row) {
    outcome.found.insert(outcome.found.end(), found.begin(), found.end());
    outcome.final_rows.push_back(final_row);
  });
  return outcome;
}

class TiledDetection : public ::testing::TestWithParam<MergeRule> {
 protected:
  const cv::Size size_{700, 650};
  const std::vector<Block> blocks_ = blocks(size_);
  const WindowSource source_ = source_of(blocks_, size_);
};

INSTANTIATE_TEST_SUITE_P(Rules, TiledDetection,
                         ::testing::Values(MergeRule::kNms, MergeRule::kIos));

TEST_P(TiledDetection, FindsObjectsAcrossBordersOnce) {
  for (const double slope : {1e-4, -1e-4}) {  // pieces score lower, or higher, than the whole
    const Outcome outcome = run(detector(slope), source_, small_tiles(GetParam()));
    EXPECT_EQ(sorted(outcome.found), sorted(blocks_));
    EXPECT_EQ(outcome.report.objects, static_cast<int64_t>(blocks_.size()));
    EXPECT_EQ(outcome.report.tiles, 7 * 7);
    EXPECT_EQ(outcome.report.tiles, count_tiles(size_, small_tiles()));
    EXPECT_EQ(outcome.report.without_mask, 0);
  }
}

TEST_P(TiledDetection, MasksCoverWhatIsThere) {
  cv::Mat covered = cv::Mat::zeros(size_, CV_8UC1);
  for (const Instance& one : run(detector(), source_, small_tiles(GetParam())).found) {
    cv::Mat part = covered(one.mask.region);
    cv::add(part, one.mask.pixels, part);
  }
  cv::Mat expected = cv::Mat::zeros(size_, CV_8UC1);
  for (const Block& block : blocks_) expected(block.box).setTo(1);
  EXPECT_EQ(cv::norm(covered, expected, cv::NORM_INF), 0);
}

TEST_P(TiledDetection, IsTheSameInBatches) {
  TiledDetectionOptions options = small_tiles(GetParam());
  const Outcome one_by_one = run(detector(), source_, options);
  std::vector<size_t> batches;
  options.batch_size = 4;
  const auto counting = [&](const std::vector<cv::Mat>& images) {
    batches.push_back(images.size());
    for (const cv::Mat& image : images) EXPECT_EQ(image.size(), cv::Size(128, 128));
    return detector()(images);
  };
  const Outcome batched = run(counting, source_, options);
  EXPECT_EQ(batches, (std::vector<size_t>{4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 1}));
  EXPECT_EQ(batched.final_rows, one_by_one.final_rows);
  EXPECT_EQ(batched.report.infer.count, 49);
  EXPECT_EQ(sorted(batched.found), sorted(one_by_one.found));
}

// Areas, and for each of them a box that is shifted by a third of its width and scores less.
std::vector<Instance> find_twice(const cv::Mat& image) {
  std::vector<Instance> found = find_areas(image, 1e-5);
  const size_t count = found.size();
  for (size_t i = 0; i < count; ++i) {
    Instance again = found[i];
    again.box.x += again.box.width / 3;
    again.box.width = std::min(again.box.width, static_cast<float>(image.cols) - again.box.x);
    again.score -= 0.1f + 0.001f * again.box.height;
    again.mask = {};
    found.push_back(again);
  }
  return found;
}

TEST_P(TiledDetection, StreamedIsTheSameAsMergedAtOnce) {
  const TiledDetectionOptions options = small_tiles(GetParam());
  std::vector<PackedInstance> all;
  for (int64_t y : window_starts(size_.height, {128, 96})) {
    for (int64_t x : window_starts(size_.width, {128, 96})) {
      const cv::Rect tile(static_cast<int>(x), static_cast<int>(y), 128, 128);
      for (Instance one : find_twice(source_.read(tile).bgr)) {
        const bool cut = (tile.x > 0 && one.box.x <= 1) || (tile.y > 0 && one.box.y <= 1) ||
                         (tile.br().x < size_.width && one.box.br().x >= 127) ||
                         (tile.br().y < size_.height && one.box.br().y >= 127);
        one.box += cv::Point2f(tile.tl());
        one.mask.region += tile.tl();
        all.push_back(pack(one, cut));
      }
    }
  }
  const auto twice = [](const std::vector<cv::Mat>& images) {
    std::vector<std::vector<Instance>> found;
    for (const cv::Mat& image : images) found.push_back(find_twice(image));
    return found;
  };
  EXPECT_EQ(sorted(run(twice, source_, options).found),
            sorted(merge_detections(all, options.rule, options.threshold)));
}

TEST_P(TiledDetection, KeepsAsFewDetectionsForEightTimesTheHeight) {
  TiledDetectionOptions options = small_tiles(GetParam());
  options.overlap = 0.5;
  int64_t peaks[2];
  for (const int times : {1, 8}) {
    const cv::Size size(640, 512 * times);
    const std::vector<Block> list = blocks(size);
    const Outcome outcome = run(detector(), source_of(list, size), options);
    EXPECT_EQ(outcome.report.objects, static_cast<int64_t>(list.size()));
    peaks[times / 8] = outcome.report.peak_waiting;
  }
  EXPECT_GT(peaks[0], 10);
  EXPECT_EQ(peaks[1], peaks[0]);
}

TEST_P(TiledDetection, NeverTouchesRowsThatItCalledFinal) {
  int final_row = 0;
  detect_tiled(detector(), source_, small_tiles(GetParam()), [&](const auto& found, int row) {
    for (const Instance& one : found) EXPECT_GE(one.box.y, final_row);
    EXPECT_GE(row, final_row);
    final_row = row;
  });
  EXPECT_EQ(final_row, size_.height);
}

TEST_P(TiledDetection, FindsWhatIsLargerThanATileInTheWholeImage) {
  const std::vector<Block> list = {{{90, 80, 420, 400}, 0}, {{600, 600, 20, 20}, 0}};
  TiledDetectionOptions options = small_tiles(GetParam());
  const Outcome tiles_only = run(detector(-1e-6), source_of(list, size_), options);
  EXPECT_GT(tiles_only.found.size(), 2u);
  options.whole_image = {200, 200};
  const Outcome outcome = run(detector(-1e-6), source_of(list, size_), options);
  ASSERT_EQ(outcome.found.size(), 2u);
  const auto large = std::max_element(
      outcome.found.begin(), outcome.found.end(),
      [](const Instance& a, const Instance& b) { return a.box.area() < b.box.area(); });
  const cv::Rect2f truth = list[0].box;
  EXPECT_GT((large->box & truth).area(), 0.97 * std::max(truth.area(), large->box.area()));
  cv::Mat outside = large->mask.pixels.clone();
  outside((list[0].box & large->mask.region) - large->mask.region.tl()).setTo(0);
  EXPECT_LT(cv::countNonZero(outside), 0.02 * truth.area());
  EXPECT_GT(cv::countNonZero(large->mask.pixels), 0.98 * truth.area());
}

TEST_F(TiledDetection, SkipsTilesWithoutData) {
  WindowSource source = source_;
  source.read = [&](const cv::Rect& window) {
    WindowPixels pixels = source_.read(window);
    pixels.valid = cv::Mat(window.size(), CV_8UC1, cv::Scalar(0));
    const cv::Rect data = window & cv::Rect(0, 0, size_.width, 300);
    if (!data.empty()) pixels.valid(data - window.tl()).setTo(255);
    return pixels;
  };
  const Outcome outcome = run(detector(), source, small_tiles());
  EXPECT_EQ(outcome.report.tiles, 7 * 4);  // those that begin at row 0, 96, 192 and 288
  EXPECT_EQ(outcome.report.skipped, 7 * 3);
  for (const Instance& one : outcome.found) EXPECT_LT(one.box.y, 416);
}

TEST_F(TiledDetection, OfAnImageSmallerThanATileIsOneTile) {
  const cv::Mat image(40, 50, CV_8UC3, cv::Scalar(0, 255, 0));
  TiledDetectionOptions options = small_tiles();
  options.whole_image = {64, 64};
  int images = 0;
  const auto counting = [&](const std::vector<cv::Mat>& batch) {
    images += static_cast<int>(batch.size());
    return detector()(batch);
  };
  const Outcome outcome = run(counting, window_source(image), options);
  EXPECT_EQ(sorted(outcome.found), (std::vector<Found>{found_of(1, {0, 0, 50, 40})}));
  EXPECT_EQ(images, 1);
  EXPECT_EQ(outcome.report.tiles, 1);
}

TEST_F(TiledDetection, PassesOnWhateverIsThrown) {
  const auto broken = [](const auto&...) -> std::vector<std::vector<Instance>> {
    throw std::runtime_error("model");
  };
  EXPECT_THROW(run(broken, source_, small_tiles()), std::runtime_error);
  WindowSource source = source_;
  source.read = [&](const cv::Rect& window) {
    return window.y > 200 ? throw std::runtime_error("file") : source_.read(window);
  };
  EXPECT_THROW(run(detector(), source, small_tiles()), std::runtime_error);
  const auto sink = [](const auto&, int) { throw std::runtime_error("disk"); };
  EXPECT_THROW(detect_tiled(detector(), source_, small_tiles(), sink), std::runtime_error);
}

TEST(ReduceImage, IsTheMeanOfWhatEachPixelCovers) {
  cv::Mat image(613, 97, CV_8UC3);
  cv::randu(image, 0, 256);
  for (const cv::Size size : {cv::Size(97, 613), cv::Size(41, 259), cv::Size(1, 3)}) {
    cv::Mat expected;
    cv::resize(image, expected, size, 0, 0, cv::INTER_AREA);
    EXPECT_LE(cv::norm(reduce_image(window_source(image), size), expected, cv::NORM_INF), 1);
  }
  EXPECT_EQ(cv::norm(reduce_image(window_source(image), image.size()), image, cv::NORM_INF), 0);
}

}  // namespace
}  // namespace hornet
