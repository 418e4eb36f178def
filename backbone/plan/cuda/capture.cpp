// CUDA graphs for replays.h.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/InferenceMode.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <hornet/backbone/plan/replays.h>

namespace hornet::plan {
namespace {

class CudaReplay : public Replay {
 public:
  CudaReplay(const c10::Device& device, const std::function<void()>& work) {
    const c10::cuda::CUDAGuard guard(device);
    // What the caller's stream still writes is read on another one, which alone can be captured.
    c10::cuda::getCurrentCUDAStream().synchronize();
    const c10::cuda::CUDAStream stream = c10::cuda::getStreamFromPool(false, device.index());
    {
      const c10::cuda::CUDAStreamGuard on_stream(stream);
      work();  // handles, plans and workspaces are made outside of the capture
      stream.synchronize();
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
