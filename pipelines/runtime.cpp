#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/inference.h>
#include <hornet/backbone/plan/cpu_level.h>
#include <hornet/pipelines/runtime.h>
#include <torch/cuda.h>

#include <filesystem>
#include <new>
#include <opencv2/core.hpp>

namespace hornet {
namespace {

// N of "cuda:N", 0 of "cuda".
std::optional<int> gpu_index(const std::string& name) {
  if (name == "cuda") return 0;
  const std::string prefix = "cuda:";
  if (name.compare(0, prefix.size(), prefix) != 0) return std::nullopt;
  const std::string digits = name.substr(prefix.size());
  constexpr size_t kMostDigits = 2;
  const bool number = !digits.empty() && digits.size() <= kMostDigits &&
                      digits.find_first_not_of("0123456789") == std::string::npos;
  return number ? std::optional<int>(std::stoi(digits)) : std::nullopt;
}

torch::Device parse_device(const std::string& name) {
  const int count = gpu_count();
  if (name == "auto") return torch::Device(count > 0 ? "cuda:0" : "cpu");
  if (name == "cpu") return torch::Device(torch::kCPU);
  const std::optional<int> index = gpu_index(name);
  if (!index) {
    throw Error(ErrorCode::kUsage,
                "--device " + name + ": expected auto, cpu, cuda or cuda:N with N from 0 to 99");
  }
  if (*index >= count) {
    throw Error(ErrorCode::kDevice, "--device " + name + ": this program sees " +
                                        std::to_string(count) +
                                        " CUDA devices; use --device cpu or auto");
  }
  return torch::Device(torch::kCUDA, static_cast<torch::DeviceIndex>(*index));
}

c10::optional<torch::ScalarType> parse_dtype(const std::string& name) {
  if (name == "fp32" || name == "tf32") return c10::nullopt;
  if (name == "bf16") return torch::kBFloat16;
  if (name == "fp16") return torch::kFloat16;
  throw Error(ErrorCode::kUsage, "--dtype " + name + ": expected fp32, tf32, bf16 or fp16");
}

// Autocast for one device type while it lives.
class AutocastScope {
 public:
  AutocastScope(torch::DeviceType device, torch::ScalarType dtype)
      : device_(device),
        enabled_(at::autocast::is_autocast_enabled(device)),
        dtype_(at::autocast::get_autocast_dtype(device)) {
    at::autocast::set_autocast_dtype(device, dtype);
    at::autocast::set_autocast_enabled(device, true);
  }
  ~AutocastScope() {
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, enabled_);
    at::autocast::set_autocast_dtype(device_, dtype_);
  }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  torch::DeviceType device_;
  bool enabled_;
  torch::ScalarType dtype_;
};

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

[[noreturn]] void out_of_memory(const std::string& detail) {
  throw Error(ErrorCode::kDevice,
              "out of memory (" + detail +
                  "); a smaller --size, --batch-size 1 or --device cpu needs less");
}

}  // namespace

Runtime::Runtime(const RuntimeOptions& options)
    : device_(parse_device(options.device)),
      dtype_name_(options.dtype),
      reduced_(parse_dtype(options.dtype)) {
  if (options.dtype == "tf32" && !device_.is_cuda()) {
    throw Error(ErrorCode::kUsage, "--dtype tf32: only GPUs have it, and this runs on " +
                                       device_.str() + "; use fp32");
  }
  set_products();
}

// What LibTorch knows one of for all: the last runtime that ran has set it. Without, cuDNN takes
// TF32 for float32 convolutions, at a thousandth of the precision, and products of fp16 and bf16
// are added up in parts that are rounded.
void Runtime::set_products() const {
  if (!device_.is_cuda()) return;
  at::Context& context = at::globalContext();
  const bool tf32 = dtype_name_ == "tf32";
  context.setAllowTF32CuDNN(tf32);
  context.setAllowTF32CuBLAS(tf32);
  context.setAllowFP16ReductionCuBLAS(false);
  context.setAllowBF16ReductionCuBLAS(false);
}

std::string Runtime::device_name() const {
  if (!device_.is_cpu()) return device_.str();
  return "cpu (" + std::to_string(at::get_num_threads()) + " threads)";
}

void Runtime::place(torch::nn::Module& model) const {
  translate_errors([&] {
    model.eval();
    model.to(device_);
    // On a CPU nothing that is prepared takes fp16.
    if (!device_.is_cpu() || reduced_ != torch::kFloat16) prepare_for_inference(model);
  });
}

std::optional<int64_t> Runtime::peak_device_bytes() const {
  if (device_.is_cpu()) return std::nullopt;
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return c10::getDeviceAllocator(device_.type())
      ->getDeviceStats(device_.index())
      .allocated_bytes[kAll]
      .peak;
}

void Runtime::guarded(Gradients gradients, const std::function<void()>& body) const {
  translate_errors([&] {
    set_products();
    const torch::InferenceMode inference(gradients == Gradients::kOff);
    if (!reduced_) return body();
    const AutocastScope autocast(device_.type(), *reduced_);
    body();
  });
}

int gpu_count() {
  return torch::cuda::is_available() ? static_cast<int>(torch::cuda::device_count()) : 0;
}

std::string own_device(const std::string& device, int local_rank, int gpus) {
  const bool open = device == "auto" || device == "cuda";
  return open && gpus > 0 ? "cuda:" + std::to_string(local_rank % gpus) : device;
}

bool lacks_bf16(const RuntimeOptions& options) {
  return options.dtype == "bf16" && parse_device(options.device).is_cpu() && !cpu_has_bf16();
}

void translate_errors(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error&) {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    out_of_memory(first_line(error.what_without_backtrace()));
  } catch (const c10::Error& error) {
    const std::string what = first_line(error.what_without_backtrace());
    if (what.find("can't allocate memory") != std::string::npos) out_of_memory(what);
    throw Error(ErrorCode::kRuntime, what);
  } catch (const std::bad_alloc& error) {
    out_of_memory(error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(ErrorCode::kInput, error.path1().string() + ": " + error.code().message());
  } catch (const cv::Exception& error) {
    if (error.code == cv::Error::StsNoMem) out_of_memory(first_line(error.err));
    throw Error(ErrorCode::kRuntime, "OpenCV: " + first_line(error.err));
  }
}

}  // namespace hornet
