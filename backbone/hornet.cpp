#include <hornet/backbone/hornet.h>
#include <hornet/backbone/plan/prepared_trunk.h>
#include <torch/nn/functional/activation.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/container/sequential.h>

namespace hornet {
namespace {

// Normal with standard deviation 0.02, the authors' initialisation. Theirs is cut off at +-2,
// a hundred standard deviations away.
void initialise(torch::nn::Module& module) {
  torch::NoGradGuard no_grad;
  if (auto* conv = module.as<torch::nn::Conv2d>()) {
    torch::nn::init::normal_(conv->weight, 0.0, 0.02);
    if (conv->bias.defined()) torch::nn::init::zeros_(conv->bias);
  } else if (auto* linear = module.as<torch::nn::Linear>()) {
    torch::nn::init::normal_(linear->weight, 0.0, 0.02);
    torch::nn::init::zeros_(linear->bias);
  }
}

// Stem (stage 0) or downsampling: the norm comes after the convolution in the one, before it in
// the other.
torch::nn::Sequential downsampling(const HorNetOptions& options, int64_t stage) {
  const int64_t out = stage_channels(options, stage);
  if (stage == 0) {
    auto conv = torch::nn::Conv2dOptions(options.in_channels, out, 4).stride(4);
    return torch::nn::Sequential(torch::nn::Conv2d(conv), ChannelLayerNorm(out));
  }
  const int64_t in = stage_channels(options, stage - 1);
  auto conv = torch::nn::Conv2dOptions(in, out, 2).stride(2);
  return torch::nn::Sequential(ChannelLayerNorm(in), torch::nn::Conv2d(conv));
}

GnConvOptions gnconv_options(const HorNetOptions& options, int64_t stage) {
  return GnConvOptions(stage_channels(options, stage))
      .order(options.stages[stage].order)
      .scale(options.gnconv_scale)
      .global_filter(options.stages[stage].global_filter);
}

void check_images(const torch::Tensor& images) {
  TORCH_CHECK(images.dim() == 4, "HorNet: images must be [N,3,H,W], got ", images.sizes());
  TORCH_CHECK(images.size(2) >= 32 && images.size(3) >= 32,
              "HorNet: images must be at least 32x32, got ", images.size(2), "x", images.size(3));
}

// What a prepared trunk gives, where there is one and its way may be taken.
std::optional<Features> prepared_forward(plan::PreparedTrunk* prepared,
                                         const torch::nn::Module& owner,
                                         const torch::Tensor& images) {
  if (prepared == nullptr) return std::nullopt;
  if (plan::weights_may_change(owner)) prepared->drop();
  if (!takes_prepared_way(owner, images) && !plan::takes_map_way(owner, images)) {
    return std::nullopt;
  }
  check_images(images);
  return prepared->forward(images);
}

}  // namespace

int64_t stage_channels(const HorNetOptions& options, int64_t stage) {
  return options.base_dim << stage;
}

HorNetBlockImpl::HorNetBlockImpl(const GnConvOptions& gnconv_options, double drop_path,
                                 double layer_scale_init)
    : drop_path_(drop_path) {
  const int64_t channels = gnconv_options.channels();
  norm1 = register_module("norm1", ChannelLayerNorm(channels));
  gnconv = register_module("gnconv", GnConv(gnconv_options));
  norm2 = register_module(
      "norm2", torch::nn::LayerNorm(torch::nn::LayerNormOptions({channels}).eps(kLayerNormEps)));
  pwconv1 = register_module("pwconv1", torch::nn::Linear(channels, 4 * channels));
  pwconv2 = register_module("pwconv2", torch::nn::Linear(4 * channels, channels));
  if (layer_scale_init > 0) {
    gamma1 = register_parameter("gamma1", torch::full({channels}, layer_scale_init));
    gamma2 = register_parameter("gamma2", torch::full({channels}, layer_scale_init));
  }
}

// Stochastic depth: in training a whole sample's branch is dropped with probability drop_path_.
torch::Tensor HorNetBlockImpl::drop_path(const torch::Tensor& branch) const {
  if (!is_training() || drop_path_ == 0.0) return branch;
  const double keep = 1.0 - drop_path_;
  return branch *
         torch::empty({branch.size(0), 1, 1, 1}, branch.options()).bernoulli_(keep).div_(keep);
}

torch::Tensor HorNetBlockImpl::forward(torch::Tensor x) {
  torch::Tensor mixed = gnconv->forward(norm1->forward(x));
  if (gamma1.defined()) mixed = gamma1.view({1, -1, 1, 1}) * mixed;
  x = x + drop_path(mixed);

  torch::Tensor hidden = torch::gelu(pwconv1->forward(norm2->forward(x.permute({0, 2, 3, 1}))));
  hidden = pwconv2->forward(hidden);
  if (gamma2.defined()) hidden = gamma2 * hidden;
  return x + drop_path(hidden.permute({0, 3, 1, 2}));
}

HorNetTrunk::HorNetTrunk(torch::nn::Module& owner, const HorNetOptions& options) {
  owner.register_module("downsample_layers", downsample_layers);
  owner.register_module("stages", stages);
  int64_t total = 0;
  for (const StageOptions& stage : options.stages) total += stage.depth;
  int64_t index = 0;
  for (int64_t i = 0; i < 4; ++i) {
    downsample_layers->push_back(downsampling(options, i));
    torch::nn::Sequential stage;
    for (int64_t j = 0; j < options.stages[i].depth; ++j, ++index) {
      const double drop_path = total > 1 ? options.drop_path_rate * index / (total - 1) : 0.0;
      stage->push_back(
          HorNetBlock(gnconv_options(options, i), drop_path, options.layer_scale_init));
    }
    stages->push_back(stage);
  }
  owner.apply(initialise);
}

Features HorNetTrunk::forward(const torch::Tensor& images, int64_t last) const {
  check_images(images);
  Features outputs;
  torch::Tensor x = images.contiguous(torch::MemoryFormat::ChannelsLast);
  for (int64_t i = 0; i <= last; ++i) {
    x = downsample_layers->ptr(i)->as<torch::nn::Sequential>()->forward(x);
    x = stages->ptr(i)->as<torch::nn::Sequential>()->forward(x);
    outputs.push_back(x);
  }
  return outputs;
}

HorNetImpl::HorNetImpl(const HorNetOptions& options_) : options(options_), trunk_(*this, options_) {
  for (int64_t index : options.out_indices) {
    TORCH_CHECK(index >= 0 && index < 4, "HorNet: out_indices are stages 0 to 3, got ", index);
    norms_.push_back(register_module("norm" + std::to_string(index),
                                     ChannelLayerNorm(stage_channels(options, index))));
  }
}

void HorNetImpl::prepare() {
  std::vector<plan::PlanOutput> outputs;
  for (size_t i = 0; i < norms_.size(); ++i) outputs.push_back({options.out_indices[i], norms_[i]});
  prepared_ = std::make_shared<plan::PreparedTrunk>(trunk_, outputs);
}

int64_t HorNetImpl::prepared_bytes() const { return prepared_ ? prepared_->bytes() : 0; }

Features HorNetImpl::forward(const torch::Tensor& images) {
  if (const auto maps = prepared_forward(prepared_.get(), *this, images)) return *maps;
  const auto last = std::max_element(options.out_indices.begin(), options.out_indices.end());
  const Features stages = trunk_.forward(images, last == options.out_indices.end() ? 3 : *last);
  Features outputs;
  for (size_t i = 0; i < norms_.size(); ++i) {
    outputs.push_back(norms_[i]->forward(stages[options.out_indices[i]]));
  }
  return outputs;
}

std::vector<FeatureInfo> HorNetImpl::feature_info(const HorNetOptions& options) {
  std::vector<FeatureInfo> info;
  for (int64_t index : options.out_indices) {
    info.push_back({stage_channels(options, index), int64_t{4} << index});
  }
  return info;
}

HorNetClassifierImpl::HorNetClassifierImpl(const HorNetOptions& options_, int64_t num_classes)
    : options(options_), trunk_(*this, options_) {
  const int64_t channels = stage_channels(options, 3);
  norm = register_module(
      "norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({channels}).eps(kLayerNormEps)));
  head = register_module("head", torch::nn::Linear(channels, num_classes));
  initialise(*head);
}

void HorNetClassifierImpl::prepare() {
  prepared_ = std::make_shared<plan::PreparedTrunk>(
      trunk_, std::vector<plan::PlanOutput>{
                  {0, {nullptr}}, {1, {nullptr}}, {2, {nullptr}}, {3, {nullptr}}});
}

int64_t HorNetClassifierImpl::prepared_bytes() const { return prepared_ ? prepared_->bytes() : 0; }

Features HorNetClassifierImpl::stages(const torch::Tensor& images) {
  if (const auto maps = prepared_forward(prepared_.get(), *this, images)) return *maps;
  return trunk_.forward(images);
}

ClassifierOutputs HorNetClassifierImpl::forward_stages(const torch::Tensor& images) {
  ClassifierOutputs outputs;
  outputs.stages = stages(images);
  outputs.pooled = norm->forward(outputs.stages.back().mean({2, 3}));
  outputs.logits = head->forward(outputs.pooled);
  return outputs;
}

torch::Tensor HorNetClassifierImpl::forward(const torch::Tensor& images) {
  return forward_stages(images).logits;
}

}  // namespace hornet
