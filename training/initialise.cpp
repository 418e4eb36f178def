#include <hornet/backbone/error.h>
#include <hornet/backbone/hornet.h>
#include <hornet/training/initialise.h>
#include <hornet/training/internal/ends_with.h>
#include <torch/nn/init.h>

#include <cmath>

namespace hornet {
namespace {

constexpr double kOfficialStd = 0.02, kOfficialLayerScale = 1e-6;
constexpr double kLayerScale = 0.4;

// The last layers of heads, by the end of their names.
struct LastLayer {
  const char* name;
  double std;
};
constexpr LastLayer kLastLayers[] = {
    {"conv_seg", 0.01}, {"rpn_cls", 0.01}, {"rpn_reg", 0.01}, {"fc_cls", 0.01}, {"fc_reg", 0.001}};

void zero(torch::Tensor& bias) {
  if (bias.defined()) torch::nn::init::zeros_(bias);
}

double fan_in(const torch::Tensor& weight) {
  return static_cast<double>(weight.numel()) / static_cast<double>(weight.size(0));
}

void draw(torch::nn::Module& module, Initialisation how) {
  const auto std_of = [how](const torch::Tensor& weight) {
    return how == Initialisation::kFanIn ? 1 / std::sqrt(fan_in(weight)) : kOfficialStd;
  };
  if (auto* conv = module.as<torch::nn::Conv2dImpl>()) {
    torch::nn::init::normal_(conv->weight, 0, std_of(conv->weight));
    zero(conv->bias);
  } else if (auto* linear = module.as<torch::nn::LinearImpl>()) {
    torch::nn::init::normal_(linear->weight, 0, std_of(linear->weight));
    zero(linear->bias);
  } else if (auto* filter = module.as<GlobalLocalFilterImpl>()) {
    // Real and imaginary part share the unit variance.
    const double part = how == Initialisation::kFanIn ? std::sqrt(0.5) : kOfficialStd;
    torch::nn::init::normal_(filter->complex_weight, 0, part);
  } else if (auto* block = module.as<HorNetBlockImpl>()) {
    const double scale = how == Initialisation::kFanIn ? kLayerScale : kOfficialLayerScale;
    for (torch::Tensor* gamma : {&block->gamma1, &block->gamma2}) {
      if (gamma->defined()) gamma->fill_(scale);
    }
  }
}

// Makes up for gnConv's factor `scale` after the mixer.
void raise_gates(torch::nn::Module& module) {
  auto* gnconv = dynamic_cast<GnConvImpl*>(&module);
  if (gnconv == nullptr) return;
  const double gain = 1 / gnconv->options.scale();
  const auto mixer = gnconv->dwconv.ptr();
  if (auto* conv = mixer->as<torch::nn::Conv2dImpl>()) conv->weight.mul_(gain);
  if (auto* filter = mixer->as<GlobalLocalFilterImpl>()) filter->post_norm->weight.fill_(gain);
}

}  // namespace

Initialisation parse_initialisation(const std::string& text) {
  if (text == "fan-in") return Initialisation::kFanIn;
  if (text == "official") return Initialisation::kOfficial;
  throw Error(ErrorCode::kUsage, "--initialisation " + text + ": expected fan-in or official");
}

void initialise(torch::nn::Module& model, Initialisation how) {
  const torch::NoGradGuard no_grad;
  model.apply([how](torch::nn::Module& module) { draw(module, how); });
  if (how == Initialisation::kFanIn) model.apply(raise_gates);
  for (const auto& parameter : model.named_parameters()) {
    for (const LastLayer& last : kLastLayers) {
      if (!internal::ends_with(parameter.key(), std::string(last.name) + ".weight")) continue;
      torch::nn::init::normal_(parameter.value(), 0, last.std);
    }
  }
}

}  // namespace hornet
