// Weights to start from when there are none to start from.
//
// gnConv of order n multiplies n + 1 factors. With the authors' standard deviation of 0.02 each of
// them is small in a narrow network, and their product starts at 1e-7 to 1e-14 of the residual
// stream: the branch is dead for thousands of steps, and the MLPs do the work. initialise() gives
// every factor a variance of about one instead:
//
//   initialise(*model, Initialisation::kFanIn);
//
// Convolutions and linear layers: normal with std = fan_in^-1/2, biases 0. What mixes space in a
// gnConv is scaled up by 1/scale, so that the gates have unit variance (of a global filter its last
// norm, whose input is normalised). Layer scale 0.4. Norms keep 1 and 0. The last layers of dense
// heads start undecided: std 0.01, and 0.001 for the deltas of a box head, as in mmdet.
#pragma once

#include <torch/nn/module.h>

#include <string>

namespace hornet {

enum class Initialisation {
  kFanIn,    // to train from nothing
  kOfficial  // normal, std 0.02, layer scale 1e-6: the authors', for wide networks and much data
};

// "fan-in" or "official"; Error(kUsage) for anything else.
Initialisation parse_initialisation(const std::string& text);

// Overwrites the parameters of `model` below it with new ones, drawn from LibTorch's generator.
void initialise(torch::nn::Module& model, Initialisation how);

}  // namespace hornet
