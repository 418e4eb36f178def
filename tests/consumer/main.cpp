// The parts of an installed HorNet in one program: a backbone, a neck that is built from its
// description, and a detector.
#include <hornet/necks/fpn.h>
#include <hornet/pipelines/detection_model.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const torch::NoGradGuard no_grad;
  const auto backbone = hornet::make_backbone("hornet_tiny_gf");
  hornet::Fpn neck(hornet::FpnOptions(backbone->feature_info()));
  for (const auto& map : neck->forward(backbone->forward(torch::zeros({1, 3, 64, 96})))) {
    std::cout << map.sizes() << '\n';
  }

  hornet::DetectionModel model(argv[1], {"cpu", "fp32"});
  model.setInputParams(1 / 57.0, {96, 64}, {123, 116, 103}, /*swapRB=*/true);
  std::vector<int> class_ids;
  std::vector<float> confidences;
  std::vector<cv::Rect> boxes;
  model.detect(cv::Mat(48, 64, CV_8UC3, cv::Scalar(90, 60, 30)), class_ids, confidences, boxes, 0);
  std::cout << boxes.size() << " objects, " << model.classes().names.size() << " classes\n";
}
