// Weights for measuring a model without a checkpoint.
//
//   torch::manual_seed(1);
//   hornet::AnyModel model = hornet::build_model(hornet::official_architecture("hornet_tiny_gf"));
//   hornet::randomise_weights(hornet::as_module(model));
//
// A freshly built HorNet is close to the identity, since its layer scales are 1e-6: wrong numbers
// in its blocks would not be seen, and a runtime may find zeros where a trained model has none.
#pragma once

#include <torch/nn/module.h>

namespace hornet {

// Vectors (biases, norms, layer scales) become uniform from 0.1 to 0.5, all other weights normal
// with a variance of one over the number of their inputs, from LibTorch's generator. Buffers stay.
void randomise_weights(torch::nn::Module& module);

}  // namespace hornet
