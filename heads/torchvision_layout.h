// torchvision's Mask R-CNN state dicts, seen under this project's names.
//
// torchvision names the parts of the same network otherwise ("roi_heads.box_head.fc6" for
// "roi_head.bbox_head.shared_fcs.0"), in two spellings, of which the older one lacks the indices
// inside its convolution blocks ("rpn.head.conv.weight", now "rpn.head.conv.0.0.weight"). Its class
// 0 is the background: here the background is the last of the scores and has no box and no mask.
//
//   if (hornet::has_torchvision_names(file)) file = hornet::from_torchvision(file);
//
// The published maskrcnn_resnet50_fpn is in the older spelling.
#pragma once

#include <hornet/backbone/weights/tensor_file.h>

#include <string>

namespace hornet {

bool has_torchvision_names(const weights::File& file);
bool has_older_torchvision_names(const weights::File& file);

// The same tensors, named and ordered as MaskRcnn has them. Those that have no place in it get
// names that nothing has.
weights::File from_torchvision(const weights::File& file);

// What a tensor of from_torchvision() was called, or would be. For messages.
std::string torchvision_name(const std::string& name, bool older);

}  // namespace hornet
