// HorNet in OpenCV's DNN module, without LibTorch: an authors' checkpoint becomes a cv::dnn::Net of
// stock OpenCV layers and five of our own. A program that has a Net changes the line that makes it:
//
//   cv::dnn::Net net = hornet::opencv::make_net("hornet_tiny_gf.pth");
//   cv::dnn::ClassificationModel model(net);
//   model.setInputParams(1.0, {224, 224}, {}, /*swapRB=*/true);   // pixels as they are
//
//   cv::dnn::SegmentationModel segment(hornet::opencv::make_net("upernet_hornet_tiny_gf.pth"));
//
// Inputs are float32 [N,3,H,W] in RGB order, called "input", any H and W >= 32: a Net adapts when
// it meets another size, and its global filters are interpolated for it. Outputs, by name:
// classification "logits" [N,classes]; backbone "feat0" ... ; (Cascade) Mask R-CNN "fpn0" ... , one
// a level of its pyramid (the rest of it depends on the data and cannot be a Net: see
// hornet::DetectionModel); UperNet "logits" [N,classes,H,W]. Runs on OpenCV's own backend on the
// CPU, in float32; results are the authors' to 1e-4 relative.
#pragma once

#include <hornet/interop/network.h>

#include <filesystem>
#include <opencv2/dnn.hpp>

namespace hornet::opencv {

struct NetOptions {
  cv::Size size = {};  // allocates for this input at once; empty: at the first one
  graph::Pixels pixels = graph::Pixels::kRaw;  // mean and std are in the network already
};

// Error(kWeights) if the checkpoint is none, or holds what cannot be a Net.
cv::dnn::Net make_net(const std::filesystem::path& checkpoint, const NetOptions& options = {});

// Makes HorNetLayerNorm, HorNetGelu, HorNetGlobalFilter, HorNetAdaptivePool and HorNetDepthwise
// known to OpenCV;
// make_net() does it by itself. Calling it again does nothing.
void register_layers();

}  // namespace hornet::opencv
