// CUDA graphs for replays.h.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/InferenceMode.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <hornet/backbone/plan/replays.h>

#include <map>
#include <utility>

namespace hornet::plan {
namespace {

// Where this thread captures what will be replayed on `caller`. LibTorch's pool would give a stream
// that others may use, whose work would be captured too, and every new one costs a workspace for
// products. Graphs captured on the same one share it, which those of one caller may: they follow
// each other. Never destroyed, since LibTorch keeps what it has made for a stream.
c10::cuda::CUDAStream capturing_stream(const c10::cuda::CUDAStream& caller) {
  thread_local std::map<std::pair<c10::DeviceIndex, c10::StreamId>, c10::cuda::CUDAStream> streams;
  const std::pair key(caller.device_index(), caller.id());
  const auto found = streams.find(key);
  if (found != streams.end()) return found->second;
  cudaStream_t made = nullptr;
  C10_CUDA_CHECK(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking));
  return streams.emplace(key, c10::cuda::getStreamFromExternal(made, caller.device_index()))
      .first->second;
}

class CudaReplay : public Replay {
 public:
  CudaReplay(const c10::Device& device, const std::function<void()>& work) {
    const c10::cuda::CUDAGuard guard(device);
    // What the caller's stream still writes is read on another one, which alone can be captured.
    const c10::cuda::CUDAStream caller = c10::cuda::getCurrentCUDAStream();
    caller.synchronize();
    const c10::cuda::CUDAStream stream = capturing_stream(caller);
    {
      const c10::cuda::CUDAStreamGuard on_stream(stream);
      work();  // handles, plans and workspaces are made outside of the capture
      stream.synchronize();
      // The graph has memory of its own: what that pass has left would be of no use to it.
      c10::cuda::CUDACachingAllocator::emptyCache();
      // Other threads may allocate meanwhile.
      graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
      capture(work);
    }
    stream.synchronize();
  }

  void run() override { graph_.replay(); }

 private:
  void capture(const std::function<void()>& work) {
    try {
      work();
    } catch (...) {
      end_after_failure();
      throw;
    }
    graph_.capture_end();
  }

  // A capture that has failed has to be ended too, and says so by failing again.
  void end_after_failure() {
    try {
      graph_.capture_end();
    } catch (const c10::Error&) {
    }
  }

  at::cuda::CUDAGraph graph_;
};

const bool registered = [] {
  register_capture(c10::kCUDA, [](const c10::Device& device, const std::function<void()>& work) {
    return std::make_unique<CudaReplay>(device, work);
  });
  return true;
}();

}  // namespace
}  // namespace hornet::plan
