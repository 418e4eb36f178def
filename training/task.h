// What the training loop knows of a task: it gives examples, turns a batch of them into losses, and
// says how good the model is. The loop, the optimizer, checkpoints and logs know nothing else, so
// that a new task is one more of these.
//
//   class MyTask : public TrainingTask { ... };
//   Trainer(my_task, options).run();
#pragma once

#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/tensor_file.h>
#include <hornet/pipelines/runtime.h>
#include <torch/nn/module.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hornet {

class ProcessTeam;  // data_parallel.h

// One training image, augmented, and what the task wants to know about it: a label map, a class,
// boxes and masks.
struct Example {
  torch::Tensor image;  // float32 [3,H,W], normalised
  std::vector<torch::Tensor> targets;
};

struct Batch {
  torch::Tensor images;                             // [N,3,H,W]
  std::vector<std::vector<torch::Tensor>> targets;  // of each image
};

// Examples of one size as a batch; on another device, with everything in it.
Batch stack(const std::vector<Example>& examples);
Batch to_device(const Batch& batch, torch::Device device);

// Scalars by name, in the order of logs. What is minimised is their sum.
struct Losses {
  std::vector<std::pair<std::string, torch::Tensor>> parts;
  torch::Tensor total() const;
};

// The first says which of two models is better (more is).
using Metrics = std::vector<std::pair<std::string, double>>;

// How the validation images are gone through.
struct Validation {
  const Runtime& runtime;
  const ProcessTeam& team;
  // Gets the error of each image that cannot be read and so is left out; without it that is thrown.
  std::function<void(const std::string& error)> leave_out = {};

  // Error(kInput) if no image of the team could be read; `read` is how many this process has.
  void require_some(int64_t read) const;

  // What `read` gives; nothing if that is left out.
  template <typename Read>
  auto try_to(const Read& read) const -> std::optional<decltype(read())> {
    try {
      return read();
    } catch (const Error& error) {
      if (!leave_out || error.code() != ErrorCode::kInput) throw;
      leave_out(error.what());
      return std::nullopt;
    }
  }
};

class TrainingTask {
 public:
  virtual ~TrainingTask() = default;

  virtual torch::nn::Module& model() = 0;

  // How many training images there are, and one of them, as `seed` augments it. Called from any
  // number of threads. Error(kInput) for what cannot be read.
  virtual int64_t size() const = 0;
  virtual Example example(int64_t index, uint64_t seed) const = 0;

  // With the model in training mode.
  virtual Losses losses(const Batch& batch) = 0;

  // On the validation images, with the model in evaluation mode. Empty without such images, and
  // when the user interrupts it. All processes of the team call it, with equal models: image i is
  // for process i % size, and what they count is added up, so that all have the same metrics.
  virtual Metrics evaluate(const Validation& validation) = 0;

  // What the user should know of the images before training begins, in lines.
  virtual std::vector<std::string> notes() const { return {}; }

  // What the exported model says about itself: classes, colours, input size. And the names of
  // parameters that inference does not need ("auxiliary_head.").
  virtual weights::Metadata metadata() const = 0;
  virtual std::vector<std::string> training_only() const { return {}; }
};

}  // namespace hornet
