#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/checkpoint.h>
#include <hornet/training/checkpoint.h>

#include <limits>
#include <sstream>

namespace hornet {
namespace {

constexpr char kIteration[] = "iteration", kBest[] = "best", kBestIteration[] = "best_iteration",
               kValidated[] = "validated";
constexpr char kSteps[] = "optimizer_steps", kOption[] = "option.", kModelPrefix[] = "model.";

using Tensors = std::map<std::string, torch::Tensor>;

torch::optim::AdamWParamState* moments(torch::optim::AdamW& optimizer,
                                       const torch::Tensor& parameter) {
  const auto found = optimizer.state().find(parameter.unsafeGetTensorImpl());
  if (found == optimizer.state().end()) return nullptr;
  return static_cast<torch::optim::AdamWParamState*>(found->second.get());
}

// Everything that a state holds, sharing memory with the run.
Tensors tensors_of(const RunParts& parts) {
  Tensors tensors;
  for (const auto& [name, value] : state_of(parts.model)) tensors[kModelPrefix + name] = value;
  if (parts.ema != nullptr) {
    for (const auto& [name, value] : parts.ema->averages()) tensors["ema." + name] = value;
  }
  for (const auto& item : parts.model.named_parameters()) {
    const auto* state = moments(parts.optimizer, item.value());
    if (state == nullptr) continue;
    tensors["adamw.1." + item.key()] = state->exp_avg();
    tensors["adamw.2." + item.key()] = state->exp_avg_sq();
  }
  return tensors;
}

int64_t steps_of(const RunParts& parts) {
  int64_t steps = 0;
  for (const torch::Tensor& parameter : parts.model.parameters()) {
    const auto* state = moments(parts.optimizer, parameter);
    if (state != nullptr) steps = std::max(steps, state->step());
  }
  return steps;
}

// Moments to load into, of parameters that the file has moments of.
void make_moments(const RunParts& parts, const weights::File& file, int64_t steps) {
  for (const auto& item : parts.model.named_parameters()) {
    if (file.tensors.count("adamw.1." + item.key()) == 0) continue;
    auto state = std::make_unique<torch::optim::AdamWParamState>();
    state->step(steps);
    state->exp_avg(torch::zeros_like(item.value()));
    state->exp_avg_sq(torch::zeros_like(item.value()));
    parts.optimizer.state()[item.value().unsafeGetTensorImpl()] = std::move(state);
  }
}

std::string exact(double value) {
  std::ostringstream text;
  text.precision(std::numeric_limits<double>::max_digits10);
  text << value;
  return text.str();
}

[[noreturn]] void fail(const weights::File& file, const std::string& what) {
  throw Error(ErrorCode::kWeights, file.path.string() + ": " + what +
                                       "; --resume needs the state of a run of the same model");
}

std::string entry(const weights::File& file, const char* key) {
  const auto found = file.meta.entries.find(key);
  if (found == file.meta.entries.end()) fail(file, std::string("has no '") + key + "'");
  return found->second;
}

int64_t count(const weights::File& file, const char* key) {
  std::istringstream text(entry(file, key));
  int64_t value = -1;
  text >> value;
  if (text.fail() || value < 0) fail(file, std::string("'") + key + "' is not a number");
  return value;
}

void write(const std::filesystem::path& path, const Tensors& tensors,
           const weights::Metadata& meta) {
  Tensors kept;  // alive until written
  std::map<std::string, weights::Tensor> views;
  for (const auto& [name, tensor] : tensors) {
    kept[name] = tensor.detach().cpu().contiguous();
    views[name] = weights::from_torch(kept[name]);
  }
  weights::write_safetensors(path, views, meta);
}

}  // namespace

void save_state(const std::filesystem::path& path, const RunState& state, const RunParts& parts) {
  weights::Metadata meta;
  meta.entries[kIteration] = std::to_string(state.iteration);
  meta.entries[kSteps] = std::to_string(steps_of(parts));
  if (state.best) meta.entries[kBest] = exact(*state.best);
  meta.entries[kBestIteration] = std::to_string(state.best_iteration);
  meta.entries[kValidated] = std::to_string(state.validated);
  for (const auto& [name, value] : state.options) meta.entries[kOption + name] = value;
  write(path, tensors_of(parts), meta);
}

RunState load_state(const std::filesystem::path& path, const RunParts& parts) {
  const torch::NoGradGuard no_grad;
  const weights::File file = weights::read(path);
  RunState state;
  state.iteration = count(file, kIteration);
  state.best_iteration = count(file, kBestIteration);
  const bool says = file.meta.entries.count(kValidated) > 0;  // older states do not
  state.validated = says ? count(file, kValidated) : state.iteration;
  if (file.meta.entries.count(kBest)) state.best = std::strtod(entry(file, kBest).c_str(), nullptr);
  make_moments(parts, file, count(file, kSteps));
  Tensors targets = tensors_of(parts);
  for (const auto& [name, tensor] : file.tensors) {
    const bool is_weight = name.compare(0, sizeof(kModelPrefix) - 1, kModelPrefix) == 0;
    if (is_weight && targets.count(name) == 0) fail(file, "has '" + name + "' besides the model's");
  }
  for (auto& [name, target] : targets) {
    const auto stored = file.tensors.find(name);
    if (stored == file.tensors.end()) fail(file, "lacks '" + name + "'");
    const torch::Tensor value = weights::to_torch(stored->second);
    if (value.sizes() != target.sizes()) fail(file, "has '" + name + "' of another shape");
    target.copy_(value);
  }
  const size_t prefix = sizeof(kOption) - 1;
  for (const auto& [key, value] : file.meta.entries) {
    if (key.compare(0, prefix, kOption) == 0) state.options[key.substr(prefix)] = value;
  }
  return state;
}

void export_model(const std::filesystem::path& path, const torch::nn::Module& model,
                  const ExportOptions& options) {
  const auto left_out = [&](const std::string& name) {
    for (const std::string& prefix : options.left_out) {
      if (name.compare(0, prefix.size(), prefix) == 0) return true;
    }
    return name.find("num_batches_tracked") != std::string::npos;
  };
  Tensors tensors;
  for (const auto& [name, value] : state_of(model)) {
    if (left_out(name)) continue;
    const bool halve = options.half && value.is_floating_point() && value.dim() > 1;
    tensors[name] = value.detach().to(halve ? torch::kFloat16 : value.scalar_type());
    if (!halve || tensors[name].isfinite().all().item<bool>()) continue;
    throw Error(ErrorCode::kRuntime, path.string() + " cannot be written: '" + name +
                                         "' does not fit float16; export with --export fp32");
  }
  write(path, tensors, options.metadata);
}

}  // namespace hornet
