// The part of a cv::dnn layer that all of ours have in common.
#pragma once

#include <opencv2/dnn.hpp>
#include <vector>

namespace hornet::opencv {

// One input [N,C,H,W], one output, on OpenCV's own backend.
class MapLayer : public cv::dnn::Layer {
 public:
  explicit MapLayer(const cv::dnn::LayerParams& params) { setParamsFrom(params); }
  bool supportBackend(int backend) override { return backend == cv::dnn::DNN_BACKEND_OPENCV; }

  bool getMemoryShapes(const std::vector<cv::dnn::MatShape>& inputs, int,
                       std::vector<cv::dnn::MatShape>& outputs,
                       std::vector<cv::dnn::MatShape>&) const override {
    CV_CheckEQ(inputs.size(), size_t{1}, "HorNet layers take one input");
    CV_CheckEQ(inputs[0].size(), size_t{4}, "HorNet layers take maps [N,C,H,W]");
    outputs = {output_shape(inputs[0])};
    return in_place();
  }

  void forward(cv::InputArrayOfArrays inputs, cv::OutputArrayOfArrays outputs,
               cv::OutputArrayOfArrays) override {
    std::vector<cv::Mat> in, out;
    inputs.getMatVector(in);
    outputs.getMatVector(out);
    run(in[0], out[0]);
  }

 protected:
  // Throws where the input does not fit the layer's numbers.
  virtual cv::dnn::MatShape output_shape(const cv::dnn::MatShape& input) const { return input; }
  virtual bool in_place() const { return false; }
  virtual void run(const cv::Mat& input, cv::Mat& output) = 0;
};

}  // namespace hornet::opencv
