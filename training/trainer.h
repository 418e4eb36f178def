// The training loop: batches, gradients, AdamW, averaged weights, validation, checkpoints, logs.
//
//   Trainer trainer(task, options);          // the model already has the weights to start from
//   if (resume) trainer.resume();
//   const InterruptGuard guard;              // Ctrl-C saves
//   return trainer.run();
//
// In options.output it leaves state.safetensors (to resume), model.safetensors (the averaged
// weights, for `hornet`), best.safetensors (those with the best validation), losses.csv,
// metrics.csv and curves.png.
//
// Every random number of iteration i follows from the seed and i, so a run that was interrupted and
// resumed ends with the same bits as one that was not, on one thread (several threads add up
// gradients in an order that varies). A loss or gradient that is not finite is an Error(kRuntime)
// that names the iteration and leaves the last state as it was.
//
// Several processes (data_parallel.h) share each batch: the batch size is that of all together, and
// must be divisible by their number. Process 0 alone writes files and says what happens; a user who
// interrupts one of them stops all, after the same iteration. Numbers drawn inside a step (dropout,
// stochastic depth) differ between processes.
#pragma once

#include <hornet/pipelines/progress.h>
#include <hornet/training/batches.h>
#include <hornet/training/checkpoint.h>
#include <hornet/training/data_parallel.h>
#include <hornet/training/schedule.h>
#include <hornet/training/task.h>
#include <hornet/training/training_log.h>

#include <chrono>
#include <set>

namespace hornet {

struct TrainerOptions {
  std::filesystem::path output;  // a folder
  LoaderOptions loader;          // batch size, seed, threads; its part is the team's affair
  double learning_rate = 1e-4;
  ScheduleOptions schedule;  // iterations, warm-up
  RateDecay rate_decay;
  AdamWSettings adamw;
  double clip_norm = 1;  // of the gradient; 0: as it is
  double ema = 0.998;    // 0: no averaged weights
  RuntimeOptions runtime;
  int64_t validate_every = 1000;  // iterations; at the end in any case
  int64_t log_every = 20;         // iterations that a row of losses.csv is the mean of; the last
                                  // of a run may have fewer
  double save_every = 300;        // seconds
  bool export_half = true;
  ProgressMode progress = ProgressMode::kAuto;
  std::map<std::string, std::string> settings;  // written into states, and compared by resume()
};

// What a step has found: the loss and its parts, the gradient's norm, the rate.
struct StepReport {
  std::vector<std::pair<std::string, double>> losses;  // "loss" first
  double gradient_norm = 0;
  double rate = 0;
};

class Trainer {
 public:
  // `task` must outlive the trainer. Error(kOutput) if the folder cannot be made, Error(kUsage) for
  // a batch that the team cannot share.
  Trainer(TrainingTask& task, const TrainerOptions& options, const ProcessTeam& team = {});

  // Goes on from output/state.safetensors. Returns a line for each setting that has changed.
  std::vector<std::string> resume();

  // One iteration.
  StepReport step(const Batch& batch);

  // Writes the state, the model and the logs.
  void save();

  // To the end, or until the user interrupts it: 0 or 130, the exit code. Error(kRuntime) if the
  // team's processes start from different weights, iterations or data.
  int run();

  int64_t iteration() const { return state_.iteration; }
  const RunState& state() const { return state_; }

 private:
  StepReport compute_gradients(const Batch& batch);
  [[noreturn]] void fail_not_finite(const StepReport& report) const;
  void log_step(const StepReport& report, Progress& progress);
  void validate(Progress& progress);
  void validate_if_due(Progress& progress);
  Batch next_batch(BatchLoader& loader);
  void export_to(const char* name);
  void check_equal_starts() const;
  RunParts parts() { return {task_.model(), optimizer_, ema_ ? &*ema_ : nullptr}; }

  TrainingTask& task_;
  ProcessTeam team_;
  TrainerOptions options_;
  Runtime runtime_;
  std::vector<ParameterGroup> groups_;
  std::vector<torch::Tensor> parameters_;
  torch::optim::AdamW optimizer_;
  std::optional<Ema> ema_;
  RunState state_;
  TrainingLog log_;
  std::vector<StepReport> unlogged_;
  std::string last_metric_;
  std::set<std::string> left_out_;  // validation images that could not be read
  int64_t saved_at_ = -1;
};

}  // namespace hornet
