#include <hornet/backbone/error.h>
#include <hornet/pipelines/blob.h>
#include <hornet/pipelines/detection_model.h>
#include <hornet/pipelines/detector.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <opencv2/dnn.hpp>
#include <optional>
#include <string>

namespace hornet {
namespace {

// One found object as OpenCV wants it.
struct Found {
  Instance instance;
  cv::Rect box;
};

void check_share(float value, const char* name) {
  if (value >= 0 && value <= 1) return;
  throw Error(ErrorCode::kUsage, std::string("DetectionModel: expected ") + name +
                                     " from 0 to 1, found " + std::to_string(value));
}

// The smallest rectangle of whole pixels around a box, at least one pixel, inside the frame.
cv::Rect enclosing(const cv::Rect2f& box, cv::Size frame) {
  const auto low = [](float value, int size) {
    return std::clamp(static_cast<int>(std::floor(value)), 0, size - 1);
  };
  const auto high = [](float value, int low, int size) {
    return std::clamp(static_cast<int>(std::ceil(value)), low + 1, size);
  };
  const int left = low(box.x, frame.width), top = low(box.y, frame.height);
  return {cv::Point(left, top),
          cv::Point(high(box.br().x, left, frame.width), high(box.br().y, top, frame.height))};
}

// The places of what NMSBoxes keeps among `candidates`.
std::vector<size_t> suppress(const std::vector<Found>& found, const std::vector<size_t>& candidates,
                             float threshold) {
  std::vector<cv::Rect> boxes;
  std::vector<float> scores;
  for (size_t i : candidates) {
    boxes.push_back(found[i].box);
    scores.push_back(found[i].instance.score);
  }
  std::vector<int> kept;
  cv::dnn::NMSBoxes(boxes, scores, /*score_threshold=*/0, threshold, kept);
  std::vector<size_t> places;
  for (int k : kept) places.push_back(candidates[k]);
  return places;
}

// NMSBoxes within classes or across them. The order, best first, stays.
std::vector<Found> suppress(const std::vector<Found>& found, float threshold, bool across) {
  std::map<int, std::vector<size_t>> groups;
  for (size_t i = 0; i < found.size(); ++i) {
    groups[across ? 0 : found[i].instance.label].push_back(i);
  }
  std::vector<size_t> kept;
  for (const auto& group : groups) {
    const std::vector<size_t> places = suppress(found, group.second, threshold);
    kept.insert(kept.end(), places.begin(), places.end());
  }
  std::sort(kept.begin(), kept.end());
  std::vector<Found> result;
  for (size_t i : kept) result.push_back(found[i]);
  return result;
}

// The part of an object's mask that is in its box, 0 and 255.
cv::Mat box_mask(const Found& found) {
  const MaskCrop& mask = found.instance.mask;
  cv::Mat result = cv::Mat::zeros(found.box.size(), CV_8UC1);
  const cv::Rect common = found.box & mask.region;
  if (common.empty()) return result;
  cv::Mat target = result(common - found.box.tl());
  mask.pixels(common - mask.region.tl()).convertTo(target, CV_8U, 255);
  return result;
}

}  // namespace

struct DetectionModel::Impl {
  Impl(const std::filesystem::path& checkpoint, const RuntimeOptions& runtime)
      : detector(checkpoint, runtime) {}

  BlobOptions& input() {
    if (!blob) blob.emplace();
    return *blob;
  }

  std::vector<Found> detect(const cv::Mat& frame, float confidence, float nms) {
    check_share(confidence, "a confidence threshold");
    check_share(nms, "an NMS threshold");
    detector.set_score_threshold(confidence);
    std::vector<Instance> instances =
        blob ? std::move(detector.run({blob_input(frame, *blob)}).front()) : detector(frame);
    std::vector<Found> found;
    for (Instance& instance : instances) {
      const cv::Rect box = enclosing(instance.box, frame.size());
      found.push_back({std::move(instance), box});
    }
    return nms > 0 ? suppress(found, nms, nms_across_classes) : found;
  }

  Detector detector;
  std::optional<BlobOptions> blob;  // nothing: the official preprocessing
  bool nms_across_classes = false;
};

DetectionModel::DetectionModel(const std::filesystem::path& checkpoint,
                               const RuntimeOptions& runtime)
    : impl_(std::make_shared<Impl>(checkpoint, runtime)) {}

DetectionModel& DetectionModel::setInputSize(const cv::Size& size) {
  impl_->input().size = size;
  return *this;
}

DetectionModel& DetectionModel::setInputScale(double scale) {
  impl_->input().scale = cv::Scalar::all(scale);
  return *this;
}

DetectionModel& DetectionModel::setInputScale(const cv::Scalar& scale) {
  const bool only_first = scale[1] == 0 && scale[2] == 0;
  impl_->input().scale = only_first ? cv::Scalar::all(scale[0]) : scale;
  return *this;
}

DetectionModel& DetectionModel::setInputMean(const cv::Scalar& mean) {
  impl_->input().mean = mean;
  return *this;
}

DetectionModel& DetectionModel::setInputSwapRB(bool swap_rb) {
  impl_->input().swap_rb = swap_rb;
  return *this;
}

DetectionModel& DetectionModel::setInputCrop(bool crop) {
  impl_->input().crop = crop;
  return *this;
}

DetectionModel& DetectionModel::setInputParams(double scale, const cv::Size& size,
                                               const cv::Scalar& mean, bool swap_rb, bool crop) {
  return setInputParams(cv::Scalar::all(scale), size, mean, swap_rb, crop);
}

DetectionModel& DetectionModel::setInputParams(const cv::Scalar& scale, const cv::Size& size,
                                               const cv::Scalar& mean, bool swap_rb, bool crop) {
  return setInputScale(scale)
      .setInputSize(size)
      .setInputMean(mean)
      .setInputSwapRB(swap_rb)
      .setInputCrop(crop);
}

DetectionModel& DetectionModel::setNmsAcrossClasses(bool across) {
  impl_->nms_across_classes = across;
  return *this;
}

bool DetectionModel::getNmsAcrossClasses() const { return impl_->nms_across_classes; }

void DetectionModel::detect(cv::InputArray frame, std::vector<int>& class_ids,
                            std::vector<float>& confidences, std::vector<cv::Rect>& boxes,
                            float conf_threshold, float nms_threshold) {
  std::vector<cv::Mat> masks;
  detect(frame, class_ids, confidences, boxes, masks, conf_threshold, nms_threshold);
}

void DetectionModel::detect(cv::InputArray frame, std::vector<int>& class_ids,
                            std::vector<float>& confidences, std::vector<cv::Rect>& boxes,
                            std::vector<cv::Mat>& masks, float conf_threshold,
                            float nms_threshold) {
  class_ids.clear();
  confidences.clear();
  boxes.clear();
  masks.clear();
  for (const Found& found : impl_->detect(frame.getMat(), conf_threshold, nms_threshold)) {
    class_ids.push_back(found.instance.label);
    confidences.push_back(found.instance.score);
    boxes.push_back(found.box);
    masks.push_back(box_mask(found));
  }
}

const ClassTable& DetectionModel::classes() const { return impl_->detector.classes(); }

}  // namespace hornet
