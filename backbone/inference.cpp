#include <c10/core/InferenceMode.h>
#include <hornet/backbone/inference.h>
#include <hornet/backbone/plan/watched_plan.h>

namespace hornet {
namespace {

template <typename Visit>
void visit_preparable(torch::nn::Module& module, const Visit& visit) {
  if (auto* part = dynamic_cast<Preparable*>(&module)) visit(*part);
  for (const auto& child : module.children()) visit_preparable(*child, visit);
}

}  // namespace

void prepare_for_inference(torch::nn::Module& model) {
  for (const torch::Tensor& weight : model.parameters()) {
    if (!weight.is_inference()) continue;
    TORCH_WARN(
        "hornet::prepare_for_inference: weights were made under torch::InferenceMode, so "
        "the plain modules will run; make the model before the guard.");
    break;
  }
  visit_preparable(model, [](Preparable& part) { part.prepare(); });
}

int64_t prepared_bytes(const torch::nn::Module& model) {
  int64_t total = 0;
  visit_preparable(const_cast<torch::nn::Module&>(model),
                   [&](Preparable& part) { total += part.prepared_bytes(); });
  return total;
}

bool takes_prepared_way(const torch::nn::Module& module, const torch::Tensor& input) {
  return plan::asked_precision() && !module.is_training() && c10::InferenceMode::is_enabled() &&
         input.is_cpu() && input.scalar_type() == torch::kFloat32;
}

}  // namespace hornet
