// Training by several processes at once, each with its part of every batch.
//
//   RuntimeOptions runtime;
//   const ProcessTeam team = join_team(runtime);     // whoever mpirun or srun has started
//   Trainer(task, options, team).run();
//
// Every process has the whole model and the same weights. A step computes the gradient of its part
// of the batch, and averages it over all: with losses that are means over the images, that is the
// gradient of the whole batch, and the steps that follow are the same everywhere. What is said is
// said by process 0, which alone writes files.
//
// Tensors travel over MPI on CPUs, over NCCL between GPUs; both are found when HorNet is built. The
// calls here are collective: all processes make the same ones in the same order, or wait for ever.
// So a process that fails must end all of them, with abort(); one that is ended by an exception
// while a team lives does so too, if mpirun has started it.
//
// Batch norms in training mode see the images of their own process: what they normalise with is of
// its part of the batch, and what they keep is the mean over the processes. A network that has them
// therefore learns as with the smaller batches, not to the bit as one process does.
#pragma once

#include <hornet/pipelines/runtime_options.h>
#include <torch/nn/module.h>

#include <memory>
#include <vector>

namespace hornet {

class Transport;  // MPI or NCCL

class ProcessTeam {
 public:
  ProcessTeam() = default;  // of one process: its calls change nothing
  explicit ProcessTeam(std::shared_ptr<Transport> transport) : transport_(std::move(transport)) {}

  int rank() const;
  int size() const;
  bool leads() const { return rank() == 0; }

  // In place: the sum over all processes; what process 0 has. float32, float64 or int64, on any
  // device.
  void sum(torch::Tensor tensor) const;
  void broadcast(torch::Tensor tensor) const;

  // In place: the mean over all processes of each tensor, many at a time: as many as fit
  // `bucket_bytes`, and one at least.
  static constexpr int64_t kBucketBytes = int64_t{25} << 20;
  void average(const std::vector<torch::Tensor>& tensors,
               int64_t bucket_bytes = kBucketBytes) const;

  // The same of gradients. Where a process has none it counts as 0; where none has, none appears.
  void average_gradients(const std::vector<torch::Tensor>& parameters) const;

  // The same of floating-point buffers (a batch norm's statistics); equal ones stay what they are.
  void average_buffers(const torch::nn::Module& model) const;

  std::vector<int64_t> sums(const std::vector<int64_t>& values) const;
  std::vector<double> means(const std::vector<double>& values) const;
  std::vector<int64_t> gather(int64_t value) const;  // of every process, by rank
  bool any(bool value) const;                        // whether one of them has said so
  void barrier() const;                              // returns when all have come

  // Ends all processes of the team, this one with the exit code `code`.
  [[noreturn]] void abort(int code) const;

 private:
  std::shared_ptr<Transport> transport_;
};

// The processes that mpirun, srun or torchrun (on GPUs) have started: see ProcessGroup in
// pipelines/work_queue.h. Of several on a host with GPUs each takes one: "auto" and "cuda" in
// `runtime` become "cuda:0", "cuda:1", ... At most once in a program. Error(kUsage) if there is no
// way between them: HorNet was built without MPI, or the launcher does not speak it.
ProcessTeam join_team(RuntimeOptions& runtime);

}  // namespace hornet
