// The published models with their parameters and FLOPs, as `hornet info --list` and `hornet bench
// --list` print them, at the sizes of the authors' tables.
#pragma once

#include <hornet/heads/model.h>

#include <opencv2/core.hpp>

namespace hornet::cli {

// 224x224 or 384x384 for classification and backbones, 1280x800 for detection, 2048x512 or 2560x640
// for segmentation.
cv::Size official_size(const Architecture& architecture);

// One line a model, to stdout.
void print_model_table();

}  // namespace hornet::cli
