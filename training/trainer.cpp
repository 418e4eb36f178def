#include <hornet/backbone/error.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/training/random.h>
#include <hornet/training/trainer.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/utils.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <string_view>

namespace hornet {
namespace {

namespace fs = std::filesystem;

constexpr char kState[] = "state.safetensors", kModel[] = "model.safetensors",
               kBest[] = "best.safetensors";
constexpr uint64_t kStepSeeds = 3;  // what is random in a step, apart from the loader's 1 and 2

std::string short_text(double value) {
  if (std::isnan(value)) return "nan";  // of either sign
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

// "loss 0.81 (decode 0.61, aux 0.2)"
std::string loss_text(const std::vector<std::pair<std::string, double>>& losses) {
  std::string text;
  for (size_t i = 0; i < losses.size(); ++i) {
    text += (i == 0   ? ""
             : i == 1 ? " ("
                      : ", ") +
            losses[i].first + " " + short_text(losses[i].second);
  }
  return losses.size() > 1 ? text + ")" : text;
}

// What a process makes of the options: its part of the batches, and silence unless it leads.
TrainerOptions options_of(TrainerOptions options, const ProcessTeam& team) {
  if (options.loader.batch_size % team.size() != 0) {
    throw Error(ErrorCode::kUsage, "--batch-size " + std::to_string(options.loader.batch_size) +
                                       ": is that of all processes together; expected a multiple "
                                       "of their number, " +
                                       std::to_string(team.size()));
  }
  options.loader.part = team.rank();
  options.loader.parts = team.size();
  if (!team.leads()) options.progress = ProgressMode::kNone;
  return options;
}

// What is random in a step: the same whenever it is taken, but not in each process.
uint64_t step_seed(uint64_t seed, int64_t iteration, int rank) {
  const uint64_t own = derive_seed(derive_seed(seed, kStepSeeds), static_cast<uint64_t>(iteration));
  return rank == 0 ? own : derive_seed(own, static_cast<uint64_t>(rank));
}

uint64_t checksum(const torch::nn::Module& model) {
  uint64_t sum = 0;
  for (const auto& [name, value] : state_of(model)) {
    const torch::Tensor host = value.detach().cpu().contiguous();
    const std::string_view bytes(static_cast<const char*>(host.data_ptr()), host.nbytes());
    sum = derive_seed(sum, std::hash<std::string_view>()(bytes));
  }
  return sum;
}

// While it lives, the model has the averaged weights and is in evaluation mode.
class AveragedScope {
 public:
  AveragedScope(torch::nn::Module& model, Ema* ema) : model_(model), ema_(ema) {
    if (ema_ != nullptr) ema_->swap(model_);
    model_.eval();
  }
  ~AveragedScope() {
    if (ema_ != nullptr) ema_->swap(model_);
    model_.train();
  }
  AveragedScope(const AveragedScope&) = delete;
  AveragedScope& operator=(const AveragedScope&) = delete;

 private:
  torch::nn::Module& model_;
  Ema* ema_;
};

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || !fs::is_directory(folder)) {
    throw Error(ErrorCode::kOutput, folder.string() + ": the folder cannot be made: " +
                                        (error ? error.message() : "there is a file"));
  }
}

// The mean of each number over several steps.
std::vector<std::pair<std::string, double>> means_of(const std::vector<StepReport>& reports) {
  std::vector<std::pair<std::string, double>> means = reports.front().losses;
  means.emplace_back("rate", reports.back().rate);
  means.emplace_back("gradient", 0);
  for (auto& mean : means) {
    if (mean.first != "rate") mean.second = 0;
  }
  for (const StepReport& report : reports) {
    for (size_t i = 0; i < report.losses.size(); ++i) means[i].second += report.losses[i].second;
    means.back().second += report.gradient_norm;
  }
  for (auto& mean : means) {
    if (mean.first != "rate") mean.second /= static_cast<double>(reports.size());
  }
  return means;
}

}  // namespace

Trainer::Trainer(TrainingTask& task, const TrainerOptions& options, const ProcessTeam& team)
    : task_(task),
      team_(team),
      options_(options_of(options, team)),
      runtime_(options.runtime),
      groups_(
          (task.model().to(runtime_.device()), parameter_groups(task.model(), options.rate_decay))),
      optimizer_(make_adamw(groups_, options.adamw)),
      log_(options.output) {
  for (const ParameterGroup& group : groups_) {
    parameters_.insert(parameters_.end(), group.parameters.begin(), group.parameters.end());
  }
  if (options_.ema > 0) ema_.emplace(task_.model(), options_.ema);
  state_.options = options_.settings;
  if (team_.leads()) make_folder(options_.output);
  task_.model().train();
}

