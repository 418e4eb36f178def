// Small data sets of training, made up on the spot: pictures of discs and bands that a network can
// learn by heart in seconds.
#pragma once

#include <hornet/heads/model.h>
#include <hornet/training/segmentation_task.h>

#include <fstream>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <string>

#include "tests/modules.h"

namespace hornet::testing {

inline constexpr int kSceneClasses = 3, kSceneIgnore = 9;

// Sky (0) above ground (1) with a disc (2); a corner has no class.
inline LabelledImage scene_with_labels(cv::Size size, int seed) {
  cv::RNG rng(seed + 100);
  LabelledImage sample{cv::Mat(size, CV_8UC3, cv::Scalar(200, 120, 60)),
                       cv::Mat(size, CV_8UC1, cv::Scalar(0))};
  const int horizon = rng.uniform(size.height / 3, size.height / 2);
  const cv::Rect ground(0, horizon, size.width, size.height - horizon);
  sample.bgr(ground).setTo(cv::Scalar(40, 90, 70));
  sample.labels(ground).setTo(1);
  const cv::Point centre(rng.uniform(20, size.width - 20), rng.uniform(20, size.height - 20));
  cv::circle(sample.bgr, centre, 14, cv::Scalar(30, 30, 220), cv::FILLED);
  cv::circle(sample.labels, centre, 14, cv::Scalar(2), cv::FILLED);
  sample.labels(cv::Rect(0, 0, 5, 7)).setTo(kSceneIgnore);
  return sample;
}

// Writes `count` scenes and the list of them; returns the list's name.
inline std::filesystem::path write_scenes(const std::filesystem::path& folder, int count,
                                          cv::Size size = {96, 80}) {
  std::ofstream list(folder / "list.txt");
  for (int i = 0; i < count; ++i) {
    const LabelledImage sample = scene_with_labels(size, i);
    const std::string name = std::to_string(i);
    cv::imwrite((folder / (name + ".png")).string(), sample.bgr);
    cv::imwrite((folder / (name + "_labels.png")).string(), sample.labels);
    list << name << ".png " << name << "_labels.png\n";
  }
  return folder / "list.txt";
}

// UperNet on a backbone of 8 channels.
inline SegmentationOptions scene_options() {
  SegmentationOptions options;
  options.architecture.task = Task::kSegmentation;
  options.architecture.backbone = narrow_hornet_gf();
  options.architecture.num_classes = kSceneClasses;
  options.architecture.segmentor = UperNetOptions(feature_info(options.architecture.backbone));
  options.architecture.segmentor->num_classes(kSceneClasses).decode.channels(16);
  options.architecture.segmentor->auxiliary->channels(16);
  options.palette = Palette::make("", kSceneClasses, {"sky", "ground", "disc"}, {});
  options.ignore_label = kSceneIgnore;
  options.augment.crop = {64, 64};
  options.whole = true;
  return options;
}

}  // namespace hornet::testing
