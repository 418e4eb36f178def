// AdamW as the authors fine-tune with it: parameters in groups by depth, whose learning rates fall
// towards the stem, and no weight decay on norms, biases and layer scale.
//
//   RateDecay decay{RateDecay::kStageWise, 0.9};           // UperNet; Mask R-CNN: layer-wise, 0.7
//   torch::optim::AdamW optimizer = make_adamw(parameter_groups(*model, decay), options);
//   set_learning_rate(optimizer, groups, rate);            // before every step
//
// Layer-wise, two blocks of the third stage are a layer, and every other stage is one with the
// downsampling before it; the rate is multiplied by `rate` for each layer between a parameter and
// the head. Stage-wise, all downsampling layers are level 0 and the stages levels 1 to 4 of 7 (the
// authors' count: stage 3 gets rate^3).
#pragma once

#include <torch/nn/module.h>
#include <torch/optim/adamw.h>

#include <map>
#include <string>
#include <vector>

namespace hornet {

struct RateDecay {
  enum Kind { kNone, kLayerWise, kStageWise };
  Kind kind = kNone;
  double rate = 1;
};

// "none", "layer:0.7" or "stage:0.9"; Error(kUsage) for anything else.
RateDecay parse_rate_decay(const std::string& text);

// The factor of the learning rate of a parameter. `blocks` is the depth of the backbone's third
// stage.
double rate_factor(const std::string& parameter, const RateDecay& decay, int64_t blocks);

struct ParameterGroup {
  double rate_factor = 1;
  bool weight_decay = true;
  std::vector<std::string> names;
  std::vector<torch::Tensor> parameters;
};

// Every parameter that needs a gradient, in one group each.
std::vector<ParameterGroup> parameter_groups(const torch::nn::Module& model,
                                             const RateDecay& decay);

struct AdamWSettings {
  double weight_decay = 0.05;
  double beta1 = 0.9, beta2 = 0.999;
};

torch::optim::AdamW make_adamw(const std::vector<ParameterGroup>& groups,
                               const AdamWSettings& settings);

// The rate of each group: `rate` times its factor.
void set_learning_rate(torch::optim::AdamW& optimizer, const std::vector<ParameterGroup>& groups,
                       double rate);

// A running average of a model's parameters and of its batch norms' statistics, which generalises
// better than the last step's:  average = decay * average + (1 - decay) * model.  In the first
// steps the decay is smaller, (1 + step) / (10 + step), so that the start is forgotten.
class Ema {
 public:
  Ema(const torch::nn::Module& model, double decay);

  void update(const torch::nn::Module& model, int64_t step);  // step: 0, 1, ...

  // Exchanges the averages and what the model holds; a second time undoes it, to the bit.
  void swap(torch::nn::Module& model);

  const std::map<std::string, torch::Tensor>& averages() const { return averages_; }

 private:
  double decay_;
  std::map<std::string, torch::Tensor> averages_;
};

// Parameters and buffers by name, sharing memory with the model.
std::map<std::string, torch::Tensor> state_of(const torch::nn::Module& model);

}  // namespace hornet
