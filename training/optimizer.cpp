#include <hornet/backbone/error.h>
#include <hornet/training/optimizer.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace hornet {
namespace {

constexpr int64_t kStageWiseLevels = 7;  // the authors' num_layers of 6, and one

// "backbone.stages.2.5.norm1.weight" as the numbers after `what`: {2, 5}.
std::vector<int64_t> numbers_after(const std::string& name, const std::string& what) {
  std::vector<int64_t> numbers;
  const std::string bare = name.compare(0, 9, "backbone.") == 0 ? name.substr(9) : name;
  if (bare.compare(0, what.size(), what) != 0) return numbers;
  std::istringstream stream(bare.substr(what.size()));
  for (std::string part; std::getline(stream, part, '.');) {
    if (part.empty() || part.find_first_not_of("0123456789") != std::string::npos) break;
    numbers.push_back(std::stoll(part));
  }
  return numbers;
}

// Layers between a parameter and the head. The third stage has `pairs` layers of two blocks, and
// the head is layer pairs + 4.
int64_t layers_above(const std::string& name, int64_t blocks) {
  const int64_t pairs = (blocks + 1) / 2;
  const auto downsampling = numbers_after(name, "downsample_layers.");
  const auto block = numbers_after(name, "stages.");
  int64_t layer = pairs + 4;
  if (!downsampling.empty()) {
    const int64_t stage = downsampling[0];
    layer = stage == 0 ? 0 : stage == 3 ? pairs + 3 : stage + 1;
  } else if (block.size() >= 2) {
    const int64_t stage = block[0];
    layer = stage < 2 ? stage + 1 : stage == 2 ? 3 + block[1] / 2 : pairs + 3;
  }
  return pairs + 4 - layer;
}

int64_t levels_above(const std::string& name) {
  if (!numbers_after(name, "downsample_layers.").empty()) return kStageWiseLevels;
  const auto block = numbers_after(name, "stages.");
  return block.empty() ? 0 : kStageWiseLevels - (block[0] + 1);
}

int64_t third_stage_blocks(const torch::nn::Module& model) {
  int64_t blocks = 1;
  for (const auto& item : model.named_parameters()) {
    const auto block = numbers_after(item.key(), "stages.");
    if (block.size() >= 2 && block[0] == 2) blocks = std::max(blocks, block[1] + 1);
  }
  return blocks;
}

bool decays(const std::string& name, const torch::Tensor& parameter) {
  const bool is_bias = name.size() > 5 && name.compare(name.size() - 5, 5, ".bias") == 0;
  return parameter.dim() > 1 && !is_bias;
}

}  // namespace

RateDecay parse_rate_decay(const std::string& text) {
  if (text == "none") return {};
  const size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  std::istringstream number(colon == std::string::npos ? "" : text.substr(colon + 1));
  RateDecay decay{kind == "layer" ? RateDecay::kLayerWise : RateDecay::kStageWise, 0};
  number >> decay.rate;
  const bool parsed = !number.fail() && number.peek() == std::istringstream::traits_type::eof();
  if ((kind != "layer" && kind != "stage") || !parsed || !(decay.rate > 0 && decay.rate <= 1)) {
    throw Error(ErrorCode::kUsage, "--rate-decay " + text +
                                       ": expected none, layer:RATE or stage:RATE with a rate "
                                       "above 0 and up to 1, for example stage:0.9");
  }
  return decay;
}

double rate_factor(const std::string& parameter, const RateDecay& decay, int64_t blocks) {
  switch (decay.kind) {
    case RateDecay::kLayerWise:
      return std::pow(decay.rate, layers_above(parameter, blocks));
    case RateDecay::kStageWise:
      return std::pow(decay.rate, levels_above(parameter));
    case RateDecay::kNone:
      break;
  }
  return 1;
}

std::vector<ParameterGroup> parameter_groups(const torch::nn::Module& model,
                                             const RateDecay& decay) {
  const int64_t blocks = third_stage_blocks(model);
  std::map<std::pair<double, bool>, ParameterGroup> groups;
  for (const auto& item : model.named_parameters()) {
    if (!item.value().requires_grad()) continue;
    const double factor = rate_factor(item.key(), decay, blocks);
    const bool decayed = decays(item.key(), item.value());
    ParameterGroup& group = groups[{factor, decayed}];
    group.rate_factor = factor;
    group.weight_decay = decayed;
    group.names.push_back(item.key());
    group.parameters.push_back(item.value());
  }
  std::vector<ParameterGroup> list;
  for (auto& entry : groups) list.push_back(std::move(entry.second));
  return list;
}

torch::optim::AdamW make_adamw(const std::vector<ParameterGroup>& groups,
                               const AdamWSettings& settings) {
  std::vector<torch::optim::OptimizerParamGroup> converted;
  for (const ParameterGroup& group : groups) {
    auto options = std::make_unique<torch::optim::AdamWOptions>();
    options->betas({settings.beta1, settings.beta2})
        .weight_decay(group.weight_decay ? settings.weight_decay : 0);
    converted.emplace_back(group.parameters, std::move(options));
  }
  return torch::optim::AdamW(converted);
}

void set_learning_rate(torch::optim::AdamW& optimizer, const std::vector<ParameterGroup>& groups,
                       double rate) {
  auto& converted = optimizer.param_groups();
  TORCH_CHECK(converted.size() == groups.size(), "set_learning_rate: groups of another optimizer");
  for (size_t i = 0; i < groups.size(); ++i) {
    converted[i].options().set_lr(rate * groups[i].rate_factor);
  }
}

std::map<std::string, torch::Tensor> state_of(const torch::nn::Module& model) {
  std::map<std::string, torch::Tensor> state;
  for (const auto& item : model.named_parameters()) state[item.key()] = item.value();
  for (const auto& item : model.named_buffers()) state[item.key()] = item.value();
  return state;
}

Ema::Ema(const torch::nn::Module& model, double decay) : decay_(decay) {
  for (const auto& [name, value] : state_of(model)) averages_[name] = value.detach().clone();
}

void Ema::update(const torch::nn::Module& model, int64_t step) {
  const torch::NoGradGuard no_grad;
  const double decay =
      std::min(decay_, static_cast<double>(1 + step) / static_cast<double>(10 + step));
  for (const auto& [name, value] : state_of(model)) {
    torch::Tensor& average = averages_.at(name);
    if (value.is_floating_point()) {
      average.lerp_(value, 1 - decay);
    } else {
      average.copy_(value);
    }
  }
}

void Ema::swap(torch::nn::Module& model) {
  const torch::NoGradGuard no_grad;
  for (auto& [name, value] : state_of(model)) {
    torch::Tensor& average = averages_.at(name);
    const torch::Tensor held = value.detach().clone();
    value.copy_(average);
    average.copy_(held);
  }
}

}  // namespace hornet
