#include <hornet/backbone/error.h>
#include <hornet/heads/detector_settings.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/model_defaults.h>
#include <hornet/pipelines/preprocess.h>
#include <hornet/training/detection_task.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <opencv2/imgproc.hpp>
#include <set>

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

int64_t bits_of(double value) {
  int64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

double value_of(int64_t bits) {
  double value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Results with boxes and masks as whole numbers, which processes can exchange.
std::vector<int64_t> packed(const std::vector<CocoResult>& results) {
  std::vector<int64_t> out;
  for (const CocoResult& result : results) {
    const cv::Rect2d box = result.box.value();
    const RunLengthMask& mask = result.mask.value();
    out.insert(out.end(),
               {result.image_id, result.category_id, bits_of(result.score), bits_of(box.x),
                bits_of(box.y), bits_of(box.width), bits_of(box.height), mask.size.width,
                mask.size.height, static_cast<int64_t>(mask.counts.size())});
    out.insert(out.end(), mask.counts.begin(), mask.counts.end());
  }
  return out;
}

std::vector<CocoResult> unpacked(const std::vector<int64_t>& numbers) {
  std::vector<CocoResult> results;
  for (auto next = numbers.begin(); next != numbers.end();) {
    CocoResult& result = results.emplace_back();
    result.image_id = *next++;
    result.category_id = *next++;
    result.score = value_of(*next++);
    cv::Rect2d& box = result.box.emplace();
    for (double* edge : {&box.x, &box.y, &box.width, &box.height}) *edge = value_of(*next++);
    RunLengthMask& mask = result.mask.emplace();
    mask.size.width = static_cast<int>(*next++);
    mask.size.height = static_cast<int>(*next++);
    const int64_t counts = *next++;
    mask.counts.assign(next, next + counts);
    next += counts;
  }
  return results;
}

std::set<int64_t> unread_images(const CocoDataset& data, const std::vector<int64_t>& read) {
  std::set<int64_t> ids;
  for (size_t i = 0; i < read.size(); ++i) {
    if (!read[i]) ids.insert(data.images[i].id);
  }
  return ids;
}

// What validation would fail at, after all of the work.
void check_sizes(const CocoDataset& data) {
  for (const CocoAnnotation& annotation : data.annotations) {
    const CocoImage& image = data.image(annotation.image_id);
    if (annotation.polygons.empty() || !image.size.empty()) continue;
    throw Error(ErrorCode::kInput,
                data.name + ": image " + std::to_string(image.id) +
                    ": has no 'width' and 'height', which validation needs for the polygons of "
                    "annotation " +
                    std::to_string(annotation.id));
  }
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
  if (validation_) check_sizes(validation_->dataset());
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

std::vector<CocoResult> DetectionTask::detect(Detector& detector, const Validation& validation,
                                              std::vector<int64_t>& read) const {
  const auto first = static_cast<size_t>(validation.team.rank());
  const auto step = static_cast<size_t>(validation.team.size());
  const CocoDataset& data = validation_->dataset();
  std::unordered_map<std::string, int64_t> ids;
  for (const CocoCategory& category : data.categories) ids[category.name] = category.id;
  std::vector<CocoResult> results;
  for (size_t i = first; i < validation_->size() && !interrupted(); i += step) {
    const auto image = validation.try_to([&] { return validation_->read(i).bgr; });
    read[i] = image.has_value();
    if (!image) continue;
    for (const Instance& found : detector(*image)) {
      const std::string& name = validation_->classes()[static_cast<size_t>(found.label)];
      results.push_back(to_coco_result(found, data.images[i].id, ids.at(name), image->size()));
    }
  }
  return results;
}

Metrics DetectionTask::evaluate(const Validation& validation) {
  if (!validation_) return {};
  const ProcessTeam& team = validation.team;
  DetectorOptions options;
  options.size = options_.size;
  options.score_threshold = options_.score_threshold;
  const auto classes = static_cast<int>(validation_->classes().size());
  Detector detector(model_, ClassTable::from_names(validation_->classes(), classes),
                    validation.runtime, options);
  std::vector<int64_t> read(validation_->size());
  const std::vector<CocoResult> own = detect(detector, validation, read);
  if (team.any(interrupted())) return {};
  validation.require_some(std::accumulate(read.begin(), read.end(), int64_t{0}));
  const auto unread = unread_images(validation_->dataset(), team.sums(read));
  std::optional<CocoDataset> rest;
  if (!unread.empty()) remove_annotations(rest.emplace(validation_->dataset()), unread);
  const CocoDataset& data = rest ? *rest : validation_->dataset();
  const std::vector<CocoResult> results = gather_results(own, team);
  Metrics metrics;
  for (const CocoIou iou : available_ious(data, results)) {
    const CocoScores scores = evaluate_coco(data, results, iou);
    for (const size_t figure : {0, 1}) {
      const double value = scores.figures[figure];  // -1 where there is nothing to find
      metrics.emplace_back(std::string(iou_name(iou)) + " " + kCocoFigures[figure],
                           value < 0 ? std::nan("") : value);
    }
  }
  return metrics;
}

std::vector<CocoResult> gather_results(const std::vector<CocoResult>& results,
                                       const ProcessTeam& team) {
  const std::vector<int64_t> own = packed(results);
  const std::vector<int64_t> sizes = team.gather(static_cast<int64_t>(own.size()));
  const auto before = std::accumulate(sizes.begin(), sizes.begin() + team.rank(), int64_t{0});
  std::vector<int64_t> all(
      static_cast<size_t>(std::accumulate(sizes.begin(), sizes.end(), int64_t{0})));
  std::copy(own.begin(), own.end(), all.begin() + before);
  return unpacked(team.sums(all));
}

std::vector<std::string> DetectionTask::notes() const {
  std::vector<std::string> notes;
  const std::vector<int64_t>& ids = training_.left_out();
  if (!ids.empty()) {
    notes.push_back(training_.dataset().name +
                    ": annotations whose box has no area or lies outside of its image are left "
                    "out: " +
                    std::to_string(ids.size()) + ", the first with id " +
                    std::to_string(ids.front()));
  }
  if (!validation_) return notes;
  const CocoDataset& data = validation_->dataset();
  if (const auto masks = unmeasured_masks(data)) notes.push_back(*masks);
  const bool nothing = std::all_of(data.annotations.begin(), data.annotations.end(),
                                   [](const CocoAnnotation& object) { return object.crowd; });
  if (nothing) {
    notes.push_back(data.name +
                    ": has no objects of the classes to find, so no best model is kept");
  }
  return notes;
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
