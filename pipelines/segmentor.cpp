#include <hornet/backbone/error.h>
#include <hornet/pipelines/forward.h>
#include <hornet/pipelines/measure.h>
#include <hornet/pipelines/model_defaults.h>
#include <hornet/pipelines/segmentor.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace hornet {
namespace {

constexpr double kScales[] = {0.5, 0.75, 1.0, 1.25, 1.5, 1.75};  // the authors' --aug-test
constexpr int kSmallestSide = 32;

void check_side(cv::Size size, const std::string& what) {
  if (std::min(size.width, size.height) >= kSmallestSide) return;
  throw Error(ErrorCode::kInput, what + " of " + std::to_string(size.width) + "x" +
                                     std::to_string(size.height) + " pixels: expected at least " +
                                     std::to_string(kSmallestSide) + "x" +
                                     std::to_string(kSmallestSide));
}

// The checkpoint's colours. A palette of another length, left from the data set that a model was
// pretrained on, says nothing about these classes.
std::vector<cv::Vec3b> colors_of(const weights::Metadata& meta, int64_t classes) {
  std::vector<cv::Vec3b> colors;
  if (static_cast<int64_t>(meta.palette.size()) != classes) return colors;
  for (const auto& [red, green, blue] : meta.palette) colors.emplace_back(blue, green, red);
  return colors;
}

SegmentorOptions with_defaults(SegmentorOptions options, const weights::Metadata& meta) {
  const bool asked =
      options.whole || options.tile || options.stride || options.blend != Blend::kMean;
  if (asked) return options;
  const SegmentDefaults defaults = segment_defaults(meta);
  options.whole = defaults.whole;
  if (!options.size) options.size = defaults.size;
  return options;
}

SlideOptions slide_of(const LoadedModel& model, const SegmentorOptions& options) {
  SlideOptions slide = official_slide(model);
  if (options.tile && *options.tile != slide.tile) {
    slide = {*options.tile, std::max<int64_t>(*options.tile * 2 / 3, 1)};
  }
  if (options.stride) slide.stride = *options.stride;
  if (slide.tile < kSmallestSide || slide.stride < 1 || slide.stride > slide.tile) {
    throw Error(ErrorCode::kUsage, "windows of " + std::to_string(slide.tile) + " pixels every " +
                                       std::to_string(slide.stride) +
                                       ": expected --tile of at least 32, and --stride from 1 to "
                                       "--tile");
  }
  return slide;
}

// The official pipeline at a box's size: resized with its aspect ratio, normalised.
torch::Tensor input_of(const cv::Mat& bgr, cv::Size box) {
  const Preprocessed image = preprocess(bgr, segmentation_preprocess(box));
  check_side(image.image_size, "--tta or --size make an image");
  return image.input;
}

bool same(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& left, const auto& right) { return torch::equal(left, right); });
}

cv::Size scaled(cv::Size size, double ratio) {
  return {static_cast<int>(size.width * ratio), static_cast<int>(size.height * ratio)};
}

}  // namespace

Segmentor::Segmentor(const std::filesystem::path& checkpoint, const RuntimeOptions& runtime,
                     const SegmentorOptions& options)
    : runtime_(runtime), options_(options) {
  LoadedModel loaded = load_model(weights::read(checkpoint), options.allow_partial);
  auto* model = std::get_if<UperNet>(&loaded.module);
  if (model == nullptr) {
    throw Error(ErrorCode::kWeights, checkpoint.string() + " is for " +
                                         task_name(loaded.architecture.task) + " (" +
                                         architecture_name(loaded.architecture) +
                                         "); segmentation needs a UperNet checkpoint");
  }
  model_ = *model;
  architecture_ = loaded.architecture;
  load_report_ = loaded.report;
  options_ = with_defaults(options, loaded.meta);
  slide_ = slide_of(loaded, options);
  ignore_label_ = segment_defaults(loaded.meta).ignore_label;
  if (ignore_label_ && *ignore_label_ < architecture_.num_classes) ignore_label_.reset();
  palette_ = Palette::make(options.palette, static_cast<int>(architecture_.num_classes),
                           loaded.meta.classes, colors_of(loaded.meta, architecture_.num_classes));
  runtime_.place(*model_);
}

cv::Mat Segmentor::operator()(const cv::Mat& image) {
  const WindowSource source = window_source(image);
  cv::Mat labels(source.size, palette_.wide() ? CV_16UC1 : CV_8UC1);
  LabelSink sink;
  sink.labels = [&](const cv::Rect& where, const cv::Mat& part) { part.copyTo(labels(where)); };
  for (const cv::Rect& region : regions(source, false)) (*this)(source, sink, region);
  return labels;
}

