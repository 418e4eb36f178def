// Where and in which arithmetic a model runs, and what becomes of LibTorch's errors.
//
//   hornet::Runtime runtime(hornet::RuntimeOptions{"auto", "fp32"});
//   model->to(runtime.device());
//   auto found = runtime.run([&] { return model->forward(images.to(runtime.device()), sizes); });
//
// run() turns gradients off, switches reduced precision on if it was asked for (convolutions and
// matrix products in bf16 or fp16, everything else, the Fourier transforms too, in float32), and
// reports running out of memory as hornet::Error(kDevice). run_with_gradients() leaves them on.
// Whether GPUs multiply float32 as TF32 is LibTorch's for the whole process: do not run runtimes
// with and without it at once.
#pragma once

#include <hornet/pipelines/runtime_options.h>
#include <torch/nn/module.h>
#include <torch/types.h>

#include <functional>
#include <optional>
#include <string>

namespace hornet {

class Runtime {
 public:
  // Error(kDevice) if there is no such device, Error(kUsage) if a name is unknown.
  explicit Runtime(const RuntimeOptions& options = {});

  const torch::Device& device() const { return device_; }
  std::string device_name() const;  // "cpu (2 threads)", "cuda:0"
  const std::string& dtype_name() const { return dtype_name_; }

  // Moves a model to the device, in evaluation mode, and prepares it for inference (inference.h).
  void place(torch::nn::Module& model) const;

  // The most memory that tensors have taken on the device; nothing for the CPU.
  std::optional<int64_t> peak_device_bytes() const;

  template <typename Function>
  auto run(Function&& function) const {
    decltype(function()) result;
    guarded(Gradients::kOff, [&] { result = function(); });
    return result;
  }

  template <typename Function>
  auto run_with_gradients(Function&& function) const {
    decltype(function()) result;
    guarded(Gradients::kOn, [&] { result = function(); });
    return result;
  }

 private:
  enum class Gradients { kOff, kOn };
  void guarded(Gradients gradients, const std::function<void()>& body) const;
  void set_products() const;

  torch::Device device_;
  std::string dtype_name_;
  c10::optional<torch::ScalarType> reduced_;
};

// Runs `body`; what LibTorch, OpenCV, the allocator or the file system throw becomes a
// hornet::Error with the first line of their message.
void translate_errors(const std::function<void()>& body);

}  // namespace hornet
