// From a checkpoint to a graph, without LibTorch.
//
//   const hornet::weights::File file = hornet::weights::read("hornet_tiny_gf.pth");
//   hornet::graph::Graph net = hornet::graph::read_graph(file);
//
// The kind of network is read off the checkpoint's tensors, as everywhere in HorNet:
//
//   classification        logits [N,classes]
//   backbone              feat0 ... feat3
//   (Cascade) Mask R-CNN  fpn0 ... fpn(levels-1), the pyramid of its FPN or HorFPN: 5 levels, or
//                         what its metadata "hornet.pyramid_levels" says. What follows depends on
//                         the data and is no graph (hornet::Detector runs it)
//   UperNet               logits [N,classes,H,W], at the size of the input
//
// Loading is strict: a tensor that is missing, unexpected or of another shape is an Error(kWeights)
// that names it. What belongs to parts that are left out (proposals, boxes, masks, the auxiliary
// head) may be there.
#pragma once

#include <hornet/backbone/weights/tensor_file.h>
#include <hornet/interop/graph.h>

namespace hornet::graph {

// What a network is fed with.
enum class Pixels {
  kNormalised,  // (x - mean) / std per channel, RGB: what the authors' pipelines give
  kRaw          // RGB values 0 ... 255; mean and std become part of the stem, exactly
};

Graph read_graph(const weights::File& file, Pixels pixels = Pixels::kNormalised);

}  // namespace hornet::graph