SegmentReport Segmentor::operator()(const WindowSource& source, const LabelSink& sink,
                                    const cv::Rect& region, SegmentRun run) {
  check_side(source.size, "an image");
  if (takes_whole_images()) return segment_whole(source, sink, run);
  run.batch_size = options_.batch_size;
  return segment_region(source, make_tiling(source.size, slide_, options_.blend), window_model(),
                        region, sink, run);
}

// UperNet's logits have the stride of the finest map; tests at several scales end at the window's.
WindowScores Segmentor::window_scores() const {
  constexpr int kFinestStride = 4;
  const auto classes = static_cast<int>(architecture_.num_classes);
  if (!options_.tta) return {classes, kFinestStride};
  double inputs = 0;  // of every scale, each with its mirror image
  for (double scale : kScales) inputs += 2 * scale * scale;
  return {classes, 1, static_cast<int>(std::ceil(inputs))};
}

// A window's inputs: the window itself, or its six scales, each with its mirror image.
WindowModel Segmentor::window_model() {
  WindowModel model;
  model.scores = window_scores();
  model.gives_probabilities = options_.tta;
  model.prepare = [this](const std::vector<cv::Mat>& windows) {
    std::vector<std::vector<torch::Tensor>> batches;
    for (const cv::Mat& window : windows) {
      const std::vector<torch::Tensor> inputs = augmented(window, window.size());
      batches.resize(inputs.size());
      for (size_t i = 0; i < inputs.size(); ++i) batches[i].push_back(inputs[i]);
    }
    std::vector<torch::Tensor> joined;
    for (const auto& batch : batches) joined.push_back(torch::cat(batch));
    return joined;
  };
  model.run = [this](const std::vector<torch::Tensor>& inputs, cv::Size window) {
    // A raster's first windows have been run already if memory was measured with them.
    const std::optional<Measured> measured = std::exchange(measured_, std::nullopt);
    if (measured && same(measured->inputs, inputs)) return measured->scores;
    return runtime_.run([&] {
      if (!options_.tta) return model_->forward(inputs.front().to(runtime_.device()));
      torch::Tensor sum;
      for (size_t i = 0; i < inputs.size(); ++i) {
        const torch::Tensor images = inputs[i].to(runtime_.device());
        const torch::Tensor at_input_size = resize_bilinear(
            model_->forward(images).to(torch::kFloat32), images.size(2), images.size(3));
        const torch::Tensor logits = resize_bilinear(at_input_size, window.height, window.width);
        const torch::Tensor probabilities = logits.softmax(1);
        const torch::Tensor upright = i % 2 == 1 ? probabilities.flip(3) : probabilities;
        sum = sum.defined() ? sum.add_(upright) : upright;
      }
      return sum.div_(static_cast<double>(inputs.size()));
    });
  };
  return model;
}

// Inputs of one image, scale by scale; with tta, each is followed by its mirror image.
std::vector<torch::Tensor> Segmentor::augmented(const cv::Mat& bgr, cv::Size box) const {
  if (!options_.tta) return {input_of(bgr, box)};
  std::vector<torch::Tensor> inputs;
  for (double scale : kScales) {
    inputs.push_back(input_of(bgr, scaled(box, scale)));
    inputs.push_back(inputs.back().flip(3));
  }
  return inputs;
}

// [C,H,W] at the image's size: logits, or with tta the mean of probabilities.
torch::Tensor Segmentor::whole_scores(const cv::Mat& bgr) {
  const std::vector<torch::Tensor> inputs = augmented(bgr, options_.size.value_or(bgr.size()));
  return runtime_.run([&] {
    torch::Tensor sum;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const torch::Tensor images = inputs[i].to(runtime_.device());
      const torch::Tensor at_input_size =
          options_.whole.value_or(false)
              ? resize_bilinear(model_->forward(images).to(torch::kFloat32), images.size(2),
                                images.size(3))
              : model_->slide(images, slide_);
      const torch::Tensor logits = resize_bilinear(at_input_size, bgr.rows, bgr.cols)[0];
      if (!options_.tta) return logits;
      const torch::Tensor probabilities = logits.softmax(0);
      const torch::Tensor upright = i % 2 == 1 ? probabilities.flip(2) : probabilities;
      sum = sum.defined() ? sum.add_(upright) : upright;
    }
    return sum.div_(static_cast<double>(inputs.size()));
  });
}

