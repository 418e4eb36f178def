// What the fixtures say about the outputs of a network that has left LibTorch.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <opencv2/dnn.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/pipelines/fixture.h"

namespace hornet::testing {

// The authors' numbers hold to 1e-4 of a tensor's largest one, or to ten times the error of their
// own float32, which on these deep random networks may be more.
constexpr double kRelative = 1e-4;

inline std::filesystem::path model_path(const std::string& fixture) {
  return std::filesystem::path(HORNET_TEST_DATA) / "fixtures" / fixture / "model.pth";
}

// The cases that run the whole input at once.
inline std::vector<FixtureCase> whole_cases() {
  std::vector<FixtureCase> cases = all_cases();
  cases.erase(std::remove_if(cases.begin(), cases.end(),
                             [](const FixtureCase& item) { return item.mode() == "slide"; }),
              cases.end());
  return cases;
}

// logits, or fpn0 ... fpn4.
inline std::vector<std::string> output_names(const FixtureCase& fixture) {
  if (fixture.kind == "det") return {"fpn0", "fpn1", "fpn2", "fpn3", "fpn4"};
  return {"logits"};
}

inline void expect_output(const FixtureCase& fixture, const std::string& name,
                          const torch::Tensor& full) {
  const auto& info = fixture.description["tensors"][name];
  ASSERT_EQ(full.sizes().vec(), info["shape"].get<std::vector<int64_t>>()) << name;
  const weights::File file = fixture.expected();
  const torch::Tensor expected = weights::to_torch(file.tensors.at(name)).to(torch::kFloat64);
  const torch::Tensor got = subsample(full, info).to(torch::kFloat64);
  const double tolerance =
      std::max(info["atol"].get<double>(), kRelative * info["absmax"].get<double>());
  EXPECT_LE((got - expected).abs().max().item<double>(), tolerance) << name;
}

// The backbone of a segmentation model as a checkpoint of its own.
inline void write_backbone(const FixtureCase& fixture, const std::filesystem::path& path) {
  const weights::File file = weights::read(fixture.folder / "model.pth");
  std::map<std::string, weights::Tensor> tensors;
  for (const auto& [key, tensor] : file.tensors) {
    if (key.rfind("backbone.", 0) == 0) tensors[key] = tensor;
  }
  weights::write_safetensors(path, tensors);
}

// A case with a backbone inside a larger model.
inline FixtureCase backbone_case() {
  for (const FixtureCase& fixture : whole_cases()) {
    if (fixture.kind == "seg") return fixture;
  }
  throw std::runtime_error("no segmentation model among the fixtures");
}

inline cv::Mat to_mat(const torch::Tensor& tensor) {
  const std::vector<int> shape(tensor.sizes().begin(), tensor.sizes().end());
  const torch::Tensor dense = tensor.contiguous();
  return cv::Mat(shape, CV_32F, dense.data_ptr()).clone();
}

inline torch::Tensor to_tensor(const cv::Mat& mat) {
  const std::vector<int64_t> shape(mat.size.p, mat.size.p + mat.dims);
  return torch::from_blob(const_cast<float*>(mat.ptr<float>()), shape).clone();
}

// What a net makes of the input, held to the fixture's outputs of these names.
inline void expect_outputs(const FixtureCase& fixture, cv::dnn::Net net, const torch::Tensor& input,
                           const std::vector<std::string>& names) {
  net.setInput(to_mat(input), "input");
  std::vector<cv::Mat> outputs;
  net.forward(outputs, names);
  ASSERT_EQ(outputs.size(), names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    expect_output(fixture, names[i], to_tensor(outputs[i]));
  }
}

// Names that GoogleTest accepts.
inline std::string test_name(const ::testing::TestParamInfo<FixtureCase>& info) {
  std::string name = info.param.folder.filename().string() + "_" +
                     info.param.description["case"].get<std::string>() + "_" +
                     std::to_string(info.index);
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
}

}  // namespace hornet::testing
