// From files into modules and back, and between the files' tensors and LibTorch's.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/checkpoint.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "tests/modules.h"

namespace hornet::weights {
namespace {

using testing::expect_identical;
using torch::Tensor;
using Names = std::vector<std::string>;
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

// A module with a parameter, buffers and a child: conv.weight, conv.bias, bn.*.
struct Small : torch::nn::Module {
  Small() {
    conv = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 2, 1)));
    bn = register_module("bn", torch::nn::BatchNorm2d(2));
    testing::randomise(*this);
  }
  torch::nn::Conv2d conv{nullptr};
  torch::nn::BatchNorm2d bn{nullptr};
};

// A file whose tensors are in memory.
File file_of(const NamedTensors& tensors) {
  auto storage = std::make_shared<std::vector<Tensor>>();
  File file;
  file.path = "model.pth";
  for (const auto& [name, tensor] : tensors) {
    storage->push_back(tensor);
    file.tensors[name] = from_torch(tensor);
  }
  file.storage = storage;
  return file;
}

// What fits a Small, below `prefix`.
NamedTensors small_tensors(const std::string& prefix = "") {
  return {{prefix + "conv.weight", torch::randn({2, 3, 1, 1})},
          {prefix + "conv.bias", torch::randn({2})},
          {prefix + "bn.weight", torch::randn({2})},
          {prefix + "bn.bias", torch::randn({2})},
          {prefix + "bn.running_mean", torch::randn({2})},
          {prefix + "bn.running_var", torch::rand({2})}};
}

void expect_holds(Small& module, const NamedTensors& tensors) {
  expect_identical(module.conv->weight, tensors[0].second);
  expect_identical(module.conv->bias, tensors[1].second);
  expect_identical(module.bn->weight, tensors[2].second);
  expect_identical(module.bn->bias, tensors[3].second);
  expect_identical(module.bn->running_mean, tensors[4].second);
  expect_identical(module.bn->running_var, tensors[5].second);
}

TEST(Load, CopiesParametersAndBuffers) {
  Small module;
  const NamedTensors tensors = small_tensors();
  const LoadReport report = load(module, file_of(tensors));
  EXPECT_EQ(report.loaded, 6);
  EXPECT_EQ(report.expected, 6);
  EXPECT_TRUE(report.complete());
  EXPECT_EQ(report.table(), "loaded 6/6 tensors");
  expect_holds(module, tensors);
  EXPECT_TRUE(module.conv->weight.requires_grad());
}

TEST(Load, IgnoresBatchCounters) {
  Small module;
  NamedTensors tensors = small_tensors();
  EXPECT_TRUE(load(module, file_of(tensors)).complete()) << "absent";
  tensors.emplace_back("bn.num_batches_tracked", torch::tensor(int64_t{7}));
  EXPECT_TRUE(load(module, file_of(tensors)).complete()) << "known to the module";
  tensors.back().first = "elsewhere.num_batches_tracked";
  EXPECT_TRUE(load(module, file_of(tensors)).complete()) << "unknown to the module";
}

// One tensor missing, one unexpected, one of another shape.
NamedTensors misfits(const std::string& prefix = "") {
  NamedTensors tensors = small_tensors(prefix);
  tensors[0].second = torch::randn({2, 4, 1, 1});
  tensors[1].first = prefix + "conv.beta";
  return tensors;
}

TEST(Load, ListsEverythingThatDoesNotFit) {
  Small module;
  const std::string message = error_of([&] { load(module, file_of(misfits())); });
  for (const char* part : {"model.pth does not fit", "loaded 4/6 tensors",
                           "missing: in the model, not in the file (1):\n    conv.bias",
                           "unexpected: in the file, not in the model (1):\n    conv.beta",
                           "of another shape (1):\n    conv.weight: file [2,4,1,1], model "
                           "[2,3,1,1]",
                           "--allow-partial"}) {
    expect_contains(message, part);
  }
}

TEST(Load, LoadsWhatFitsIfAllowed) {
  Small module;
  const Tensor weight = module.conv->weight.detach().clone();
  const NamedTensors tensors = misfits();
  LoadOptions options;
  options.allow_partial = true;
  const LoadReport report = load(module, file_of(tensors), options);
  EXPECT_EQ(report.loaded, 4);
  EXPECT_EQ(report.expected, 6);
  EXPECT_FALSE(report.complete());
  EXPECT_EQ(report.missing, Names{"conv.bias"});
  EXPECT_EQ(report.unexpected, Names{"conv.beta"});
  EXPECT_EQ(report.mismatched, Names{"conv.weight: file [2,4,1,1], model [2,3,1,1]"});
  expect_identical(module.conv->weight, weight);
  expect_identical(module.bn->running_var, tensors[5].second);
}

TEST(Load, ReadsBelowAPrefix) {
  Small module;
  NamedTensors tensors = small_tensors("backbone.");
  tensors.emplace_back("head.weight", torch::randn({5}));
  LoadOptions options;
  options.prefix = "backbone.";
  EXPECT_TRUE(load(module, file_of(tensors), options).complete());
  expect_holds(module, tensors);

  options.allow_partial = true;
  const LoadReport report = load(module, file_of(misfits("backbone.")), options);
  EXPECT_EQ(report.missing, Names{"backbone.conv.bias"});
  EXPECT_EQ(report.unexpected, Names{"backbone.conv.beta"});
}

