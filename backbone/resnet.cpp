#include <hornet/backbone/error.h>
#include <hornet/backbone/resnet.h>
#include <torch/nn/init.h>

#include <algorithm>

namespace hornet {
namespace {

constexpr int64_t kExpansion = 4;

struct ResNetDepths {
  const char* name;
  std::array<int64_t, 4> depths;
};

constexpr ResNetDepths kResNets[] = {
    {"resnet50", {3, 4, 6, 3}},
    {"resnet101", {3, 4, 23, 3}},
};

torch::nn::Conv2d conv(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1) {
  torch::nn::Conv2d module(
      torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
  torch::nn::init::kaiming_normal_(module->weight, 0, torch::kFanOut, torch::kReLU);
  return module;
}

torch::nn::Sequential stage(const ResNetOptions& options, int64_t index) {
  const int64_t width = options.base_width << index;
  int64_t in = index == 0 ? options.base_width : stage_channels(options, index - 1);
  torch::nn::Sequential blocks;
  for (int64_t i = 0; i < options.depths[index]; ++i) {
    blocks->push_back(Bottleneck(in, width, i == 0 && index > 0 ? 2 : 1, options));
    in = kExpansion * width;
  }
  return blocks;
}

}  // namespace

ResNetOptions resnet_variant(const std::string& name) {
  std::string known;
  for (const ResNetDepths& variant : kResNets) {
    if (name == variant.name) {
      ResNetOptions options;
      options.depths = variant.depths;
      return options;
    }
    known += std::string(" ") + variant.name;
  }
  throw Error(ErrorCode::kUsage, "no ResNet variant is called '" + name + "'; there are:" + known);
}

std::vector<std::string> resnet_variant_names() {
  std::vector<std::string> names;
  for (const ResNetDepths& variant : kResNets) names.emplace_back(variant.name);
  return names;
}

std::string variant_name(const ResNetOptions& options) {
  for (const ResNetDepths& variant : kResNets) {
    if (options.base_width == ResNetOptions().base_width && options.depths == variant.depths) {
      return variant.name;
    }
  }
  return "";
}

int64_t stage_channels(const ResNetOptions& options, int64_t stage) {
  return kExpansion * options.base_width << stage;
}

ResNetNormImpl::ResNetNormImpl(int64_t channels, const ResNetOptions& options)
    : frozen_(options.frozen_norm), eps_(options.norm_eps) {
  const auto learned = [&](const char* name, const torch::Tensor& value) {
    return frozen_ ? register_buffer(name, value) : register_parameter(name, value);
  };
  weight = learned("weight", torch::ones(channels));
  bias = learned("bias", torch::zeros(channels));
  running_mean = register_buffer("running_mean", torch::zeros(channels));
  running_var = register_buffer("running_var", torch::ones(channels));
  if (!frozen_) register_buffer("num_batches_tracked", torch::zeros({}, torch::kLong));
}

torch::Tensor ResNetNormImpl::forward(const torch::Tensor& x) {
  if (is_training() && !frozen_) {
    constexpr double kMomentum = 0.1;
    return torch::batch_norm(x, weight, bias, running_mean, running_var, true, kMomentum, eps_,
                             /*cudnn_enabled=*/true);
  }
  // In this order torchvision's FrozenBatchNorm2d rounds. Under autocast x is of a shorter type
  // than the numbers here, and the result is float32: so is the residual stream.
  const torch::Tensor scale = weight * (running_var + eps_).rsqrt();
  const torch::Tensor shift = bias - running_mean * scale;
  return (x * scale.view({1, -1, 1, 1})).add_(shift.view({1, -1, 1, 1}));
}

BottleneckImpl::BottleneckImpl(int64_t in, int64_t width, int64_t stride,
                               const ResNetOptions& options) {
  const int64_t out = kExpansion * width;
  conv1 = register_module("conv1", conv(in, width, 1));
  bn1 = register_module("bn1", ResNetNorm(width, options));
  conv2 = register_module("conv2", conv(width, width, 3, stride));
  bn2 = register_module("bn2", ResNetNorm(width, options));
  conv3 = register_module("conv3", conv(width, out, 1));
  bn3 = register_module("bn3", ResNetNorm(out, options));
  if (stride == 1 && in == out) return;
  downsample = register_module(
      "downsample", torch::nn::Sequential(conv(in, out, 1, stride), ResNetNorm(out, options)));
}

torch::Tensor BottleneckImpl::forward(const torch::Tensor& x) {
  torch::Tensor y = bn1->forward(conv1->forward(x)).relu_();
  y = bn2->forward(conv2->forward(y)).relu_();
  y = bn3->forward(conv3->forward(y));
  return y.add_(downsample ? downsample->forward(x) : x).relu_();
}

ResNetImpl::ResNetImpl(const ResNetOptions& options_) : options(options_) {
  for (int64_t index : options.out_indices) {
    TORCH_CHECK(index >= 0 && index < 4, "ResNet: out_indices are stages 0 to 3, got ", index);
  }
  conv1 = register_module("conv1", conv(options.in_channels, options.base_width, 7, 2));
  bn1 = register_module("bn1", ResNetNorm(options.base_width, options));
  for (int64_t i = 0; i < 4; ++i) {
    layers.push_back(register_module("layer" + std::to_string(i + 1), stage(options, i)));
  }
}

Features ResNetImpl::forward(const torch::Tensor& images) {
  torch::Tensor x = bn1->forward(conv1->forward(images)).relu_();
  x = torch::max_pool2d(x, /*kernel_size=*/3, /*stride=*/2, /*padding=*/1);
  const auto last = std::max_element(options.out_indices.begin(), options.out_indices.end());
  const int64_t stages = last == options.out_indices.end() ? 0 : *last + 1;
  Features maps;
  for (int64_t i = 0; i < stages; ++i) {
    x = layers[i]->forward(x);
    maps.push_back(x);
  }
  Features outputs;
  for (int64_t index : options.out_indices) outputs.push_back(maps[index]);
  return outputs;
}

std::vector<FeatureInfo> ResNetImpl::feature_info(const ResNetOptions& options) {
  std::vector<FeatureInfo> info;
  for (int64_t index : options.out_indices) {
    info.push_back({stage_channels(options, index), int64_t{4} << index});
  }
  return info;
}

}  // namespace hornet
