#include <hornet/backbone/error.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/label_metrics.h>
#include <hornet/pipelines/model_defaults.h>
#include <hornet/pipelines/preprocess.h>
#include <hornet/training/data_parallel.h>
#include <hornet/training/segmentation_task.h>
#include <torch/nn/functional/loss.h>

#include <cmath>
#include <opencv2/imgproc.hpp>

namespace hornet {
namespace {

LabelRules rules_of(const SegmentationOptions& options) {
  if (options.ignore_label < options.palette.size()) {
    throw Error(ErrorCode::kUsage, "--ignore-label " + std::to_string(options.ignore_label) +
                                       ": is one of the " + std::to_string(options.palette.size()) +
                                       " classes");
  }
  return {options.palette.size(), options.ignore_label, options.reduce_zero_label};
}

torch::Tensor normalised(const cv::Mat& bgr) {
  cv::Mat rgb;
  cv::cvtColor(bgr, rgb, cv::COLOR_BGR2RGB);
  return normalize(rgb, segmentation_preprocess());
}

cv::Mat scaled_to(const cv::Mat& bgr, const std::optional<cv::Size>& box) {
  return box ? resize_keep_ratio(bgr, *box) : bgr;
}

// Error(kInput) for an image that the network does not take.
void check_least_size(const cv::Mat& scaled, const std::filesystem::path& path) {
  constexpr int kLeast = 32;
  if (std::min(scaled.cols, scaled.rows) >= kLeast) return;
  throw Error(ErrorCode::kInput, path.string() + ": has " + std::to_string(scaled.cols) + "x" +
                                     std::to_string(scaled.rows) +
                                     " pixels at the size of validation, expected at least 32x32");
}

torch::Tensor as_tensor(const cv::Mat& labels) {
  cv::Mat wide;
  labels.convertTo(wide, CV_32S);
  return torch::from_blob(wide.data, {wide.rows, wide.cols}, torch::kInt32).to(torch::kInt64);
}

}  // namespace

torch::Tensor pixel_cross_entropy(const torch::Tensor& logits, const torch::Tensor& labels,
                                  int64_t ignore, const torch::Tensor& class_weights) {
  namespace F = torch::nn::functional;
  const torch::Tensor full =
      resize_bilinear(logits.to(torch::kFloat32), labels.size(1), labels.size(2));
  const auto options = F::CrossEntropyFuncOptions()
                           .ignore_index(ignore)
                           .weight(class_weights)
                           .reduction(torch::kSum);
  return F::cross_entropy(full, labels, options) / static_cast<double>(labels.numel());
}

SegmentationTask::SegmentationTask(std::vector<SamplePaths> training,
                                   std::vector<SamplePaths> validation,
                                   const SegmentationOptions& options)
    : options_(options),
      training_(std::move(training), rules_of(options), options.cache_bytes),
      validation_(std::move(validation), rules_of(options), options.cache_bytes / 4) {
  TORCH_CHECK(options.architecture.num_classes == options.palette.size(),
              "SegmentationTask: the palette has other classes than the model");
  AnyModel model = build_model(options.architecture);
  model_ = std::get<UperNet>(model);
  if (options.class_balance > 0) class_weights_ = weigh_classes();
}

Example SegmentationTask::example(int64_t index, uint64_t seed) const {
  Random random(seed);
  const LabelledImage crop = augment(training_.read(static_cast<size_t>(index)), options_.augment,
                                     options_.ignore_label, random);
  return {normalised(crop.bgr)[0], {as_tensor(crop.labels)}};
}

Losses SegmentationTask::losses(const Batch& batch) {
  std::vector<torch::Tensor> labels;
  for (const auto& targets : batch.targets) labels.push_back(targets.at(0));
  const torch::Tensor truth = torch::stack(labels);
  if (class_weights_.defined()) class_weights_ = class_weights_.to(truth.device());
  torch::Tensor auxiliary;
  const torch::Tensor logits =
      model_->forward(batch.images, [&](const std::string& name, const torch::Tensor& value) {
        if (name == "aux_logits") auxiliary = value;
      });
  const auto loss = [&](const torch::Tensor& of) {
    return pixel_cross_entropy(of, truth, options_.ignore_label, class_weights_);
  };
  Losses losses;
  losses.parts.emplace_back("decode", loss(logits));
  if (auxiliary.defined()) {
    losses.parts.emplace_back("aux", options_.auxiliary_weight * loss(auxiliary));
  }
  return losses;
}

// A damaged image counts as none here: whether it may be skipped is decided when it is its turn.
torch::Tensor SegmentationTask::weigh_classes() const {
  std::vector<int64_t> pixels(options_.palette.names.size());
  for (size_t i = 0; i < training_.size(); ++i) {
    cv::Mat labels;
    try {
      training_.read(i).labels.convertTo(labels, CV_32S);
    } catch (const Error&) {
      continue;
    }
    for (int y = 0; y < labels.rows; ++y) {
      for (const int *label = labels.ptr<int>(y), *end = label + labels.cols; label < end;
           ++label) {
        if (*label != options_.ignore_label) ++pixels[static_cast<size_t>(*label)];
      }
    }
  }
  return torch::tensor(balanced_weights(pixels, options_.class_balance), torch::kFloat32);
}

cv::Mat SegmentationTask::predict(const cv::Mat& bgr, const Runtime& runtime) {
  const cv::Mat scaled = scaled_to(bgr, options_.augment.box);
  const torch::Tensor labels = runtime.run([&] {
    const torch::Tensor images = normalised(scaled).to(runtime.device());
    const torch::Tensor at_input_size =
        options_.whole ? resize_bilinear(model_->forward(images).to(torch::kFloat32),
                                         images.size(2), images.size(3))
                       : model_->slide(images, {options_.tile, options_.stride});
    const torch::Tensor logits = resize_bilinear(at_input_size, bgr.rows, bgr.cols);
    return logits[0].argmax(0).to(torch::kInt32).cpu();
  });
  cv::Mat out;
  cv::Mat(bgr.size(), CV_32SC1, labels.data_ptr())
      .convertTo(out, options_.palette.wide() ? CV_16U : CV_8U);
  return out;
}

Metrics SegmentationTask::evaluate(const Validation& validation) {
  if (validation_.size() == 0) return {};
  const ProcessTeam& team = validation.team;
  LabelMetrics counts(options_.palette.size(), options_.ignore_label);
  int64_t read = 0;
  const auto first = static_cast<size_t>(team.rank()), step = static_cast<size_t>(team.size());
  for (size_t i = first; i < validation_.size() && !interrupted(); i += step) {
    const auto sample = validation.try_to([&] {
      LabelledImage image = validation_.read(i);
      check_least_size(scaled_to(image.bgr, options_.augment.box), validation_.paths(i).image);
      return image;
    });
    if (!sample) continue;
    ++read;
    counts.add(predict(sample->bgr, validation.runtime), sample->labels);
  }
  if (team.any(interrupted())) return {};
  validation.require_some(read);
  counts.set_counts(team.sums(counts.counts()));
  const LabelScores scores = counts.scores();
  Metrics metrics = {
      {"mIoU", scores.mean_iou}, {"mAcc", scores.mean_accuracy}, {"aAcc", scores.pixel_accuracy}};
  for (size_t i = 0; i < scores.iou.size(); ++i) {
    metrics.emplace_back("IoU " + options_.palette.names[i], scores.iou[i]);
  }
  return metrics;
}

weights::Metadata SegmentationTask::metadata() const {
  weights::Metadata meta;
  meta.classes = options_.palette.names;
  for (const cv::Vec3b& colour : options_.palette.colors) {
    meta.palette.push_back({colour[2], colour[1], colour[0]});
  }
  SegmentDefaults defaults;
  defaults.whole = options_.whole;
  defaults.tile = options_.tile;
  defaults.stride = options_.stride;
  defaults.size = options_.augment.box;
  defaults.ignore_label = options_.ignore_label;
  set_segment_defaults(meta, defaults);
  return meta;
}

}  // namespace hornet
