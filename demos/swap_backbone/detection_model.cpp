// A program around cv::dnn::DetectionModel that draws what it finds in images. The line that makes
// it HorNet is the marked one; include <hornet/pipelines/detection_model.h> for it.
//
//   swap_backbone_detection_model cascade_mask_rcnn_hornet_tiny_gf.pth street.jpg ...
//
// writes nothing; `imwrite` what you like.
#include <hornet/pipelines/detection_model.h>

#include <exception>
#include <iostream>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

int run(int count, char** arguments) {
  // cv::dnn::DetectionModel model("mask_rcnn.pb", "mask_rcnn.pbtxt");
  hornet::DetectionModel model(arguments[1]);  // <-- the line

  for (int i = 2; i < count; ++i) {
    cv::Mat frame = cv::imread(arguments[i]);
    std::vector<int> class_ids;
    std::vector<float> confidences;
    std::vector<cv::Rect> boxes;
    model.detect(frame, class_ids, confidences, boxes, 0.3f, 0.4f);
    for (size_t k = 0; k < boxes.size(); ++k) {
      cv::rectangle(frame, boxes[k], cv::Scalar(0, 200, 255), 2);
      cv::putText(frame, std::to_string(class_ids[k]), boxes[k].tl(), cv::FONT_HERSHEY_SIMPLEX, 0.5,
                  cv::Scalar(0, 200, 255));
      std::cout << "  class " << class_ids[k] << ' ' << confidences[k] << ' ' << boxes[k] << '\n';
    }
    std::cout << arguments[i] << ": " << boxes.size() << " objects\n";
  }
  return 0;
}

int main(int count, char** arguments) try {
  if (count < 3) {
    std::cerr << "usage: " << arguments[0] << " MODEL.pth IMAGE ...\n";
    return 2;
  }
  return run(count, arguments);
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
