// The streaming engine with models that are easy to predict: what a window says depends on its
// pixels and on where they lie in it.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/segment_windows.h>
#include <torch/types.h>

#include <algorithm>
#include <atomic>
#include <opencv2/core.hpp>

namespace hornet {
namespace {

constexpr int kClasses = 5;

// A source of made-up pixels of any size, which remembers the largest window it was asked for.
struct Scene {
  cv::Size size;
  cv::Rect hole;
  int64_t largest = 0;
  int rows_read = 0;

  WindowPixels read(const cv::Rect& window) {
    largest = std::max<int64_t>(largest, window.area());
    rows_read += window.height;
    WindowPixels pixels;
    pixels.bgr.create(window.size(), CV_8UC3);
    for (int y = 0; y < window.height; ++y) {
      for (int x = 0; x < window.width; ++x) {
        const int value = ((window.y + y) * 7 + (window.x + x) * 13) % 251;
        pixels.bgr.at<cv::Vec3b>(y, x) =
            cv::Vec3b(static_cast<uint8_t>(value), static_cast<uint8_t>(255 - value), 7);
      }
    }
    const cv::Rect empty = hole & window;
    if (!empty.empty()) {
      pixels.valid = cv::Mat(window.size(), CV_8UC1, cv::Scalar(255));
      pixels.valid(empty - window.tl()).setTo(0);
    }
    return pixels;
  }
  WindowSource source() {
    return {size, [this](const cv::Rect& window) { return read(window); }};
  }
};

// Scores at half the resolution that depend on the colour and on the place in the window.
torch::Tensor scores_of(const torch::Tensor& images) {
  const torch::Tensor low = images.slice(2, 0, images.size(2), 2).slice(3, 0, images.size(3), 2);
  const torch::Tensor place = torch::arange(low.size(2) * low.size(3))
                                  .view({1, 1, low.size(2), low.size(3)})
                                  .to(torch::kFloat32);
  std::vector<torch::Tensor> classes;
  for (int c = 0; c < kClasses; ++c) {
    classes.push_back(torch::sin(low.slice(1, 0, 1) * (0.11 * (c + 1)) + place * (0.003 * c)));
  }
  return torch::cat(classes, 1);
}

WindowModel model(int* largest_batch = nullptr) {
  WindowModel model;
  model.scores = {kClasses, 2};
  model.prepare = [largest_batch](const std::vector<cv::Mat>& windows) {
    if (largest_batch != nullptr) {
      *largest_batch = std::max(*largest_batch, static_cast<int>(windows.size()));
    }
    std::vector<torch::Tensor> images;
    for (const cv::Mat& window : windows) {
      const cv::Mat dense = window.clone();
      images.push_back(torch::from_blob(dense.data, {1, dense.rows, dense.cols, 3}, torch::kUInt8)
                           .to(torch::kFloat32)
                           .permute({0, 3, 1, 2})
                           .contiguous());
    }
    return std::vector<torch::Tensor>{torch::cat(images)};
  };
  model.run = [](const std::vector<torch::Tensor>& inputs, cv::Size) {
    return scores_of(inputs.front());
  };
  return model;
}

// Labels and probabilities in memory, written in order.
struct Canvas {
  explicit Canvas(cv::Size size, bool wants_planes = false)
      : labels(size, CV_8UC1, cv::Scalar(77)), planes(wants_planes ? kClasses : 0) {
    for (cv::Mat& plane : planes) plane = cv::Mat(size, CV_32FC1, cv::Scalar(-1));
  }
  LabelSink sink() {
    LabelSink sink;
    sink.labels = [this](const cv::Rect& where, const cv::Mat& part) {
      EXPECT_EQ(where.y % kLabelBlock, 0);
      part.copyTo(labels(where));
    };
    if (planes.empty()) return sink;
    sink.probabilities = [this](const cv::Rect& where, const std::vector<cv::Mat>& parts) {
      for (int c = 0; c < kClasses; ++c) parts[c].copyTo(planes[c](where));
    };
    return sink;
  }
  cv::Mat labels;
  std::vector<cv::Mat> planes;
};

cv::Mat segment_all(Scene& scene, const Tiling& tiling, const std::vector<cv::Rect>& regions,
                    int batch_size = 1) {
  Canvas canvas(scene.size);
  for (const cv::Rect& region : regions) {
    SegmentRun run;
    run.batch_size = batch_size;
    segment_region(scene.source(), tiling, model(), region, canvas.sink(), run);
  }
  return canvas.labels;
}

bool equal(const cv::Mat& a, const cv::Mat& b) {
  return a.size() == b.size() && cv::countNonZero(a != b) == 0;
}

// The textbook way: everything in memory. [C,H,W], the weighted mean of all windows.
torch::Tensor mean_scores(Scene& scene, const Tiling& tiling) {
  const cv::Size size = scene.size;
  torch::Tensor sum = torch::zeros({kClasses, size.height, size.width}, torch::kFloat64);
  torch::Tensor weight = torch::zeros({size.height, size.width}, torch::kFloat64);
  const WindowModel m = model();
  for (int y : tiling.y.starts) {
    for (int x : tiling.x.starts) {
      const cv::Rect window({x, y}, tiling.tile());
      const torch::Tensor scores =
          torch::upsample_bilinear2d(m.run(m.prepare({scene.read(window).bgr}), window.size()),
                                     {window.height, window.width}, false)[0];
      for (int i = 0; i < window.height; ++i) {
        for (int j = 0; j < window.width; ++j) {
          const double w = tiling.y.window[i] * tiling.x.window[j];
          weight[y + i][x + j] += w;
        }
      }
      const torch::Tensor w =
          torch::tensor(tiling.y.window).unsqueeze(1) * torch::tensor(tiling.x.window);
      sum.slice(1, y, y + window.height).slice(2, x, x + window.width).add_(scores * w);
    }
  }
  return sum / weight;
}

class Segmenting : public ::testing::TestWithParam<Blend> {};

TEST_P(Segmenting, GivesTheWeightedMeanOfAllWindows) {
  Scene scene{{75, 61}, {}};
  const Tiling tiling = make_tiling(scene.size, {32, 21}, GetParam());
  Canvas canvas(scene.size, true);
  segment_region(scene.source(), tiling, model(), {{0, 0}, scene.size}, canvas.sink(), {});
  const torch::Tensor wanted = mean_scores(scene, tiling);
  const torch::Tensor probabilities = wanted.softmax(0);
  int64_t differ = 0;
  for (int y = 0; y < scene.size.height; ++y) {
    for (int x = 0; x < scene.size.width; ++x) {
      differ += canvas.labels.at<uint8_t>(y, x) !=
                wanted.slice(1, y, y + 1).slice(2, x, x + 1).argmax().item<int64_t>();
      for (int c = 0; c < kClasses; ++c) {
        ASSERT_NEAR(canvas.planes[c].at<float>(y, x), probabilities[c][y][x].item<double>(), 1e-5);
      }
    }
  }
  EXPECT_LE(differ, 2);  // ties within rounding
}

INSTANTIATE_TEST_SUITE_P(Blends, Segmenting, ::testing::Values(Blend::kMean, Blend::kHann));

TEST(SegmentRegion, DoesNotDependOnRegionsOrBatches) {
  Scene scene{{1100, 700}, {}};
  const Tiling tiling = make_tiling(scene.size, {96, 64}, Blend::kHann);
  const cv::Mat whole = segment_all(scene, tiling, {{0, 0, 1100, 700}});
  EXPECT_TRUE(equal(whole, segment_all(scene, tiling, {{0, 0, 1100, 700}}, 5)));
  EXPECT_TRUE(equal(whole, segment_all(scene, tiling, {{0, 256, 1100, 444}, {0, 0, 1100, 256}})));
  EXPECT_TRUE(equal(
      whole,
      segment_all(scene, tiling, {{0, 0, 256, 700}, {256, 0, 512, 700}, {768, 0, 332, 700}})));
}

TEST(SegmentRegion, BatchesWindowsOfARow) {
  Scene scene{{500, 100}, {}};
  const Tiling tiling = make_tiling(scene.size, {64, 43}, Blend::kMean);
  int largest = 0;
  Canvas canvas(scene.size);
  SegmentRun run;
  run.batch_size = 4;
  const SegmentReport report = segment_region(scene.source(), tiling, model(&largest),
                                              {{0, 0}, scene.size}, canvas.sink(), run);
  EXPECT_EQ(largest, 4);
  EXPECT_EQ(report.windows, count_windows(tiling, {{0, 0}, scene.size}));
  EXPECT_EQ(report.rows, 100);
}

TEST(SegmentRegion, SkipsWindowsWithoutDataAndMarksPixels) {
  Scene scene{{400, 600}, {100, 50, 300, 500}};
  const Tiling tiling = make_tiling(scene.size, {64, 43}, Blend::kMean);
  Canvas canvas(scene.size, true);
  const SegmentReport report =
      segment_region(scene.source(), tiling, model(), {{0, 0}, scene.size}, canvas.sink(), {});
  EXPECT_GT(report.skipped, 20);
  cv::Mat hole(scene.size, CV_8UC1, cv::Scalar(0));
  hole(scene.hole).setTo(255);
  EXPECT_TRUE(equal(canvas.labels == 255, hole));
  for (const cv::Mat& plane : canvas.planes) {
    EXPECT_EQ(cv::countNonZero(plane(scene.hole)), 0);
    EXPECT_GT(plane.at<float>(0, 0), 0.0f);
  }
}

TEST(SegmentRegion, AnImageWithoutAnyData) {
  Scene scene{{100, 300}, {0, 0, 100, 300}};
  const Tiling tiling = make_tiling(scene.size, {64, 43}, Blend::kMean);
  Canvas canvas(scene.size);
  const SegmentReport report =
      segment_region(scene.source(), tiling, model(), {{0, 0}, scene.size}, canvas.sink(), {});
  EXPECT_EQ(report.skipped, report.windows);
  EXPECT_EQ(cv::countNonZero(canvas.labels != 255), 0);
}

TEST(SegmentRegion, ReadsEveryRowOnceAndNeverMoreThanAStrip) {
  Scene scene{{200, 3000}, {}};
  const Tiling tiling = make_tiling(scene.size, {64, 43}, Blend::kMean);
  segment_all(scene, tiling, {{0, 0, 200, 3000}});
  EXPECT_EQ(scene.rows_read, 3000);
  EXPECT_LE(scene.largest, 200 * 64);
}

TEST(SegmentRegion, StopsAfterCompleteBlocks) {
  Scene scene{{64, 2000}, {}};
  const Tiling tiling = make_tiling(scene.size, {64, 43}, Blend::kMean);
  Canvas canvas(scene.size);
  SegmentRun run;
  std::atomic<int64_t> done{0};
  run.progress = [&](int64_t windows) { done += windows; };
  run.stop = [&] { return done >= 14; };  // at row 14 * 43 = 602
  const SegmentReport report =
      segment_region(scene.source(), tiling, model(), {{0, 0}, scene.size}, canvas.sink(), run);
  EXPECT_GE(report.rows, 512);
  EXPECT_LT(report.rows, 2000);
  EXPECT_EQ(report.rows % kLabelBlock, 0);
  EXPECT_EQ(cv::countNonZero(canvas.labels.rowRange(report.rows, 2000) != 77), 0);
  EXPECT_EQ(cv::countNonZero(canvas.labels.rowRange(0, report.rows) == 77), 0);
}

TEST(SegmentRegion, ErrorsOfEveryThreadSurfaceOnce) {
  Scene scene{{200, 600}, {}};
  const Tiling tiling = make_tiling(scene.size, {64, 43}, Blend::kMean);
  const cv::Rect all({0, 0}, scene.size);
  Canvas canvas(scene.size);
  const auto fails = [](const std::string& where) -> Error { return {ErrorCode::kInput, where}; };
  WindowSource broken{scene.size, [&](const cv::Rect& window) -> WindowPixels {
                        if (window.y > 200) throw fails("source");
                        return scene.read(window);
                      }};
  EXPECT_THROW(segment_region(broken, tiling, model(), all, canvas.sink(), {}), Error);
  WindowModel bad = model();
  bad.run = [&](const std::vector<torch::Tensor>&, cv::Size) -> torch::Tensor {
    throw fails("model");
  };
  EXPECT_THROW(segment_region(scene.source(), tiling, bad, all, canvas.sink(), {}), Error);
  LabelSink sink;
  sink.labels = [&](const cv::Rect&, const cv::Mat&) { throw fails("sink"); };
  EXPECT_THROW(segment_region(scene.source(), tiling, model(), all, sink, {}), Error);
}

TEST(SegmentRegion, MoreThan255ClassesTake16Bits) {
  Scene scene{{90, 70}, {10, 20, 30, 25}};
  const Tiling tiling = make_tiling(scene.size, {32, 21}, Blend::kMean);
  constexpr int kMany = 300, kWinner = 271;
  WindowModel many = model();
  many.scores = {kMany, 1};
  many.run = [](const std::vector<torch::Tensor>& inputs, cv::Size window) {
    const torch::Tensor scores =
        torch::zeros({inputs.front().size(0), kMany, window.height, window.width});
    scores.select(1, kWinner).fill_(1);
    return scores;
  };
  cv::Mat labels(scene.size, CV_16UC1, cv::Scalar(7));
  LabelSink sink;
  sink.labels = [&](const cv::Rect& where, const cv::Mat& part) { part.copyTo(labels(where)); };
  segment_region(scene.source(), tiling, many, {{0, 0}, scene.size}, sink, {});
  cv::Mat wanted(scene.size, CV_16UC1, cv::Scalar(kWinner));
  wanted(scene.hole).setTo(65535);
  EXPECT_TRUE(equal(labels, wanted));
}

// The logits that a region of all rows keeps at once, counted window by window.
int64_t kept_logits(const Tiling& tiling, const WindowScores& scores, const cv::Rect& region) {
  const auto touches = [&](int start) {
    return start < region.x + region.width && start + tiling.x.tile > region.x;
  };
  const int64_t in_a_row = std::count_if(tiling.x.starts.begin(), tiling.x.starts.end(), touches);
  int64_t rows = 0;
  for (int last : tiling.y.starts) {
    rows = std::max<int64_t>(
        rows, std::count_if(tiling.y.starts.begin(), tiling.y.starts.end(),
                            [&](int y) { return y <= last && y + tiling.y.tile > last; }));
  }
  const auto low = [&](int64_t side) { return (side + scores.stride - 1) / scores.stride; };
  return 4 * scores.classes * in_a_row * rows * low(tiling.x.tile) * low(tiling.y.tile);
}

TEST(ColumnBlocks, KnowWhatARegionKeeps) {
  const WindowScores scores = {150, 4};
  for (int width : {500, 512, 513, 520, 600, 853, 1024, 4096}) {
    for (int stride : {64, 341, 512}) {
      const Tiling tiling = make_tiling({width, width}, {512, stride}, Blend::kMean);
      const int64_t kept = kept_logits(tiling, scores, {0, 0, width, width});
      const int64_t bytes = bytes_of_region(tiling, scores, false, 1, width);
      const int64_t pixels = 16 * 512 * 512 * 4 + int64_t{width} * 16 * 512;
      EXPECT_GE(bytes, kept) << width << ' ' << stride;
      EXPECT_LE(bytes, 1.5 * static_cast<double>(kept) + static_cast<double>(pixels))
          << width << ' ' << stride;
    }
  }
}

TEST(ColumnBlocks, FitTheBudgetAndCoverTheImage) {
  const Tiling tiling = make_tiling({20000, 3000}, {512, 341}, Blend::kMean);
  const int64_t budget = int64_t{1} << 30;
  const WindowScores scores = {150, 4};
  const auto blocks = column_blocks(tiling, scores, false, 1, budget);
  EXPECT_GT(blocks.size(), 1u);
  int x = 0;
  for (const cv::Rect& block : blocks) {
    EXPECT_EQ(block.x, x);
    EXPECT_EQ(block.x % kLabelBlock, 0);
    EXPECT_EQ(block.height, 3000);
    EXPECT_LE(kept_logits(tiling, scores, block), budget);
    x += block.width;
  }
  EXPECT_EQ(x, 20000);
  EXPECT_EQ(column_blocks(tiling, {2, 4}, false, 1, budget).size(), 1u);
  const auto narrower = column_blocks(tiling, {150, 1}, false, 1, 8 * budget);  // 16 times as much
  EXPECT_GT(narrower.size(), blocks.size());
  EXPECT_THROW(column_blocks(tiling, scores, false, 1, 1 << 20), Error);
  EXPECT_THROW(column_blocks(tiling, scores, false, 1, -5), Error);
}

// Seams: labels that jump at a window's border more often than elsewhere. The model's answer drifts
// within each window, as a network's does towards its border.
double seam_ratio(Blend blend) {
  Scene scene{{1400, 300}, {}};
  const Tiling tiling = make_tiling(scene.size, {128, 85}, blend);
  WindowModel drifting = model();
  drifting.run = [](const std::vector<torch::Tensor>& inputs, cv::Size window) {
    const torch::Tensor ramp = torch::linspace(-1, 1, window.width).view({1, 1, 1, window.width});
    const torch::Tensor noise = torch::sin(inputs.front().slice(1, 0, 1) * 37.0);  // of the pixel
    const torch::Tensor score = ramp + noise;
    return torch::cat({score, -score}, 1);
  };
  drifting.scores = {2, 1};
  drifting.gives_probabilities = true;
  std::vector<cv::Mat> planes(2);
  for (cv::Mat& plane : planes) plane.create(scene.size, CV_32FC1);
  LabelSink sink;
  sink.labels = [](const cv::Rect&, const cv::Mat&) {};
  sink.probabilities = [&](const cv::Rect& where, const std::vector<cv::Mat>& parts) {
    for (int c = 0; c < 2; ++c) parts[c].copyTo(planes[c](where));
  };
  segment_region(scene.source(), tiling, drifting, {{0, 0}, scene.size}, sink, {});
  // The ramp alone: the column mean of the scores, whose jumps are the windows' doing.
  cv::Mat profile;
  cv::reduce(planes[0], profile, 0, cv::REDUCE_AVG);
  Scene flat{{1400, 300}, {}};
  const WindowPixels pixels = flat.read({{0, 0}, flat.size});
  std::vector<double> borders, interior;
  for (int x = 1; x < scene.size.width; ++x) {
    bool at_border = false;
    for (int start : tiling.x.starts) {
      at_border |= (start > 0 && x == start) || x == start + tiling.x.tile;
    }
    double noise[2] = {0, 0};
    for (int k = 0; k < 2; ++k) {
      for (int y = 0; y < scene.size.height; ++y) {
        noise[k] += std::sin(pixels.bgr.at<cv::Vec3b>(y, x - 1 + k)[0] * 37.0) / scene.size.height;
      }
    }
    const double jump =
        std::abs((profile.at<float>(0, x) - profile.at<float>(0, x - 1)) - (noise[1] - noise[0]));
    (at_border ? borders : interior).push_back(jump);
  }
  const auto mean = [](const std::vector<double>& values) { return cv::mean(values)[0]; };
  return mean(borders) / mean(interior);
}

TEST(Blending, HannShowsNoSeamWhereTheMeanDoes) {
  EXPECT_GT(seam_ratio(Blend::kMean), 5.0);
  EXPECT_LT(seam_ratio(Blend::kHann), 1.5);
}

}  // namespace
}  // namespace hornet