TEST(Load, ShowsTwentyOfAKind) {
  NamedTensors tensors = small_tensors();
  for (int i = 0; i < 23; ++i) {
    tensors.emplace_back("extra" + std::to_string(100 + i), torch::zeros({1}));
  }
  Small module;
  const std::string message = error_of([&] { load(module, file_of(tensors)); });
  expect_contains(message, "(23):");
  expect_contains(message, "extra119\n    ... and 3 more");
  EXPECT_EQ(message.find("extra120"), std::string::npos);
}

TEST(Load, ConvertsTypes) {
  for (const auto type : {torch::kHalf, torch::kBFloat16, torch::kDouble}) {
    NamedTensors tensors = small_tensors();
    for (auto& item : tensors) item.second = item.second.to(type);
    Small module;
    load(module, file_of(tensors));
    EXPECT_EQ(module.conv->weight.scalar_type(), torch::kFloat);
    for (auto& item : tensors) item.second = item.second.to(torch::kFloat);
    expect_holds(module, tensors);
  }
}

TEST(Load, FitsANetworkThatWasSaved) {
  const TemporaryFolder folder;
  for (const char* name : {"a.pth", "a.safetensors", "a.pt"}) {
    HorNet saved = testing::random_hornet(testing::narrow_hornet_gf());
    Metadata meta;
    meta.classes = {"cat", "dog"};
    save(*saved, folder / name, meta);

    HorNet loaded(testing::narrow_hornet_gf());
    const File file = read(folder / name);
    EXPECT_TRUE(load(*loaded, file).complete());
    EXPECT_EQ(file.meta.classes, meta.classes);
    const auto expected = saved->named_parameters();
    for (const auto& item : loaded->named_parameters()) {
      expect_identical(item.value(), expected[item.key()]);
    }
  }
}

TEST(Save, KeepsBuffers) {
  const TemporaryFolder folder;
  Small saved, loaded;
  save(saved, folder / "small.pth");
  load(loaded, read(folder / "small.pth"));
  expect_identical(loaded.bn->running_var, saved.bn->running_var);
  EXPECT_EQ(read(folder / "small.pth").tensors.size(), 7) << "with num_batches_tracked";
}

TEST(Save, KnowsItsFormatsOnly) {
  const TemporaryFolder folder;
  const Small module;
  const std::string message =
      error_of([&] { save(module, folder / "small.onnx"); }, ErrorCode::kUsage);
  expect_contains(message, "small.onnx");
  expect_contains(message, "'.onnx'");
  expect_contains(message, ".safetensors");
  EXPECT_EQ(folder.file_count(), 0);
}

TEST(Save, WritesNamedTensors) {
  const TemporaryFolder folder;
  const Tensor input = torch::randn({1, 3, 5, 4}).permute({0, 1, 3, 2});
  const Tensor shape = torch::tensor({int64_t{5}, int64_t{4}});
  save_tensors({{"input", input}, {"img_shape", shape}}, folder / "out.safetensors");
  const File file = read(folder / "out.safetensors");
  ASSERT_EQ(file.tensors.size(), 2);
  expect_identical(to_torch(file.tensors.at("input")), input);
  expect_identical(to_torch(file.tensors.at("img_shape")), shape);
}

constexpr torch::ScalarType kTypes[] = {
    torch::kDouble, torch::kFloat, torch::kHalf, torch::kBFloat16, torch::kLong,
    torch::kInt,    torch::kShort, torch::kChar, torch::kByte,     torch::kBool};

void expect_round_trip(const Tensor& tensor) {
  const Tensor copy = to_torch(from_torch(tensor));
  EXPECT_EQ(copy.scalar_type(), tensor.scalar_type());
  EXPECT_TRUE(copy.is_contiguous());
  expect_identical(copy, tensor);
}

TEST(TensorConversion, IsExactForEveryTypeAndStride) {
  torch::manual_seed(1);
  for (const auto type : kTypes) {
    SCOPED_TRACE(torch::toString(type));
    const Tensor tensor = torch::randint(0, 100, {3, 4, 5}).to(type);
    expect_round_trip(tensor);
    expect_round_trip(tensor.permute({2, 0, 1}));
    expect_round_trip(tensor.slice(1, 1, 4, 2).slice(2, 1));
    expect_round_trip(tensor.select(0, 1).t());
    expect_round_trip(tensor.slice(1, 2, 3).expand({3, 6, 5}));
    expect_round_trip(tensor.slice(2, 5));
    expect_round_trip(torch::ones({}, type));
    expect_round_trip(torch::empty({0}, type));
    expect_round_trip(torch::empty({2, 0, 3}, type));
  }
}

TEST(TensorConversion, CopiesOutOfUnalignedBytes) {
  const float values[] = {1.5f, -2.f, 3.25f};
  std::vector<std::byte> bytes(1 + sizeof(values));
  std::memcpy(bytes.data() + 1, values, sizeof(values));
  const Tensor copy = to_torch({DType::kFloat32, {3}, {1}, bytes.data() + 1});
  bytes.assign(bytes.size(), std::byte{0});
  expect_identical(copy, torch::tensor({1.5f, -2.f, 3.25f}));
}

TEST(TensorConversion, RefusesTypesThatNoFileHolds) {
  EXPECT_THROW(from_torch(torch::zeros({2}, torch::kComplexFloat)), c10::Error);
}

}  // namespace
}  // namespace hornet::weights
