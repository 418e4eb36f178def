// The graph's arithmetic and its shapes, in plain numbers.
#include <gtest/gtest.h>
#include <hornet/interop/fourier.h>
#include <hornet/interop/network.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "tests/weights/helpers.h"

namespace hornet::graph {
namespace {

using weights::error_of;
using weights::expect_contains;

Graph fixture_graph(const std::string& name) {
  return read_graph(
      weights::read(std::filesystem::path(HORNET_TEST_DATA) / "fixtures" / name / "model.pth"));
}

std::vector<std::string> output_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const Value value : graph.outputs) names.push_back(graph.nodes[value].name);
  return names;
}

TEST(Graph, OutputsAreNamedAfterWhatTheyAre) {
  EXPECT_EQ(output_names(fixture_graph("hornet_tiny_gf_s1")), std::vector<std::string>{"logits"});
  EXPECT_EQ(output_names(fixture_graph("upernet_hornet_tiny_gf_s2")),
            std::vector<std::string>{"logits"});
  EXPECT_EQ(output_names(fixture_graph("cascade_mask_rcnn_hornet_tiny_gf_s2")),
            (std::vector<std::string>{"fpn0", "fpn1", "fpn2", "fpn3", "fpn4"}));
}

// What training writes for anchors of other sizes.
TEST(Graph, PyramidsHaveTheLevelsOfTheMetadata) {
  weights::File file = weights::read(std::filesystem::path(HORNET_TEST_DATA) /
                                     "fixtures/fpn_mask_rcnn_hornet_small_7x7_s1/model.pth");
  const std::vector<std::string> all = {"fpn0", "fpn1", "fpn2", "fpn3",
                                        "fpn4", "fpn5", "fpn6", "fpn7"};
  for (const int levels : {4, 5, 6, 8}) {
    file.meta.entries["hornet.pyramid_levels"] = std::to_string(levels);
    const Graph graph = read_graph(file);
    EXPECT_EQ(output_names(graph), std::vector<std::string>(all.begin(), all.begin() + levels));
    const Shape coarsest = infer_shapes(graph, 512, 1024)[graph.outputs.back()];
    EXPECT_EQ(coarsest.height, 512 >> (levels + 1));
    EXPECT_EQ(coarsest.width, 1024 >> (levels + 1));
  }
  for (const char* levels : {"3", "9", "", "4.5", "many"}) {
    file.meta.entries["hornet.pyramid_levels"] = levels;
    expect_contains(error_of([&] { read_graph(file); }, ErrorCode::kWeights),
                    "hornet.pyramid_levels");
  }
}

TEST(Graph, NamesAreUniqueAndInputsStandBefore) {
  const Graph graph = fixture_graph("horfpn_7x7_upernet_hornet_small_7x7_s1");
  std::set<std::string> names;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    EXPECT_TRUE(names.insert(graph.nodes[i].name).second) << graph.nodes[i].name;
    for (const Value input : graph.nodes[i].inputs) EXPECT_LT(input, i);
  }
}

TEST(Graph, ShapesFollowTheInput) {
  const Graph graph = fixture_graph("cascade_mask_rcnn_hornet_tiny_gf_s2");
  const std::vector<Shape> shapes = infer_shapes(graph, 333, 517);
  const std::vector<std::pair<int64_t, int64_t>> expected = {
      {83, 129}, {41, 64}, {20, 32}, {10, 16}, {5, 8}};
  for (size_t i = 0; i < expected.size(); ++i) {
    const Shape& shape = shapes[graph.outputs[i]];
    EXPECT_EQ(shape.height, expected[i].first);
    EXPECT_EQ(shape.width, expected[i].second);
  }
  expect_contains(error_of([&] { infer_shapes(graph, 64, 31); }, ErrorCode::kUsage), "31x64");
}

TEST(Fourier, InterpolationKeepsCornersAndMeetsInTheMiddle) {
  const Constant weight{{1, 2, 2, 2}, {0, 10, 1, 20, 2, 30, 3, 40}};
  EXPECT_EQ(interpolate_filter(weight, 2, 2).values, weight.values);
  const Constant wide = interpolate_filter(weight, 3, 4);  // 3 rows, 3 columns of the spectrum
  EXPECT_EQ(wide.shape, (std::vector<int64_t>{1, 3, 3, 2}));
  EXPECT_FLOAT_EQ(wide.values[(1 * 3 + 1) * 2], 1.5f);
  EXPECT_FLOAT_EQ(wide.values[(1 * 3 + 1) * 2 + 1], 25.0f);
  EXPECT_FLOAT_EQ(wide.values[(2 * 3 + 2) * 2], 3.0f);
  EXPECT_FLOAT_EQ(interpolate_filter(weight, 1, 1).values[1], 10.0f);  // one value: the first
}

// A row of numbers times a matrix.
std::vector<double> times(const std::vector<double>& row, const std::vector<float>& matrix) {
  const size_t columns = matrix.size() / row.size();
  std::vector<double> out(columns, 0.0);
  for (size_t i = 0; i < row.size(); ++i) {
    for (size_t k = 0; k < columns; ++k) out[k] += row[i] * matrix[i * columns + k];
  }
  return out;
}

TEST(Fourier, TransformsAndTheWayBackGiveTheRow) {
  for (const int64_t width : {1, 2, 5, 8, 13}) {
    const FourierMatrices matrices = fourier_matrices(3, width);
    std::vector<double> row;
    for (int64_t i = 0; i < width; ++i) row.push_back(std::sin(1.7 * static_cast<double>(i) + 0.3));
    const std::vector<double> real = times(row, matrices.real);
    const std::vector<double> imaginary = times(row, matrices.imaginary);
    double energy = 0;
    for (const double value : row) energy += value;
    EXPECT_NEAR(real[0], energy / std::sqrt(static_cast<double>(width)), 1e-6);
    std::vector<double> back = times(real, matrices.from_real);
    const std::vector<double> rest = times(imaginary, matrices.from_imaginary);
    for (size_t i = 0; i < row.size(); ++i) EXPECT_NEAR(back[i] + rest[i], row[i], 1e-6) << width;
  }
}

TEST(Fourier, ComplexTransformsUndoEachOther) {
  const FourierMatrices matrices = fourier_matrices(5, 4);
  const std::vector<double> row = {1, -2, 3, 0.5, 0, /* imaginary */ 2, 1, -1, 0, 4};
  const std::vector<double> there = times(row, matrices.forward);
  const std::vector<double> back = times(there, matrices.inverse);
  for (size_t i = 0; i < row.size(); ++i) EXPECT_NEAR(back[i], row[i], 1e-5);
  EXPECT_NEAR(there[0], (1 - 2 + 3 + 0.5) / std::sqrt(5.0), 1e-6);
  EXPECT_NEAR(there[5], (2 + 1 - 1 + 4) / std::sqrt(5.0), 1e-6);
}

TEST(Fourier, PoolingBinsOverlapWhereTheyMust) {
  const std::vector<float> matrix = pooling_matrix(5, 2);
  const float third = 1.0f / 3.0f;
  EXPECT_EQ(matrix, (std::vector<float>{third, third, third, 0, 0, 0, 0, third, third, third}));
}

}  // namespace
}  // namespace hornet::graph
