// The layers that OpenCV 4.6 does not have, for its own backend on the CPU. Each takes its numbers
// from LayerParams, so that they can also be written into a network file by hand.
//
//   HorNetLayerNorm     blobs: weight [C], bias [C]
//   HorNetGelu          in place
//   HorNetGlobalFilter  blobs: complex_weight [C,h,w,2], interpolated in finalize()
//   HorNetAdaptivePool  int bins
//   HorNetDepthwise     blobs: weight [C,1,k,k], bias [C]; stride 1, zeros around
#pragma once

#include <opencv2/dnn.hpp>

namespace hornet::opencv {

cv::Ptr<cv::dnn::Layer> make_layer_norm(cv::dnn::LayerParams& params);
cv::Ptr<cv::dnn::Layer> make_gelu(cv::dnn::LayerParams& params);
cv::Ptr<cv::dnn::Layer> make_global_filter(cv::dnn::LayerParams& params);
cv::Ptr<cv::dnn::Layer> make_adaptive_pool(cv::dnn::LayerParams& params);
cv::Ptr<cv::dnn::Layer> make_depthwise(cv::dnn::LayerParams& params);

}  // namespace hornet::opencv
