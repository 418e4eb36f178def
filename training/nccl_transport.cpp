// Between GPUs: c10d's process group, which LibTorch's library has with NCCL in it. The processes
// find each other through c10d's TCPStore.
#include <hornet/backbone/error.h>
#include <hornet/training/internal/transport.h>

#include <chrono>
#include <exception>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <vector>

namespace hornet {
namespace {

using StorePtr = c10::intrusive_ptr<c10d::Store>;

constexpr std::chrono::minutes kMeeting{5};
// One process may evaluate, or read a slow disk, while the others wait.
constexpr std::chrono::hours kPatience{12};

std::string first_line(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  return text.substr(0, text.find('\n'));
}

StorePtr open_store(const ProcessGroup& group) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(group.port);
  options.isServer = group.rank == 0 && !group.agent_store;
  options.waitWorkers = false;
  options.timeout = kMeeting;
  const auto store = c10::make_intrusive<c10d::TCPStore>(group.host, options);
  return c10::make_intrusive<c10d::PrefixStore>("hornet_train." + group.run, store);
}

class NcclTransport : public Transport {
 public:
  NcclTransport(const ProcessGroup& group, torch::Device device)
      : Transport(group.rank, group.size), device_(device) {
    const auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = kPatience;
    nccl_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(open_store(group), group.rank, group.size,
                                                        options);
  }

  // Of a run that has failed nothing is waited for.
  ~NcclTransport() override {
    if (std::uncaught_exceptions() > 0) return;
    try {
      nccl_->shutdown();
    } catch (const std::exception&) {  // the work is done
    }
  }

  void sum(torch::Tensor& tensor) override {
    on_device(tensor, [this](std::vector<torch::Tensor>& tensors) {
      return nccl_->allreduce(tensors, c10d::AllreduceOptions());
    });
  }

  void broadcast(torch::Tensor& tensor) override {
    on_device(tensor, [this](std::vector<torch::Tensor>& tensors) {
      return nccl_->broadcast(tensors, c10d::BroadcastOptions());
    });
  }

  void abort(int /*code*/) noexcept override {
    try {
      nccl_->abort();
    } catch (const std::exception&) {  // what comes next ends the process anyway
    }
  }

 private:
  template <typename Call>
  void on_device(torch::Tensor& tensor, Call&& call) {
    std::vector<torch::Tensor> tensors = {tensor.to(device_)};
    call(tensors)->wait();
    if (!tensors.front().is_same(tensor)) tensor.copy_(tensors.front());
  }

  torch::Device device_;
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> nccl_;
};

}  // namespace

// The first sum makes NCCL's connections, so that what is wrong with them shows here.
std::shared_ptr<Transport> make_nccl_transport(const ProcessGroup& group, torch::Device device) {
  try {
    auto transport = std::make_shared<NcclTransport>(group, device);
    torch::Tensor one = torch::ones(1, torch::kInt64);
    transport->sum(one);
    TORCH_CHECK(one.item<int64_t>() == group.size, "NCCL counts ", one.item<int64_t>(),
                " processes");
    return transport;
  } catch (const c10::Error& error) {
    throw Error(ErrorCode::kRuntime,
                "process " + std::to_string(group.rank) + " of " + std::to_string(group.size) +
                    " on " + device.str() + " cannot reach the others through " + group.host + ":" +
                    std::to_string(group.port) + ": " + first_line(error) +
                    "; check that each has a GPU of its own, MASTER_ADDR and MASTER_PORT");
  }
}

}  // namespace hornet