std::vector<std::string> Trainer::resume() {
  state_ = load_state(options_.output / kState, parts());
  std::vector<std::string> changes;
  for (const auto& [name, value] : options_.settings) {
    const auto before = state_.options.find(name);
    const std::string old = before == state_.options.end() ? "not set" : before->second;
    if (old != value) changes.push_back("--" + name + " " + value + " (before: " + old + ")");
  }
  for (const auto& [name, value] : state_.options) {
    if (options_.settings.count(name) > 0) continue;
    changes.push_back("--" + name + " not set (before: " + value + ")");
  }
  state_.options = options_.settings;
  saved_at_ = state_.iteration;
  return changes;
}

// The gradient of the loss, in the parameters: the mean over all processes, as is what is reported.
// A loss that is not finite in one of them is so in all, which then stop together.
StepReport Trainer::compute_gradients(const Batch& batch) {
  optimizer_.zero_grad();
  const Losses losses = runtime_.run_with_gradients(
      [&] { return task_.losses(to_device(batch, runtime_.device())); });
  const torch::Tensor total = losses.total();
  std::vector<double> values = {total.item<double>()};
  for (const auto& part : losses.parts) values.push_back(part.second.item<double>());
  values = team_.means(values);
  StepReport report;
  report.losses.emplace_back("loss", values[0]);
  for (size_t i = 0; i < losses.parts.size(); ++i) {
    report.losses.emplace_back(losses.parts[i].first, values[i + 1]);
  }
  if (!std::isfinite(report.losses.front().second)) fail_not_finite(report);
  if (total.requires_grad()) total.backward();
  team_.average_gradients(parameters_);
  return report;
}

StepReport Trainer::step(const Batch& batch) {
  torch::manual_seed(step_seed(options_.loader.seed, state_.iteration, team_.rank()));
  StepReport report = compute_gradients(batch);
  const double limit = options_.clip_norm > 0 ? options_.clip_norm : HUGE_VAL;
  report.gradient_norm = torch::nn::utils::clip_grad_norm_(parameters_, limit);
  if (!std::isfinite(report.gradient_norm)) fail_not_finite(report);
  report.rate = options_.learning_rate * learning_rate_factor(options_.schedule, state_.iteration);
  set_learning_rate(optimizer_, groups_, report.rate);
  optimizer_.step();
  team_.average_buffers(task_.model());
  if (ema_) ema_->update(task_.model(), state_.iteration);
  ++state_.iteration;
  return report;
}

void Trainer::fail_not_finite(const StepReport& report) const {
  std::string what = "iteration " + std::to_string(state_.iteration) + ": " +
                     loss_text(report.losses) + ", gradient " + short_text(report.gradient_norm) +
                     " is not finite; ";
  if (saved_at_ < 0) {
    what += "try a lower --lr, a longer --warmup or a smaller --clip";
  } else {
    what += (options_.output / kState).string() + " has iteration " + std::to_string(saved_at_) +
            ": --resume it with a lower --lr or a smaller --clip";
  }
  throw Error(ErrorCode::kRuntime, what);
}

void Trainer::log_step(const StepReport& report, Progress& progress) {
  unlogged_.push_back(report);
  const auto means = means_of(unlogged_);
  const std::vector<std::pair<std::string, double>> losses(means.begin(), means.end() - 2);
  progress.describe(loss_text(losses) + "  rate " + short_text(report.rate) + last_metric_);
  const bool is_last = state_.iteration == options_.schedule.iterations;
  if (state_.iteration % options_.log_every != 0 && !is_last) return;
  log_.add_losses(state_.iteration, means);
  unlogged_.clear();
}

