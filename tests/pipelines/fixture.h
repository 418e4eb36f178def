// The fixtures: randomised narrow models in the authors' checkpoint format, with what the authors'
// code computes from them. A folder per model: model.pth, manifest.json, and a safetensors file
// per case; manifest.json gives, per tensor, its full shape, the stride with which it was
// subsampled, and the tolerance that float32 allows.
#pragma once

#include <hornet/backbone/weights/checkpoint.h>
#include <hornet/pipelines/forward.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hornet::testing {

struct FixtureCase {
  std::filesystem::path folder;  // of the model
  nlohmann::json description;    // the manifest's entry
  std::string kind;              // cls, det, seg

  std::string mode() const { return description["mode"]; }
  weights::File expected() const;
  ForwardInput input(const LoadedModel& model) const;
  ForwardOptions options(const LoadedModel& model) const;
};

// Every case of every model in tests/data/fixtures and in the folder that the environment variable
// HORNET_FIXTURES names.
std::vector<FixtureCase> all_cases();

// A tensor that was saved as t[::s0, ::s1, ...], and the part of `full` that it corresponds to.
torch::Tensor subsample(const torch::Tensor& full, const nlohmann::json& entry);

}  // namespace hornet::testing
