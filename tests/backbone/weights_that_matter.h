// Networks whose prepared and plain ways can be compared.
#pragma once

#include "tests/modules.h"

namespace hornet::testing {

// Weights that matter, and no map that grows beyond what float32 can compare.
inline void make_weights_matter(torch::nn::Module& network) {
  randomise(network);
  const torch::NoGradGuard no_grad;
  for (auto& item : network.named_parameters()) {
    if (item.key().find("gamma") != std::string::npos) item.value().uniform_(0.1, 0.5);
    if (item.key().find("complex_weight") != std::string::npos) item.value().normal_(0.0, 1.0);
  }
}

}  // namespace hornet::testing
