#include <hornet/backbone/error.h>
#include <hornet/pipelines/image_list.h>
#include <hornet/pipelines/label_metrics.h>
#include <hornet/pipelines/label_reader.h>
#include <hornet/pipelines/palette_tables.h>

#include <fstream>
#include <iterator>

#include "demos/eval_job.h"

namespace hornet::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

cv::Mat read_labels(const fs::path& file) {
  LabelReader labels(file);
  return labels.read(cv::Rect({}, labels.size()));
}

std::string read_file(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// Classes of predictions, which no model tells: of --palette, the folder's classes.json as
// `hornet segment` writes it, or --num-classes.
Palette classes_of_predictions(const EvalJob& job) {
  const std::string& name = job.segmentor.palette;
  const fs::path beside = job.predictions / "classes.json";
  if (job.num_classes > 0) return Palette::make(name, job.num_classes, {}, {});
  if (const BuiltInPalette* table = built_in_palette(name)) {
    return Palette::make(name, static_cast<int>(table->size), {}, {});
  }
  const fs::path file = name.empty() ? beside : fs::path(name);
  if (fs::is_regular_file(file)) return parse_palette(read_file(file), file.string());
  throw Error(ErrorCode::kUsage, job.predictions.string() +
                                     ": has no classes.json; say with --palette or --num-classes "
                                     "what its labels are");
}

// PREDICTIONS/name.png or .tif, as `hornet segment` names the labels of name.jpg.
fs::path prediction_of(const EvalJob& job, const fs::path& image) {
  const fs::path png = job.predictions / (image.stem().string() + ".png");
  if (fs::exists(png)) return png;
  const fs::path tiff = job.predictions / (image.stem().string() + ".tif");
  return fs::exists(tiff) ? tiff : png;
}

// A list of images and label maps, and what gives labels to compare with: a model, or files.
class SegmentationRun {
 public:
  explicit SegmentationRun(const EvalJob& job) : job_(job), list_(read_image_list(job.data)) {
    if (!job.weights.empty()) {
      segmentor_.emplace(job.weights, job.runtime, job.segmentor);
      announce(architecture_name(segmentor_->architecture()), segmentor_->load_report(),
               segmentor_->runtime().device_name());
    }
    palette_ = segmentor_ ? segmentor_->palette() : classes_of_predictions(job);
    constexpr int kUsual = 255;
    const auto own = segmentor_ ? segmentor_->ignore_label() : std::nullopt;
    ignore_label_ = job.ignore_label.value_or(own.value_or(kUsual));
    metrics_.emplace(palette_.size(), ignore_label_);
  }

  Evaluation run() {
    Evaluation out;
    const auto skipped = for_each_batch(
        job_, list_.size(), [&](size_t i) { return load(i); },
        [&](std::vector<EvalItem>& items) {
          for (const EvalItem& item : items) compare(item);
        });
    for (const SkippedItem& item : skipped) out.skipped.push_back(item.reason);
    out.images = static_cast<int64_t>(list_.size() - skipped.size());
    if (segmentor_) out.device = segmentor_->runtime().device_name();
    out.ignore_label = ignore_label_;
    if (const int64_t foreign = metrics_->foreign_pixels(); foreign > 0) {
      out.warnings.push_back(std::to_string(foreign) + " of " + std::to_string(metrics_->pixels()) +
                             " pixels have true labels beyond the " +
                             std::to_string(palette_.size()) +
                             " classes: is there another --ignore-label?");
    }
    report(metrics_->scores(), out);
    return out;
  }

 private:
  EvalItem load(size_t index) const {
    const ListedImage& listed = list_[index];
    EvalItem item{index, {}, read_labels(label_path(job_.data, listed))};
    if (job_.reduce_zero_label) item.truth = reduce_zero_label(item.truth, ignore_label_);
    item.input =
        segmentor_ ? load_image(listed.image) : read_labels(prediction_of(job_, listed.image));
    return item;
  }

  void compare(const EvalItem& item) {
    const ListedImage& listed = list_[item.index];
    try {
      if (item.input.size() != item.truth.size()) {
        throw Error(ErrorCode::kInput, "the labels are " + std::to_string(item.truth.cols) + "x" +
                                           std::to_string(item.truth.rows) + " pixels, the image " +
                                           std::to_string(item.input.cols) + "x" +
                                           std::to_string(item.input.rows));
      }
      metrics_->add(segmentor_ ? (*segmentor_)(item.input) : item.input, item.truth);
    } catch (const Error& error) {
      throw Error(error.code(),
                  listed.image.string() + " with " + listed.label + ": " + error.what());
    }
  }

  void report(const LabelScores& scores, Evaluation& out) const {
    out.figures = {{"mIoU", figure_json(scores.mean_iou)},
                   {"mAcc", figure_json(scores.mean_accuracy)},
                   {"aAcc", figure_json(scores.pixel_accuracy)}};
    std::vector<std::vector<std::string>> rows = {{"class", "IoU", "Acc"}};
    out.classes = ordered_json::array();
    for (int i = 0; i < palette_.size(); ++i) {
      const double iou = scores.iou[i], accuracy = scores.accuracy[i];
      out.classes.push_back({{"index", i},
                             {"name", palette_.names[i]},
                             {"IoU", figure_json(iou)},
                             {"Acc", figure_json(accuracy)}});
      rows.push_back({palette_.names[i], figure_text(iou), figure_text(accuracy)});
    }
    out.table = table_text({{"", "mIoU", "mAcc", "aAcc"},
                            {"all", figure_text(scores.mean_iou), figure_text(scores.mean_accuracy),
                             figure_text(scores.pixel_accuracy)}}) +
                "\n" + table_text(rows);
  }

  const EvalJob& job_;
  std::vector<ListedImage> list_;
  std::optional<Segmentor> segmentor_;
  Palette palette_;
  int ignore_label_ = 0;
  std::optional<LabelMetrics> metrics_;
};

}  // namespace

Evaluation evaluate_segmentation(const EvalJob& job) { return SegmentationRun(job).run(); }

}  // namespace hornet::cli
