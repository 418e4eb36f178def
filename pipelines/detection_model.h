// A detector with the calling conventions of cv::dnn::DetectionModel: in a program that has one,
// the line that makes the model is the one that changes.
//
//   cv::dnn::DetectionModel model("mask_rcnn.pb", "mask_rcnn.pbtxt");                // before
//   hornet::DetectionModel model("cascade_mask_rcnn_hornet_tiny_gf.pth");            // after
//   model.detect(frame, class_ids, confidences, boxes, 0.5f);
//
// Names are OpenCV's for that reason. Without a setInput... call, frames are prepared as the
// `hornet detect` does it (scaled with their aspect ratio into the size that the checkpoint names,
// or 1333x800, and normalised): nothing else is needed. After the first one, preparation is exactly
// cv::dnn's, from its defaults on; the authors' numbers are
//
//   model.setInputParams(cv::Scalar(1 / 58.395, 1 / 57.12, 1 / 57.375), {1024, 768},
//                        cv::Scalar(123.675, 116.28, 103.53), /*swapRB=*/true);
//
// Any size will do: zeros are added at the right and the bottom up to a multiple of 32. Devices are
// chosen by RuntimeOptions, in place of setPreferableBackend and setPreferableTarget. Copies share
// the network, as OpenCV's do; one thread at a time. Errors are hornet::Error (a
// std::runtime_error): kWeights, kDevice, kInput for an empty frame or one without 8 bits a
// channel, kUsage for a threshold outside 0..1. This header needs no LibTorch.
#pragma once

#include <hornet/pipelines/results.h>
#include <hornet/pipelines/runtime_options.h>

#include <filesystem>
#include <memory>
#include <opencv2/core.hpp>
#include <vector>

namespace hornet {

class DetectionModel {
 public:
  explicit DetectionModel(const std::filesystem::path& checkpoint,
                          const RuntimeOptions& runtime = {});

  // Empty, as in the beginning: the frame's own size.
  DetectionModel& setInputSize(const cv::Size& size);
  DetectionModel& setInputSize(int width, int height) { return setInputSize({width, height}); }

  // One factor for all channels, or one for each (all, if only the first is not 0). Here and in
  // the mean, channels are counted after swapRB.
  DetectionModel& setInputScale(double scale);
  DetectionModel& setInputScale(const cv::Scalar& scale);
  DetectionModel& setInputMean(const cv::Scalar& mean);
  DetectionModel& setInputSwapRB(bool swap_rb);
  DetectionModel& setInputCrop(bool crop);
  DetectionModel& setInputParams(double scale = 1.0, const cv::Size& size = {},
                                 const cv::Scalar& mean = {}, bool swap_rb = false,
                                 bool crop = false);
  DetectionModel& setInputParams(const cv::Scalar& scale, const cv::Size& size = {},
                                 const cv::Scalar& mean = {}, bool swap_rb = false,
                                 bool crop = false);

  // Whether nms_threshold below compares objects of different classes too; off from the start.
  DetectionModel& setNmsAcrossClasses(bool across);
  bool getNmsAcrossClasses() const;

  // The objects in a frame, best first: classes from 0, confidences of at least conf_threshold, and
  // boxes in pixels of the frame, the smallest with whole numbers. The network has its own
  // suppression of doubles (0.5, per class); a nms_threshold above 0 applies cv::dnn::NMSBoxes
  // besides, with what is stricter deciding.
  void detect(cv::InputArray frame, std::vector<int>& class_ids, std::vector<float>& confidences,
              std::vector<cv::Rect>& boxes, float conf_threshold = 0.5f,
              float nms_threshold = 0.0f);

  // With masks: CV_8UC1, 0 and 255, of the size of its box, so that frame(boxes[i]).setTo(colour,
  // masks[i]) paints an object.
  void detect(cv::InputArray frame, std::vector<int>& class_ids, std::vector<float>& confidences,
              std::vector<cv::Rect>& boxes, std::vector<cv::Mat>& masks,
              float conf_threshold = 0.5f, float nms_threshold = 0.0f);

  // The names that class_ids stand for.
  const ClassTable& classes() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hornet
