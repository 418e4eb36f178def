// HorNet (arXiv 2207.14284): a four-stage network like ConvNeXt's in shape, whose blocks mix
// space with gnConv instead of a large convolution or attention.
//
//   stem: 4x4 convolution, stride 4;   between stages: layer norm, 2x2 convolution, stride 2
//   block: x += gamma1 * gnConv(LN(x));  x += gamma2 * MLP(LN(x))          (order 2, 3, 4, 5)
//
//   hornet::HorNet backbone(hornet::hornet_variant("hornet_tiny_gf"));
//   hornet::Features maps = backbone->forward(images);    // strides 4, 8, 16, 32
//
//   hornet::HorNetClassifier model(hornet::hornet_variant("hornet_tiny_gf"), /*num_classes=*/1000);
//   torch::Tensor logits = model->forward(images);
//
// prepare_for_inference(*backbone) makes it fast on a CPU: see inference.h.
//
// Parameters have the authors' names ("stages.2.5.gnconv.dwconv.complex_weight"), so their
// checkpoints load as they are. Activations stay in channels-last order.
#pragma once

#include <hornet/backbone/backbone.h>
#include <hornet/backbone/gnconv.h>
#include <hornet/backbone/inference.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

namespace hornet {

namespace plan {
class PreparedTrunk;
}

// The spatial mixing of one stage.
struct StageOptions {
  int64_t depth = 2;                             // blocks
  int64_t order = 2;                             // of gnConv
  std::optional<FilterSize> global_filter = {};  // none: 7x7 depthwise convolution
};

struct HorNetOptions {
  int64_t in_channels = 3;
  int64_t base_dim = 64;  // channels of the first stage; then x2 each
  std::array<StageOptions, 4> stages = {{{2, 2, {}}, {3, 3, {}}, {18, 4, {}}, {2, 5, {}}}};
  double gnconv_scale = 1.0 / 3.0;
  double drop_path_rate = 0.0;                      // stochastic depth, rising with the depth
  double layer_scale_init = 1e-6;                   // 0: no layer scale
  std::vector<int64_t> out_indices = {0, 1, 2, 3};  // stages that a backbone returns
};

// The filters of the GF variants were trained at different sizes for the three tasks.
enum class FilterUse { kClassification, kDetection, kSegmentation };

// A row of the table of variants: the published hornet_{tiny,small,base,large}_{7x7,gf} and
// hornet_{base,large}_gf_img384, and hornet_{nano,pico}_{7x7,gf}, small ones of ours to train and
// run on CPUs (up to 8 and 3 million parameters). Error(kUsage) lists the rows.
HorNetOptions hornet_variant(const std::string& name, FilterUse use = FilterUse::kClassification);
std::vector<std::string> hornet_variant_names();        // the published ones
std::vector<std::string> hornet_small_variant_names();  // ours

// The name of an architecture in the table ("hornet_tiny_gf"), or "" if it is none of them.
std::string variant_name(const HorNetOptions& options, FilterUse use);

// Side of the square images that a classification model was trained on: 16 pixels for each row of
// stage 2's learned filter (224 or 384), 224 without one.
int64_t classification_size(const HorNetOptions& options);

// Channels of stage i: base_dim * 2^i.
int64_t stage_channels(const HorNetOptions& options, int64_t stage);

class HorNetBlockImpl : public torch::nn::Module {
 public:
  HorNetBlockImpl(const GnConvOptions& gnconv, double drop_path, double layer_scale_init);
  torch::Tensor forward(torch::Tensor x);  // [N,C,H,W] -> [N,C,H,W]

  ChannelLayerNorm norm1{nullptr};
  GnConv gnconv{nullptr};
  torch::nn::LayerNorm norm2{nullptr};
  torch::nn::Linear pwconv1{nullptr}, pwconv2{nullptr};
  torch::Tensor gamma1, gamma2;  // [C], undefined without layer scale

 private:
  torch::Tensor drop_path(const torch::Tensor& branch) const;
  double drop_path_;
};
TORCH_MODULE(HorNetBlock);

// The layers that the backbone and the classifier have in common, registered in their owner so
// that both keep the authors' flat names.
class HorNetTrunk {
 public:
  HorNetTrunk(torch::nn::Module& owner, const HorNetOptions& options);

  // The un-normalised outputs of stages 0 ... last, for images [N,in_channels,H,W].
  Features forward(const torch::Tensor& images, int64_t last = 3) const;

  torch::nn::ModuleList downsample_layers, stages;
};

// The backbone for dense prediction: the chosen stages' outputs, each with a norm of its own.
class HorNetImpl : public Backbone, public Preparable {
 public:
  explicit HorNetImpl(const HorNetOptions& options);
  Features forward(const torch::Tensor& images) override;
  std::vector<FeatureInfo> feature_info() const override { return feature_info(options); }

  // The same before a backbone exists.
  static std::vector<FeatureInfo> feature_info(const HorNetOptions& options);

  void prepare() override;
  int64_t prepared_bytes() const override;

  HorNetOptions options;

 private:
  HorNetTrunk trunk_;
  std::shared_ptr<plan::PreparedTrunk> prepared_;
  std::vector<ChannelLayerNorm> norms_;
};
TORCH_MODULE(HorNet);

// What forward of the classifier passes through, stage by stage.
struct ClassifierOutputs {
  Features stages;
  torch::Tensor pooled;  // [N, 8 * base_dim], after the final norm
  torch::Tensor logits;  // [N, num_classes]
};

class HorNetClassifierImpl : public torch::nn::Module, public Preparable {
 public:
  HorNetClassifierImpl(const HorNetOptions& options, int64_t num_classes);
  torch::Tensor forward(const torch::Tensor& images);  // [N,3,H,W] -> logits [N,num_classes]
  ClassifierOutputs forward_stages(const torch::Tensor& images);

  void prepare() override;
  int64_t prepared_bytes() const override;

  HorNetOptions options;
  torch::nn::LayerNorm norm{nullptr};
  torch::nn::Linear head{nullptr};

 private:
  Features stages(const torch::Tensor& images);

  HorNetTrunk trunk_;
  std::shared_ptr<plan::PreparedTrunk> prepared_;
};
TORCH_MODULE(HorNetClassifier);

}  // namespace hornet
