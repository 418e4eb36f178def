// Making a model ready for inference.
//
//   hornet::LoadedModel model = hornet::load_model(hornet::weights::read("model.pth"));
//   hornet::prepare_for_inference(hornet::as_module(model.module));
//   const torch::InferenceMode inference;               // without it the plain modules run
//
// A prepared part gives what it gave before, to float32 rounding, by a faster way, whenever it is
// in evaluation mode, under InferenceMode, and meets float32 on the CPU. Under autocast to bf16
// what its matrix products take is rounded, and nothing else. A HorNet has a faster way for GPUs
// too, with autocast and without. Otherwise nothing changes. The first call folds and packs the
// weights. A weight that changes afterwards is noticed, by its version counter as autograd does it,
// and prepared anew at the next call; so is everything once a part has run in training mode or with
// gradients on. What is written through tensor.data() between two calls under InferenceMode is not
// seen, and a replaced module needs another call of prepare_for_inference. Weights are then twice
// in memory, and a HorNet has a workspace of the largest input so far; both once more if the model
// runs in float32 and in bf16. Necks and heads share a workspace of the calling thread.
#pragma once

#include <torch/nn/module.h>

namespace hornet {

// What modules implement that have a faster way.
class Preparable {
 public:
  virtual ~Preparable() = default;
  virtual void prepare() = 0;
  // Bytes of what prepare() made and of the workspace.
  virtual int64_t prepared_bytes() const = 0;
};

// Prepares `model` and all of its parts that are Preparable. Warns of weights that were made under
// InferenceMode: changes of such could not be noticed, so the plain modules run.
void prepare_for_inference(torch::nn::Module& model);

// What all prepared parts of a model hold.
int64_t prepared_bytes(const torch::nn::Module& model);

// Whether a prepared part may take its faster way now, for this input.
bool takes_prepared_way(const torch::nn::Module& module, const torch::Tensor& input);

}  // namespace hornet
