// What bf16 and fp16 cost, as the table in the README. The fixture models have random weights and
// amplify rounding errors of any precision; the manifest knows by how much, from float32 against
// float64. A reduced precision may lose as many units in its last place as float32 loses in its
// own, and little more: a part that falls out of float32 where it should not loses far more.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstdio>
#include <map>
#include <set>

#include "tests/pipelines/fixture.h"

namespace hornet::testing {
namespace {

using Tensors = std::map<std::string, torch::Tensor>;

Tensors run(LoadedModel& model, const FixtureCase& fixture, const char* dtype) {
  const NamedTensors named =
      forward_stages(model, fixture.input(model), fixture.options(model), Runtime({"cpu", dtype}));
  return {named.begin(), named.end()};
}

// Largest difference over the largest value.
double relative_error(const torch::Tensor& got, const torch::Tensor& want) {
  const torch::Tensor difference = (got.to(torch::kFloat64) - want.to(torch::kFloat64)).abs();
  return difference.max().item<double>() / want.abs().max().item<double>();
}

double label_difference(const torch::Tensor& got, const torch::Tensor& want) {
  return got.ne(want).to(torch::kFloat64).mean().item<double>();
}

// Share of the fp32 detections that have a partner of the same class within 2 % of their size.
double detections_kept(const Tensors& got, const Tensors& want) {
  const torch::Tensor a = want.at("boxes"), b = got.at("boxes");
  if (a.size(0) == 0 || b.size(0) == 0) return a.size(0) == b.size(0) ? 1.0 : 0.0;
  const torch::Tensor size = (a.slice(1, 2, 4) - a.slice(1, 0, 2)).amax(1, true);
  const torch::Tensor near = (a.unsqueeze(1) - b.unsqueeze(0)).abs().amax(2) <= 0.02 * size + 0.5;
  const torch::Tensor same = want.at("labels").unsqueeze(1) == got.at("labels").unsqueeze(0);
  return (near & same).any(1).to(torch::kFloat64).mean().item<double>();
}

std::string result_column(const std::string& kind, const Tensors& got, const Tensors& want) {
  char text[64];
  if (kind == "det") {
    std::snprintf(text, sizeof text, "%.0f %% of detections kept",
                  100 * detections_kept(got, want));
  } else if (kind == "seg") {
    std::snprintf(text, sizeof text, "%.2f %% of labels differ",
                  100 * label_difference(got.at("labels"), want.at("labels")));
  } else {
    std::snprintf(text, sizeof text, "logits %.1e",
                  relative_error(got.at("logits"), want.at("logits")));
  }
  return text;
}

// float32's own relative error in a tensor of the fixture.
double float32_error(const FixtureCase& fixture, const std::string& name) {
  const auto& entry = fixture.description["tensors"][name];
  return entry["err_vs_f64"].get<double>() / entry["absmax"].get<double>();
}

TEST(ReducedPrecision, CostsWhatTheTableSays) {
  // How much coarser than float32's 24 bits the types are.
  const std::map<std::string, double> coarser = {{"bf16", 65536.0}, {"fp16", 8192.0}};
  constexpr double kSlack = 3.0;
  std::printf(
      "| model | dtype | features | expected of the type | result |\n|---|---|---|---|---|\n");
  std::set<std::string> seen;
  for (const FixtureCase& fixture : all_cases()) {
    const std::string name = fixture.folder.filename().string();
    const bool small = fixture.mode() == "sq" || fixture.mode() == "raw";
    if (!small || !seen.insert(name).second) continue;
    LoadedModel model = load_model(weights::read(fixture.folder / "model.pth"));
    const Tensors exact = run(model, fixture, "fp32");
    for (const auto& [dtype, factor] : coarser) {
      const Tensors reduced = run(model, fixture, dtype.c_str());
      const std::string last = fixture.kind == "cls" ? "stage3" : "feat3";
      const double error = relative_error(reduced.at(last), exact.at(last));
      EXPECT_GT(error, 0) << name << ": nothing was reduced";
      const double expected = factor * float32_error(fixture, last);
      EXPECT_LT(error, kSlack * expected) << name << ' ' << dtype;
      std::printf("| %s | %s | %.1e | %.1e | %s |\n", name.c_str(), dtype.c_str(), error, expected,
                  result_column(fixture.kind, reduced, exact).c_str());
    }
  }
}

}  // namespace
}  // namespace hornet::testing
