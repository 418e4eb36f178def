// Weights to start from: any checkpoint that is read here, into any model that shares names with
// it.
//
//   PretrainedReport report = load_pretrained(*model, weights::read("hornet_tiny_gf.pth"));
//   std::cerr << report.text();
//
// A classifier's or a backbone's weights go below `backbone.` of a model that has one, and the
// other way round. A global filter of another size is resized as the authors do it: bilinear, real
// and imaginary part each, corners aligned. What has no counterpart, or another shape (the
// classifier for another number of classes), is left as it is and reported.
#pragma once

#include <hornet/backbone/weights/tensor_file.h>
#include <torch/nn/module.h>

#include <string>
#include <vector>

namespace hornet {

struct PretrainedReport {
  int64_t loaded = 0;                  // tensors of the model
  std::vector<std::string> resized;    // global filters: "key: 14x8 to 24x13"
  std::vector<std::string> untouched;  // in the model, with the weights that they had
  std::vector<std::string> unused;     // in the file, without a place, or of another shape
  std::string text() const;            // a line, then at most ten keys of each kind
};

// Error(kWeights) if no tensor of the file has a place in the model.
PretrainedReport load_pretrained(torch::nn::Module& model, const weights::File& file);

}  // namespace hornet
