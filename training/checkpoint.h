// A run on disk: what it needs to go on as if it had never stopped, and the model that it has made.
//
//   const RunParts parts = {*model, optimizer, &ema};
//   save_state("run/state.safetensors", state, parts);
//   RunState state = load_state("run/state.safetensors", parts);  // fills the parts
//   export_model("run/model.safetensors", *model, {metadata});
//
// A state is a .safetensors file: `model.<name>`, `ema.<name>`, and AdamW's two moments as
// `adamw.1.<name>` and `adamw.2.<name>`. Its metadata are the iteration, the last one that
// was validated, the best value of the metric so far, and the options of the run. There is no state
// of a random generator: every iteration seeds its own with the run's seed and its number. Files
// appear complete or not at all.
#pragma once

#include <hornet/backbone/weights/tensor_file.h>
#include <hornet/training/optimizer.h>

#include <filesystem>
#include <optional>

namespace hornet {

struct RunState {
  int64_t iteration = 0;       // steps taken
  std::optional<double> best;  // of the first metric
  int64_t best_iteration = 0;
  int64_t validated = 0;                       // the last iteration that was
  std::map<std::string, std::string> options;  // of the run, to be compared
};

struct RunParts {
  torch::nn::Module& model;
  torch::optim::AdamW& optimizer;
  Ema* ema;  // may be null
};

void save_state(const std::filesystem::path& path, const RunState& state, const RunParts& parts);

// Error(kWeights) if the file is damaged, or of another model.
RunState load_state(const std::filesystem::path& path, const RunParts& parts);

struct ExportOptions {
  weights::Metadata metadata;
  std::vector<std::string> left_out;  // prefixes of names
  bool half = true;                   // matrices and filters in float16; vectors stay in float32
};

// What `hornet` reads. Error(kRuntime) if a weight is too large for float16.
void export_model(const std::filesystem::path& path, const torch::nn::Module& model,
                  const ExportOptions& options);

}  // namespace hornet
