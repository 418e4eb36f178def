#include <hornet/backbone/error.h>
#include <hornet/heads/detector_settings.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/model_defaults.h>
#include <hornet/pipelines/preprocess.h>
#include <hornet/training/detection_task.h>

#include <opencv2/imgproc.hpp>

namespace hornet {
namespace {

constexpr int kDivisor = 32;  // of what a feature pyramid takes

void check_crop(cv::Size crop) {
  if (crop.width % kDivisor == 0 && crop.height % kDivisor == 0) return;
  throw Error(ErrorCode::kUsage, "--crop " + std::to_string(crop.width) + "x" +
                                     std::to_string(crop.height) +
                                     ": detectors are trained on sides that 32 divides, for "
                                     "example 320 or 512x384");
}

torch::Tensor boxes_tensor(const std::vector<cv::Rect2d>& boxes) {
  torch::Tensor out = torch::empty({static_cast<int64_t>(boxes.size()), 4});
  float* value = out.data_ptr<float>();
  for (const cv::Rect2d& box : boxes) {
    for (const double edge : {box.x, box.y, box.x + box.width, box.y + box.height}) {
      *value++ = static_cast<float>(edge);
    }
  }
  return out;
}

torch::Tensor full_mask(const MaskCrop& crop, cv::Size size) {
  torch::Tensor mask = torch::zeros({size.height, size.width}, torch::kUInt8);
  cv::Mat canvas(size, CV_8UC1, mask.data_ptr());
  if (!crop.region.empty()) crop.pixels.copyTo(canvas(crop.region));
  return mask;
}

// In the order of ObjectTargets.
std::vector<torch::Tensor> targets_of(const AnnotatedImage& image) {
  std::vector<cv::Rect2d> boxes, ignored;
  std::vector<torch::Tensor> labels, masks, has_mask;
  const cv::Size size = image.bgr.size();
  for (const AnnotatedObject& object : image.objects) {
    if (object.ignored) {
      ignored.push_back(object.box);
      continue;
    }
    boxes.push_back(object.box);
    labels.push_back(torch::tensor(int64_t{object.label}));
    has_mask.push_back(torch::tensor(object.mask.has_value()));
    masks.push_back(full_mask(object.mask.value_or(MaskCrop()), size));
  }
  if (boxes.empty()) {
    return {boxes_tensor({}), torch::empty({0}, torch::kInt64),
            torch::empty({0, size.height, size.width}, torch::kUInt8),
            torch::empty({0}, torch::kBool), boxes_tensor(ignored)};
  }
  return {boxes_tensor(boxes), torch::stack(labels), torch::stack(masks), torch::stack(has_mask),
          boxes_tensor(ignored)};
}

std::vector<ObjectTargets> objects_of(const Batch& batch) {
  std::vector<ObjectTargets> objects;
  for (const auto& targets : batch.targets) {
    objects.push_back({targets.at(0), targets.at(1), targets.at(2), targets.at(3), targets.at(4)});
  }
  return objects;
}

}  // namespace

DetectionTask::DetectionTask(AnnotatedImages training, std::optional<AnnotatedImages> validation,
                             const DetectionOptions& options)
    : options_(options), training_(std::move(training)), validation_(std::move(validation)) {
  check_crop(options.augment.crop);
  TORCH_CHECK(options.architecture.num_classes == static_cast<int64_t>(training_.classes().size()),
              "DetectionTask: there are other classes than the model's");
  TORCH_CHECK(!validation_ || validation_->classes() == training_.classes(),
              "DetectionTask: the validation images have other classes");
  if (options.augment.paste > 0) {
    donors_ = training_.with_masks();
    if (donors_.empty()) {
      throw Error(ErrorCode::kInput, training_.dataset().name +
                                         ": --paste needs objects with masks, and there are none");
    }
  }
  AnyModel model = build_model(options.architecture);
  model_ = std::get<MaskRcnn>(model);
}

Example DetectionTask::example(int64_t index, uint64_t seed) const {
  Random random(seed);
  Donor donor;
  if (!donors_.empty()) {
    donor = [this](Random& draw) {
      return training_.read(
          donors_[static_cast<size_t>(draw.below(static_cast<int64_t>(donors_.size())))]);
    };
  }
  const AnnotatedImage crop =
      augment(training_.read(static_cast<size_t>(index)), options_.augment, random, donor);
  cv::Mat rgb;
  cv::cvtColor(crop.bgr, rgb, cv::COLOR_BGR2RGB);
  return {normalize(rgb, detection_preprocess())[0], targets_of(crop)};
}

Losses DetectionTask::losses(const Batch& batch) {
  return detection_losses(*model_, batch.images, objects_of(batch), options_.losses);
}

std::vector<CocoResult> DetectionTask::detect(Detector& detector) const {
  const CocoDataset& data = validation_->dataset();
  std::unordered_map<std::string, int64_t> ids;
  for (const CocoCategory& category : data.categories) ids[category.name] = category.id;
  std::vector<CocoResult> results;
  for (size_t i = 0; i < validation_->size() && !interrupted(); ++i) {
    const cv::Mat image = validation_->read(i).bgr;
    for (const Instance& found : detector(image)) {
      const std::string& name = validation_->classes()[static_cast<size_t>(found.label)];
      results.push_back(to_coco_result(found, data.images[i].id, ids.at(name), image.size()));
    }
  }
  return results;
}

Metrics DetectionTask::evaluate(const Runtime& runtime) {
  if (!validation_) return {};
  DetectorOptions options;
  options.size = options_.size;
  options.score_threshold = options_.score_threshold;
  const auto classes = static_cast<int>(validation_->classes().size());
  Detector detector(model_, ClassTable::from_names(validation_->classes(), classes), runtime,
                    options);
  const std::vector<CocoResult> results = detect(detector);
  if (interrupted()) return {};
  Metrics metrics;
  for (const CocoIou iou : available_ious(validation_->dataset(), results)) {
    const CocoScores scores = evaluate_coco(validation_->dataset(), results, iou);
    for (const size_t figure : {0, 1}) {
      metrics.emplace_back(std::string(iou_name(iou)) + " " + kCocoFigures[figure],
                           scores.figures[figure]);
    }
  }
  return metrics;
}

weights::Metadata DetectionTask::metadata() const {
  weights::Metadata meta;
  meta.classes = training_.classes();
  if (options_.size) set_default_size(meta, *options_.size);
  const MaskRcnnOptions& detector = *options_.architecture.detector;
  write_detector_settings(meta, {detector.rpn.anchors(), options_.architecture.neck->levels(),
                                 detector.rpn.max_proposals()});
  return meta;
}

}  // namespace hornet