SegmentReport Segmentor::segment_whole(const WindowSource& source, const LabelSink& sink,
                                       const SegmentRun& run) {
  SegmentReport report;
  const cv::Rect all({0, 0}, source.size);
  const WindowPixels image = [&] {
    const StageTimer timer(report.read);
    return source.read(all);
  }();
  const torch::Tensor scores = [&] {
    const StageTimer timer(report.infer);
    return whole_scores(image.bgr).cpu();
  }();
  const StageTimer timer(report.write);
  const cv::Mat nothing = image.valid.empty() ? cv::Mat() : cv::Mat(image.valid == 0);
  if (sink.probabilities) {
    const torch::Tensor probabilities = options_.tta ? scores : scores.softmax(0);
    std::vector<cv::Mat> planes;
    for (int64_t c = 0; c < probabilities.size(0); ++c) {
      planes.emplace_back(all.size(), CV_32FC1, probabilities[c].data_ptr());
      if (!nothing.empty()) planes.back().setTo(0, nothing);
    }
    sink.probabilities(all, planes);
  }
  const torch::Tensor indices = scores.argmax(0).to(torch::kInt32);
  cv::Mat labels;
  cv::Mat(all.size(), CV_32SC1, indices.data_ptr())
      .convertTo(labels, palette_.wide() ? CV_16UC1 : CV_8UC1);
  if (!nothing.empty()) labels.setTo(palette_.nodata(), nothing);
  sink.labels(all, labels);
  report.windows = 1;
  report.rows = source.size.height;
  run.progress(1);
  return report;
}

int64_t Segmentor::count_windows(cv::Size image, const cv::Rect& region) const {
  if (takes_whole_images()) return 1;
  return hornet::count_windows(make_tiling(image, slide_, options_.blend), region);
}

// What the process holds with the model at work, found by running it once: on the windows that come
// first, so that nothing is run in vain. What earlier images took does not count.
int64_t Segmentor::bytes_in_use(const WindowSource& source, const Tiling& tiling) {
  const size_t count = std::min(static_cast<size_t>(options_.batch_size), tiling.x.starts.size());
  std::vector<cv::Mat> windows;
  for (size_t i = 0; i < count; ++i) {
    windows.push_back(source.read({{tiling.x.starts[i], 0}, tiling.tile()}).bgr);
  }
  const WindowModel model = window_model();
  const std::optional<MemoryUse> use = memory_of([&] {
    translate_errors([&] {
      const std::vector<torch::Tensor> inputs = model.prepare(windows);
      measured_ = Measured{inputs, model.run(inputs, tiling.tile())};
    });
  });
  // GDAL's cache, queues, and what the allocator does not give back.
  constexpr int64_t kReserve = int64_t{256} << 20;
  return (use ? use->peak : peak_host_bytes().value_or(0)) + kReserve;
}

std::vector<cv::Rect> Segmentor::regions(const WindowSource& source, bool probabilities) {
  const cv::Size image = source.size;
  check_side(image, "an image");
  const int classes = static_cast<int>(architecture_.num_classes);
  if (takes_whole_images()) {
    // Logits at the image's and at the input's size, and the one being added.
    const int64_t pixels = int64_t{1} * image.width * image.height;
    constexpr int64_t kCopies = 3, kFloat = 4;
    if (pixels > options_.max_memory / (kCopies * kFloat * classes)) {
      throw Error(ErrorCode::kInput,
                  "an image of " + std::to_string(image.width) + "x" +
                      std::to_string(image.height) + " pixels, taken as a whole, needs " +
                      std::to_string((pixels >> 10) * kCopies * kFloat * classes >> 10) +
                      " MiB of logits; raise --max-memory, or use --mode slide without --size to "
                      "go over it in windows");
    }
    return {{{0, 0}, image}};
  }
  const Tiling tiling = make_tiling(image, slide_, options_.blend);
  const WindowScores scores = window_scores();
  const int64_t full =
      bytes_of_region(tiling, scores, probabilities, options_.batch_size, image.width);
  // Running the model takes a moment: only where it can matter.
  constexpr int64_t kSmallPart = 8;
  const bool on_host = runtime_.device().is_cpu();
  const int64_t in_use =
      on_host && full > options_.max_memory / kSmallPart ? bytes_in_use(source, tiling) : 0;
  return column_blocks(tiling, scores, probabilities, options_.batch_size,
                       options_.max_memory - in_use);
}

}  // namespace hornet
