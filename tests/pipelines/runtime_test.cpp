#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/inference.h>
#include <hornet/backbone/plan/cpu_level.h>
#include <hornet/pipelines/runtime.h>
#include <torch/cuda.h>
#include <torch/types.h>

#include <opencv2/core.hpp>

#include "tests/modules.h"

namespace hornet {
namespace {

ErrorCode code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << "one line";
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kRuntime;
}

TEST(Runtime, UnknownNamesAreUsageErrors) {
  EXPECT_EQ(code_of([] { Runtime({"gpu", "fp32"}); }), ErrorCode::kUsage);
  for (const char* device : {"cuda:", "cuda:x", "cuda:1x", "cuda:-1", "cuda:100"}) {
    EXPECT_EQ(code_of([&] { Runtime({device, "fp32"}); }), ErrorCode::kUsage) << device;
  }
  EXPECT_EQ(code_of([] { Runtime({"cpu", "fp8"}); }), ErrorCode::kUsage);
}

TEST(Runtime, Tf32IsAskedForAndIsOnGpusOnly) {
  EXPECT_EQ(code_of([] { Runtime({"cpu", "tf32"}); }), ErrorCode::kUsage);
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  for (const bool tf32 : {true, false}) {
    const Runtime runtime({"cuda", tf32 ? "tf32" : "fp32"});
    EXPECT_EQ(at::globalContext().allowTF32CuBLAS(), tf32);
    EXPECT_EQ(at::globalContext().allowTF32CuDNN(), tf32);
  }
  const Runtime with({"cuda", "tf32"}), without({"cuda", "fp32"});
  const auto allowed = [] { return at::globalContext().allowTF32CuBLAS(); };
  EXPECT_TRUE(with.run(allowed));
  EXPECT_FALSE(without.run(allowed));
}

TEST(Runtime, ProcessesOfAHostTakeGpusOfTheirOwn) {
  EXPECT_EQ(own_device("auto", 5, 4), "cuda:1");
  EXPECT_EQ(own_device("cuda", 11, 16), "cuda:11");
  EXPECT_EQ(own_device("cuda:3", 1, 4), "cuda:3");
  EXPECT_EQ(own_device("cpu", 1, 4), "cpu");
  EXPECT_EQ(own_device("auto", 1, 0), "auto");
}

TEST(Runtime, MissingDeviceIsADeviceError) {
  EXPECT_EQ(code_of([] { Runtime({"cuda:99", "fp32"}); }), ErrorCode::kDevice);
}

TEST(Runtime, RunsWithoutGradients) {
  const Runtime runtime({"cpu", "fp32"});
  const torch::Tensor weight = torch::ones({2, 2}, torch::requires_grad());
  EXPECT_FALSE(runtime.run([&] { return weight * 2; }).requires_grad());
}

TEST(Runtime, ReducedPrecisionIsForProductsOnly) {
  const Runtime runtime({"cpu", "bf16"});
  const torch::Tensor a = torch::rand({4, 4});
  EXPECT_EQ(runtime.run([&] { return torch::mm(a, a); }).scalar_type(), torch::kBFloat16);
  EXPECT_EQ(runtime.run([&] { return a + a; }).scalar_type(), torch::kFloat32);
  EXPECT_EQ(torch::mm(a, a).scalar_type(), torch::kFloat32) << "autocast ends with run()";
}

TEST(Runtime, KnowsWhereBf16IsNoGain) {
  EXPECT_EQ(lacks_bf16({"cpu", "bf16"}), !cpu_has_bf16());
  EXPECT_FALSE(lacks_bf16({"cpu", "fp32"}));
}

TEST(Runtime, PreparesModelsForWhatTheyRunIn) {
  const auto bytes_after_a_run = [](const char* dtype) {
    HorNet network(testing::narrow_hornet());
    const Runtime runtime({"cpu", dtype});
    runtime.place(*network);
    EXPECT_FALSE(network->is_training());
    runtime.run([&] { return network->forward(torch::zeros({1, 3, 64, 64})); });
    return prepared_bytes(*network);
  };
  EXPECT_GT(bytes_after_a_run("fp32"), 0);
  EXPECT_GT(bytes_after_a_run("bf16"), 0);
  EXPECT_EQ(bytes_after_a_run("fp16"), 0);
}

TEST(Runtime, OutOfMemoryIsADeviceError) {
  const auto exhaust = [] { torch::empty({int64_t{1} << 46}, torch::kFloat32); };
  EXPECT_EQ(code_of([&] { translate_errors(exhaust); }), ErrorCode::kDevice);
}

TEST(Runtime, LibraryErrorsBecomeOneLine) {
  EXPECT_EQ(code_of([] {
              translate_errors([] { torch::mm(torch::ones({2, 3}), torch::ones({2, 3})); });
            }),
            ErrorCode::kRuntime);
  EXPECT_EQ(code_of([] { translate_errors([] { CV_Error(cv::Error::StsBadArg, "bad"); }); }),
            ErrorCode::kRuntime);
}

}  // namespace
}  // namespace hornet
