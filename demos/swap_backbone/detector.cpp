// Mask R-CNN on a backbone of your choice, from parts: the name is all that a swap changes.
//
//   swap_backbone_detector street.jpg              random weights, to see that the parts fit
//   swap_backbone_detector street.jpg model.pth    a checkpoint, whatever backbone it has
#include <hornet/backbone/error.h>
#include <hornet/heads/mask_rcnn.h>
#include <hornet/pipelines/detector.h>

#include <iostream>
#include <opencv2/imgcodecs.hpp>

namespace {

const char kBackbone[] = "resnet50";  // the line to change: "hornet_tiny_gf", or a name of yours

hornet::MaskRcnn build_detector() {
  auto backbone = hornet::make_backbone(kBackbone);
  hornet::Fpn neck(hornet::FpnOptions(backbone->feature_info()));
  return hornet::MaskRcnn(backbone, neck, hornet::MaskRcnnOptions(neck->feature_info()));
}

void run_parts(const cv::Mat& image) {
  hornet::MaskRcnn model = build_detector();
  model->eval();
  const torch::InferenceMode inference;
  const auto input = hornet::preprocess(image, hornet::detection_preprocess({512, 384}));
  const auto found =
      model->forward(input.input, {{input.image_size.height, input.image_size.width}});
  std::cout << kBackbone << ": ";
  for (const auto& level : model->backbone->feature_info()) {
    std::cout << level.channels << " channels at stride " << level.stride << ", ";
  }
  std::cout << found.front().scores.size(0) << " objects, by chance\n";
}

void run_checkpoint(const cv::Mat& image, const char* checkpoint) {
  hornet::Detector detect(checkpoint);
  std::cout << hornet::architecture_name(detect.architecture()) << '\n';
  for (const auto& found : detect(image)) {
    std::cout << detect.classes().name(found.label) << ' ' << found << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 3) {
    std::cerr << "usage: swap_backbone_detector IMAGE [CHECKPOINT]\n";
    return 2;
  }
  const cv::Mat image = hornet::load_image(argv[1]);
  argc == 3 ? run_checkpoint(image, argv[2]) : run_parts(image);
} catch (const hornet::Error& error) {
  std::cerr << "swap_backbone_detector: " << error.what() << '\n';
  return static_cast<int>(error.code());
}
