#include <hornet/heads/random_weights.h>

#include <cmath>

namespace hornet {

void randomise_weights(torch::nn::Module& module) {
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : module.parameters()) {
    if (parameter.dim() < 2) {
      parameter.uniform_(0.1, 0.5);
    } else {
      const auto inputs = static_cast<double>(parameter.numel() / parameter.size(0));
      parameter.normal_(0.0, 1.0 / std::sqrt(inputs));
    }
  }
}

}  // namespace hornet
