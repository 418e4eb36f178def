// Exported files: valid ONNX, and the authors' numbers in OpenCV's importer. Other runtimes:
// onnx_runtimes.py.
#include <hornet/interop/network.h>
#include <hornet/interop/onnx_model.h>

#include <opencv2/dnn.hpp>

#include "tests/interop/fixture_outputs.h"
#include "tests/interop/onnx_file.h"
#include "tests/weights/helpers.h"

namespace hornet::testing {
namespace {

namespace fs = std::filesystem;
using weights::error_of;
using weights::expect_contains;
using weights::TemporaryFolder;

graph::Graph fixture_graph(const std::string& name) {
  return graph::read_graph(weights::read(model_path(name)));
}

class OnnxModel : public ::testing::TestWithParam<FixtureCase> {};

TEST_P(OnnxModel, GivesTheAuthorsNumbersInOpenCv) {
  const weights::File checkpoint = weights::read(GetParam().folder / "model.pth");
  const torch::Tensor input = GetParam().input(load_model(checkpoint)).input;
  const TemporaryFolder folder;
  graph::write_onnx(graph::read_graph(checkpoint), folder / "model.onnx",
                    {input.size(2), input.size(3)});
  read_onnx(folder / "model.onnx");  // checks it

  expect_outputs(GetParam(), cv::dnn::readNet((folder / "model.onnx").string()), input,
                 output_names(GetParam()));
}

// Other sizes than these are covered by the smaller ones; OpenCV's importer is slow.
std::vector<FixtureCase> small_cases() {
  std::vector<FixtureCase> cases = whole_cases();
  constexpr int64_t kMost = 360 * 560;
  cases.erase(std::remove_if(cases.begin(), cases.end(),
                             [](const FixtureCase& item) {
                               const auto& shape = item.description["input_shape"];
                               return shape[2].get<int64_t>() * shape[3].get<int64_t>() > kMost;
                             }),
              cases.end());
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Fixtures, OnnxModel, ::testing::ValuesIn(small_cases()), test_name);

TEST(OnnxModelFile, SaysWhatGoesInAndOut) {
  const TemporaryFolder folder;
  const graph::Graph net = fixture_graph("upernet_hornet_tiny_gf_s2");
  graph::write_onnx(net, folder / "one.onnx", {96, 64});
  graph::write_onnx(net, folder / "many.onnx", {96, 64, 17, true});
  const OnnxFile one = read_onnx(folder / "one.onnx"), many = read_onnx(folder / "many.onnx");
  EXPECT_EQ(one.opset, 12);
  EXPECT_EQ(many.opset, 17);
  ASSERT_EQ(one.inputs.size(), 1u);
  ASSERT_EQ(one.outputs.size(), 1u);
  EXPECT_EQ(one.inputs[0].name, "input");
  EXPECT_EQ(one.outputs[0].name, "logits");
  EXPECT_EQ(one.inputs[0].shape, (std::vector<int64_t>{1, 3, 96, 64}));
  EXPECT_EQ(one.outputs[0].shape, (std::vector<int64_t>{1, 150, 96, 64}));
  EXPECT_EQ(many.inputs[0].batch, "batch");
  EXPECT_EQ(many.outputs[0].batch, "batch");
  EXPECT_EQ(many.outputs[0].shape, (std::vector<int64_t>{0, 150, 96, 64}));
  EXPECT_EQ(one.operations.count("DFT"), 0u);
}

TEST(OnnxModelFile, HoldsABackboneAlone) {
  const FixtureCase fixture = backbone_case();
  const TemporaryFolder folder;
  write_backbone(fixture, folder / "backbone.safetensors");
  const LoadedModel model = load_model(weights::read(fixture.folder / "model.pth"));
  const torch::Tensor input = fixture.input(model).input;
  graph::write_onnx(graph::read_graph(weights::read(folder / "backbone.safetensors")),
                    folder / "model.onnx", {input.size(2), input.size(3)});
  expect_outputs(fixture, cv::dnn::readNet((folder / "model.onnx").string()), input,
                 {"feat0", "feat1", "feat2", "feat3"});
}

// The file takes the size that it was exported for; OpenCV says so when it meets another.
TEST(OnnxModelFile, IsForOneSize) {
  const TemporaryFolder folder;
  graph::write_onnx(fixture_graph("hornet_tiny_gf_s1"), folder / "model.onnx", {64, 96});
  cv::dnn::Net net = cv::dnn::readNet((folder / "model.onnx").string());
  net.setInput(to_mat(torch::randn({1, 3, 96, 96})), "input");
  EXPECT_THROW(net.forward(), cv::Exception);
}

// Maps of one pixel, one row, and as wide as they have channels: what importers confuse.
TEST(OnnxModelFile, GivesLibTorchsNumbersAtTheSmallestSizes) {
  const TemporaryFolder folder;
  const fs::path path = model_path("hornet_tiny_gf_s1");
  LoadedModel model = load_model(weights::read(path));
  const torch::InferenceMode inference;
  for (const auto& [height, width] :
       std::vector<std::pair<int64_t, int64_t>>{{32, 32}, {33, 77}, {128, 40}, {64, 64}}) {
    graph::write_onnx(graph::read_graph(weights::read(path)), folder / "model.onnx",
                      {height, width});
    const torch::Tensor input = torch::randn({1, 3, height, width});
    cv::dnn::Net net = cv::dnn::readNet((folder / "model.onnx").string());
    net.setInput(to_mat(input), "input");
    const torch::Tensor expected = std::get<HorNetClassifier>(model.module)->forward(input);
    const double scale = expected.abs().max().item<double>();
    EXPECT_LE((to_tensor(net.forward()) - expected).abs().max().item<double>(), kRelative * scale)
        << height << "x" << width;
  }
}

TEST(OnnxModelFile, IsRefusedWhereItCannotBe) {
  const TemporaryFolder folder;
  const graph::Graph net = fixture_graph("hornet_tiny_gf_s1");
  expect_contains(error_of(
                      [&] {
                        graph::write_onnx(net, folder / "x.onnx", {16, 64});
                      },
                      ErrorCode::kUsage),
                  "from 32x32 to 65536x65536, got 64x16");
  expect_contains(error_of(
                      [&] {
                        graph::write_onnx(net, folder / "no/x.onnx", {64, 64});
                      },
                      ErrorCode::kOutput),
                  "no/x.onnx");
  expect_contains(error_of(
                      [&] {
                        graph::write_onnx(net, folder / "x.onnx", {32768, 32768});
                      },
                      ErrorCode::kUsage),
                  "2 GiB");
  expect_contains(error_of(
                      [&] {
                        graph::write_onnx(net, folder / "x.onnx", {64, 64, 18});
                      },
                      ErrorCode::kUsage),
                  "opset 18: expected 12");
  EXPECT_EQ(folder.file_count(), 0u);
}

}  // namespace
}  // namespace hornet::testing