void Trainer::validate(Progress& progress) {
  const AveragedScope averaged(task_.model(), ema_ ? &*ema_ : nullptr);
  Validation validation = {runtime_, team_};
  if (options_.loader.skip_bad) {
    validation.leave_out = [&](const std::string& error) {
      if (left_out_.insert(error).second) progress.note("hornet: left out: " + error);
    };
  }
  const Metrics metrics = task_.evaluate(validation);
  const bool was_interrupted = metrics.empty() && team_.any(interrupted());
  if (!was_interrupted) state_.validated = state_.iteration;
  if (metrics.empty() || !team_.leads()) return;
  log_.add_metrics(state_.iteration, metrics);
  const auto& [name, value] = metrics.front();
  last_metric_ = "  " + name + " " + short_text(value);
  const bool better = std::isfinite(value) && (!state_.best || value > *state_.best);
  if (better) {
    state_.best = value;
    state_.best_iteration = state_.iteration;
    export_to(kBest);
  }
  std::string line = "train iteration " + std::to_string(state_.iteration) + ":";
  constexpr size_t kShown = 3;
  for (size_t i = 0; i < std::min(metrics.size(), kShown); ++i) {
    line += (i ? ", " : " ") + metrics[i].first + " " + short_text(metrics[i].second);
  }
  progress.note(line + (better ? " (best)" : ""));
}

// If this iteration is one for it and has not been validated, perhaps because that was interrupted
// before. A validation image that cannot be read must not cost the steps since the last state. An
// error of one process is the end of all, so several save before.
void Trainer::validate_if_due(Progress& progress) {
  const int64_t now = state_.iteration, every = options_.validate_every;
  const bool due =
      now > 0 && (now >= options_.schedule.iterations || (every > 0 && now % every == 0));
  if (!due || state_.validated == now) return;
  if (team_.size() > 1) save();
  try {
    validate(progress);
  } catch (...) {
    if (team_.size() == 1) save();
    throw;
  }
}

// An image that cannot be read must not cost the steps since the last state either; where several
// processes wait for each other, it does.
Batch Trainer::next_batch(BatchLoader& loader) {
  try {
    return loader.next();
  } catch (...) {
    if (team_.size() == 1 && state_.iteration > 0) save();
    throw;
  }
}

void Trainer::export_to(const char* name) {
  weights::Metadata metadata = task_.metadata();
  metadata.entries["hornet.iterations"] = std::to_string(state_.iteration);
  export_model(options_.output / name, task_.model(),
               {metadata, task_.training_only(), options_.export_half});
}

void Trainer::save() {
  if (!team_.leads()) return;
  save_state(options_.output / kState, state_, parts());
  saved_at_ = state_.iteration;
  log_.save();
  const AveragedScope averaged(task_.model(), ema_ ? &*ema_ : nullptr);
  export_to(kModel);
}

void Trainer::check_equal_starts() const {
  if (team_.size() == 1) return;
  uint64_t start = derive_seed(checksum(task_.model()), static_cast<uint64_t>(task_.size()));
  start = derive_seed(start, static_cast<uint64_t>(state_.iteration));
  const std::vector<int64_t> starts = team_.gather(static_cast<int64_t>(start));
  for (size_t rank = 1; rank < starts.size(); ++rank) {
    if (starts[rank] == starts[0]) continue;
    throw Error(ErrorCode::kRuntime,
                "process " + std::to_string(rank) + " of " + std::to_string(starts.size()) +
                    " starts from other weights, another iteration or other training images than "
                    "process 0: give all of them the same command, files and kind of processor");
  }
}

int Trainer::run() {
  using Clock = std::chrono::steady_clock;
  const int64_t last = options_.schedule.iterations;
  check_equal_starts();
  log_.drop_after(state_.iteration);
  BatchLoader loader(task_, options_.loader, state_.iteration);
  Progress progress({options_.progress, "train", last, "iterations", state_.iteration, 30});
  auto saved = Clock::now();
  validate_if_due(progress);
  while (state_.iteration < last && !team_.any(interrupted())) {
    const Batch batch = next_batch(loader);
    for (const std::string& bad : loader.take_bad_samples()) {
      progress.note("hornet: left out: " + bad);
    }
    log_step(step(batch), progress);
    progress.update(state_.iteration);
    validate_if_due(progress);
    if (std::chrono::duration<double>(Clock::now() - saved).count() >= options_.save_every) {
      save();
      saved = Clock::now();
    }
  }
  const bool stop = team_.any(interrupted());
  save();
  progress.finish();
  team_.barrier();  // a launcher may end all processes once one has left
  return stop ? static_cast<int>(ErrorCode::kInterrupted) : 0;
}

}  // namespace hornet
