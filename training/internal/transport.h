// What a team of processes needs of MPI or NCCL. All calls are collective.
#pragma once

#include <hornet/pipelines/work_queue.h>
#include <torch/types.h>

#include <memory>

namespace hornet {

class Transport {
 public:
  Transport(int rank, int size) : rank_(rank), size_(size) {}
  virtual ~Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  // In place. The tensor is contiguous, and float32, float64 or int64.
  virtual void sum(torch::Tensor& tensor) = 0;
  virtual void broadcast(torch::Tensor& tensor) = 0;

  // Ends the other processes as far as it can; the caller ends this one.
  virtual void abort(int code) noexcept = 0;

 private:
  int rank_, size_;
};

// Error(kUsage) if the launcher has started processes that do not know each other through MPI.
std::shared_ptr<Transport> make_mpi_transport(const ProcessGroup& group);

// For tensors on `device`; others are copied there and back. Error(kRuntime) if the processes do
// not find each other at the group's host and port.
std::shared_ptr<Transport> make_nccl_transport(const ProcessGroup& group, torch::Device device);

}  // namespace hornet
