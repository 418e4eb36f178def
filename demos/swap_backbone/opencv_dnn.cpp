// A label map with OpenCV's SegmentationModel, from any network that OpenCV reads, or from HorNet:
//
//   swap_backbone_opencv_dnn fcn_resnet50.onnx street.jpg labels.png
//   swap_backbone_opencv_dnn upernet_hornet_tiny_gf.pth street.jpg labels.png
//
// Links OpenCV and hornet::opencv. There is no LibTorch in it, and no Python behind it.
#include <hornet/interop/opencv_net.h>

#include <exception>
#include <iostream>
#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <string>

int main(int argc, char** argv) try {
  if (argc != 4) {
    std::cerr << "usage: swap_backbone_opencv_dnn NETWORK IMAGE LABELS.png\n";
    return 2;
  }
  const std::string network = argv[1];
  const cv::Mat image = cv::imread(argv[2]);
  if (image.empty()) {
    std::cerr << argv[2] << " is not an image that OpenCV reads\n";
    return 3;
  }
  const cv::Size size(512, 512);
  const bool swapped = network.find(".onnx") == std::string::npos;

  // The pipeline as it was, with a network of torchvision's:
  //   cv::dnn::SegmentationModel model(cv::dnn::readNet(network));
  //   model.setInputParams(1 / 57.0, size, {123.675, 116.28, 103.53}, /*swapRB=*/true);
  // HorNet from the authors' checkpoint, which takes pixels as they are:
  cv::dnn::SegmentationModel model(swapped ? hornet::opencv::make_net(network)
                                           : cv::dnn::readNet(network));
  if (swapped) {
    model.setInputParams(1.0, size, {}, /*swapRB=*/true);
  } else {
    model.setInputParams(1 / 57.0, size, {123.675, 116.28, 103.53}, /*swapRB=*/true);
  }

  cv::Mat labels;
  model.segment(image, labels);
  cv::resize(labels, labels, image.size(), 0, 0, cv::INTER_NEAREST);
  double last = 0;
  cv::minMaxLoc(labels, nullptr, &last);
  cv::imwrite(argv[3], labels);
  std::cout << argv[3] << ": " << labels.cols << "x" << labels.rows << ", classes up to " << last
            << '\n';
} catch (const std::exception& error) {
  std::cerr << "swap_backbone_opencv_dnn: " << error.what() << '\n';
  return 1;
}
