// What bf16 and fp16 cost, as the tables in the README. The fixture models have random weights and
// amplify rounding errors of any precision; the manifest knows by how much, from float32 against
// float64. A reduced precision may lose as many units in its last place as float32 loses in its
// own, and little more: a part that falls out of float32 where it should not loses far more. The
// models that are shipped are trained, and show what is left of that in boxes and labels.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <torch/types.h>

#include <cstdio>
#include <map>
#include <opencv2/imgcodecs.hpp>
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

// Of the objects found with a score of one half at least: the largest distance between an edge of a
// box and of its nearest partner's, in pixels.
double box_error(const Tensors& got, const Tensors& want) {
  const torch::Tensor sure = want.at("scores") >= 0.5;
  const torch::Tensor a = want.at("boxes").index({sure}), b = got.at("boxes");
  TORCH_CHECK(a.size(0) > 0 && b.size(0) > 0, "nobody was found");
  return std::get<0>((a.unsqueeze(1) - b.unsqueeze(0)).abs().amax(2).min(1)).max().item<double>();
}

std::string two_digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

double norm_error(const torch::Tensor& got, const torch::Tensor& want) {
  return ((got - want).norm() / want.norm()).item<double>();
}

// On the README's picture, whose people have been drawn on.
TEST(ReducedPrecision, LeavesTrainedModelsTheirResults) {
  const std::string folder = HORNET_DEMOS;
  const cv::Mat picture = cv::imread(folder + "/picture.jpg");
  LoadedModel pedestrians = load_model(weights::read(folder + "/models/pedestrians.safetensors"));
  LoadedModel street = load_model(weights::read(folder + "/models/street.safetensors"));
  const ForwardInput frame =
      forward_input(picture, detection_preprocess(Conventions::kMmdet, {384, 288}));
  const ForwardInput view = forward_input(picture, segmentation_preprocess({256, 192}));
  const auto forward = [](LoadedModel& model, const ForwardInput& input, const char* dtype) {
    const NamedTensors named = forward_stages(model, input, {}, Runtime({"cpu", dtype}));
    return Tensors(named.begin(), named.end());
  };
  const auto compare = [](const char* name, const Tensors& got, const Tensors& want,
                          const std::string& result) {
    const double error = norm_error(got.at("feat3"), want.at("feat3"));
    std::printf("| %s | bf16 | %.1e | %s |\n", name, error, result.c_str());
    EXPECT_GT(error, 0) << "nothing was reduced";
    EXPECT_LT(error, 1e-2);
  };
  std::printf("| model | dtype | features | result |\n|---|---|---|---|\n");
  const Tensors objects = forward(pedestrians, frame, "fp32");
  const Tensors found = forward(pedestrians, frame, "bf16");
  const double edges = box_error(found, objects);
  compare("pedestrians", found, objects, "boxes within " + two_digits(edges) + " pixels");
  EXPECT_LT(edges, 1);
  const Tensors labels = forward(street, view, "fp32"), seen = forward(street, view, "bf16");
  const double differ = label_difference(seen.at("labels"), labels.at("labels"));
  compare("street", seen, labels, two_digits(100 * differ) + " % of labels differ");
  EXPECT_LT(differ, 0.01);

  // Values of millions in their last stages: more than fp16 can hold, which is said.
  const Runtime halves({"cpu", "fp16"});
  MaskRcnn detector = std::get<MaskRcnn>(pedestrians.module);
  EXPECT_THROW(halves.run([&] { return detector->forward(frame.input, {frame.image_size}); }),
               Error);
  UperNet segmentor = std::get<UperNet>(street.module);
  EXPECT_THROW(halves.run([&] { return segmentor->forward(view.input); }), Error);
}

}  // namespace
}  // namespace hornet::testing
