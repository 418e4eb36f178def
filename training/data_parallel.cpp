#include <hornet/backbone/error.h>
#include <hornet/training/data_parallel.h>
#include <hornet/training/internal/transport.h>
#include <hornet/training/task.h>
#include <torch/cuda.h>

#include <algorithm>
#include <cstdlib>

namespace hornet {
namespace {

std::shared_ptr<Transport> connect(const ProcessGroup& group,
                                   [[maybe_unused]] const std::string& device) {
#ifdef HORNET_WITH_NCCL
  if (device.compare(0, 4, "cuda") == 0 && torch::cuda::is_available()) {
    return make_nccl_transport(ProcessGroup::from_environment(), torch::Device(device));
  }
#endif
#ifdef HORNET_WITH_MPI
  return make_mpi_transport(group);
#else
  throw Error(ErrorCode::kUsage,
              "started as process " + std::to_string(group.rank) + " of " +
                  std::to_string(group.size) +
                  ", but this program was built without MPI: start one process, or install "
                  "libopenmpi-dev and openmpi-bin and build with -DHORNET_MPI=ON");
#endif
}

// The end of the bucket that starts at tensor `first`.
size_t bucket_end(const std::vector<torch::Tensor>& tensors, size_t first, int64_t bucket_bytes) {
  auto bytes = static_cast<int64_t>(tensors[first].nbytes());
  size_t end = first + 1;
  for (; end < tensors.size(); ++end) {
    bytes += static_cast<int64_t>(tensors[end].nbytes());
    if (bytes > bucket_bytes || tensors[end].scalar_type() != tensors[first].scalar_type()) break;
  }
  return end;
}

std::vector<torch::Tensor> flattened(const std::vector<torch::Tensor>& tensors) {
  std::vector<torch::Tensor> flat;
  for (const torch::Tensor& tensor : tensors) flat.push_back(tensor.reshape({-1}));
  return flat;
}

// Gives each tensor its part of what all of them were flattened into.
void unflatten(const torch::Tensor& flat, const std::vector<torch::Tensor>& tensors) {
  int64_t at = 0;
  for (const torch::Tensor& tensor : tensors) {
    tensor.copy_(flat.narrow(0, at, tensor.numel()).view(tensor.sizes()));
    at += tensor.numel();
  }
}

}  // namespace

int ProcessTeam::rank() const { return transport_ ? transport_->rank() : 0; }

int ProcessTeam::size() const { return transport_ ? transport_->size() : 1; }

void ProcessTeam::sum(torch::Tensor tensor) const {
  if (!transport_ || tensor.numel() == 0) return;
  const torch::NoGradGuard no_grad;
  torch::Tensor contiguous = tensor.contiguous();
  transport_->sum(contiguous);
  if (!contiguous.is_same(tensor)) tensor.copy_(contiguous);
}

void ProcessTeam::broadcast(torch::Tensor tensor) const {
  if (!transport_ || tensor.numel() == 0) return;
  const torch::NoGradGuard no_grad;
  torch::Tensor contiguous = tensor.contiguous();
  transport_->broadcast(contiguous);
  if (!contiguous.is_same(tensor)) tensor.copy_(contiguous);
}

void ProcessTeam::average(const std::vector<torch::Tensor>& tensors, int64_t bucket_bytes) const {
  if (!transport_) return;
  const torch::NoGradGuard no_grad;
  for (size_t first = 0, end = 0; first < tensors.size(); first = end) {
    end = bucket_end(tensors, first, bucket_bytes);
    const std::vector<torch::Tensor> members(tensors.begin() + static_cast<std::ptrdiff_t>(first),
                                             tensors.begin() + static_cast<std::ptrdiff_t>(end));
    const torch::Tensor bucket = torch::cat(flattened(members));
    sum(bucket);
    unflatten(bucket.div_(size()), members);
  }
}

void ProcessTeam::average_gradients(const std::vector<torch::Tensor>& parameters) const {
  if (!transport_) return;
  std::vector<int64_t> owners;
  for (const torch::Tensor& parameter : parameters) owners.push_back(parameter.grad().defined());
  owners = sums(owners);
  std::vector<torch::Tensor> gradients;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (owners[i] == 0) continue;
    torch::Tensor& gradient = parameters[i].mutable_grad();
    if (!gradient.defined()) gradient = torch::zeros_like(parameters[i]);
    gradients.push_back(gradient);
  }
  average(gradients);
}

// In float64, where the mean of equal float32 numbers is exact.
void ProcessTeam::average_buffers(const torch::nn::Module& model) const {
  if (!transport_) return;
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> buffers;
  for (const torch::Tensor& buffer : model.buffers()) {
    if (buffer.is_floating_point()) buffers.push_back(buffer);
  }
  if (buffers.empty()) return;
  const torch::Tensor flat = torch::cat(flattened(buffers)).to(torch::kFloat64);
  sum(flat);
  unflatten(flat / size(), buffers);
}

std::vector<int64_t> ProcessTeam::sums(const std::vector<int64_t>& values) const {
  if (!transport_ || values.empty()) return values;
  const torch::Tensor sum_of = torch::tensor(values, torch::kInt64);
  sum(sum_of);
  const auto* first = sum_of.data_ptr<int64_t>();
  return {first, first + sum_of.numel()};
}

std::vector<double> ProcessTeam::means(const std::vector<double>& values) const {
  if (!transport_ || values.empty()) return values;
  const torch::Tensor mean = torch::tensor(values, torch::kFloat64);
  sum(mean);
  mean.div_(size());
  const auto* first = mean.data_ptr<double>();
  return {first, first + mean.numel()};
}

std::vector<int64_t> ProcessTeam::gather(int64_t value) const {
  std::vector<int64_t> slots(static_cast<size_t>(size()));
  slots[static_cast<size_t>(rank())] = value;
  return sums(slots);
}

bool ProcessTeam::any(bool value) const { return sums({value}).front() > 0; }

void ProcessTeam::barrier() const { sums({0}); }

void ProcessTeam::abort(int code) const {
  if (transport_) transport_->abort(code);
  std::_Exit(code);
}

ProcessTeam join_team(RuntimeOptions& runtime) {
  const ProcessGroup group = ProcessGroup::from_environment(/*with_address=*/false);
  if (group.size == 1) return {};
  runtime.device = own_device(runtime.device, group.local_rank, gpu_count());
  return ProcessTeam(connect(group, runtime.device));
}

}  // namespace hornet
