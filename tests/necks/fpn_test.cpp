// FPN and HorFPN against the pyramid written out in loops.
#include <gtest/gtest.h>
#include <hornet/necks/fpn.h>

#include <algorithm>

#include "tests/modules.h"

namespace hornet {
namespace {

using testing::expect_close;
using torch::Tensor;
using Names = std::vector<std::string>;

const std::vector<FeatureInfo> kInputs = {{4, 4}, {6, 8}, {8, 16}};

// Maps of odd sizes, none exactly twice the next one.
Features random_inputs() {
  return {torch::randn({2, 4, 13, 21}), torch::randn({2, 6, 7, 10}), torch::randn({2, 8, 3, 5})};
}

Fpn random_fpn(const FpnOptions& options) {
  torch::manual_seed(1);
  Fpn fpn(options);
  testing::randomise(*fpn);
  fpn->eval();
  return fpn;
}

FpnOptions horfpn(FusionConv output) {
  return FpnOptions(kInputs).channels(8).output(output).filter_size(FilterSize{6, 4});
}

// Every pixel of the larger map takes the one of x that its corner falls on.
Tensor nearest(const Tensor& x, int64_t height, int64_t width) {
  Tensor out = torch::empty({x.size(0), x.size(1), height, width});
  for (int64_t i = 0; i < height; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      const int64_t from_i = i * x.size(2) / height, from_j = j * x.size(3) / width;
      out.select(2, i).select(2, j).copy_(x.select(2, from_i).select(2, from_j));
    }
  }
  return out;
}

// The laterals with everything above them added.
Features reference_laterals(const Fpn& fpn, const Features& inputs) {
  const auto parameters = fpn->named_parameters();
  Features laterals;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string conv = "lateral_convs." + std::to_string(i) + ".conv.";
    laterals.push_back(
        torch::conv2d(inputs[i], parameters[conv + "weight"], parameters[conv + "bias"]));
  }
  laterals[1] = laterals[1] + nearest(laterals[2], 7, 10);
  laterals[0] = laterals[0] + nearest(laterals[1], 13, 21);
  return laterals;
}

// gnConv of order 2, whose mixer is not scaled.
Tensor reference_gnconv(const torch::OrderedDict<std::string, Tensor>& parameters,
                        const std::string& name, const Tensor& x,
                        const std::function<Tensor(const Tensor&)>& mixer) {
  const auto conv = [&](const std::string& key, const Tensor& input) {
    return torch::conv2d(input, parameters[name + key + ".weight"],
                         parameters[name + key + ".bias"]);
  };
  const int64_t half = x.size(1) / 2;
  const Tensor projected = conv("proj_in", x);
  const Tensor q = mixer(projected.slice(1, half));
  const Tensor p = conv("pws.0", projected.slice(1, 0, half) * q.slice(1, 0, half));
  return conv("proj_out", p * q.slice(1, half));
}

TEST(Fpn, AddsFromTheTopDown) {
  const torch::NoGradGuard no_grad;
  Fpn fpn = random_fpn(FpnOptions(kInputs).channels(5).levels(3));
  const Features inputs = random_inputs(), laterals = reference_laterals(fpn, inputs);
  const Features outputs = fpn->forward(inputs);
  const auto parameters = fpn->named_parameters();
  ASSERT_EQ(outputs.size(), 3);
  for (size_t i = 0; i < 3; ++i) {
    const std::string conv = "fpn_convs." + std::to_string(i) + ".conv.";
    expect_close(outputs[i], torch::conv2d(laterals[i], parameters[conv + "weight"],
                                           parameters[conv + "bias"], /*stride=*/1, /*padding=*/1));
  }
}

TEST(Fpn, TakesEverySecondPixelForFurtherLevels) {
  const torch::NoGradGuard no_grad;
  Fpn fpn = random_fpn(FpnOptions(kInputs).channels(5));
  const Features outputs = fpn->forward(random_inputs());
  ASSERT_EQ(outputs.size(), 5);
  EXPECT_EQ(outputs[3].sizes(), (torch::IntArrayRef{2, 5, 2, 3}));
  EXPECT_EQ(outputs[4].sizes(), (torch::IntArrayRef{2, 5, 1, 2}));
  for (size_t i = 3; i < 5; ++i) {
    testing::expect_identical(outputs[i], outputs[i - 1].slice(2, 0, {}, 2).slice(3, 0, {}, 2));
  }
}

TEST(Fpn, SaysWhatItReturns) {
  const FpnOptions options = FpnOptions(kInputs).channels(5);
  for (const auto& info : {FpnImpl::feature_info(options), Fpn(options)->feature_info()}) {
    ASSERT_EQ(info.size(), 5);
    for (size_t i = 0; i < 5; ++i) {
      EXPECT_EQ(info[i].channels, 5);
      EXPECT_EQ(info[i].stride, 4 << i);
    }
  }
}

TEST(Fpn, RefusesOtherNumbersOfMaps) {
  Fpn fpn(FpnOptions(kInputs).channels(5));
  Features inputs = random_inputs();
  inputs.pop_back();
  EXPECT_THROW(fpn->forward(inputs), c10::Error);
  EXPECT_THROW(Fpn(FpnOptions(kInputs).levels(2)), c10::Error);
  EXPECT_THROW(Fpn(FpnOptions({})), c10::Error);
}

TEST(Fpn, HasTheAuthorsNames) {
  EXPECT_EQ(
      testing::parameter_names(*Fpn(FpnOptions({{4, 4}, {6, 8}}))),
      (Names{"lateral_convs.0.conv.weight", "lateral_convs.0.conv.bias",
             "lateral_convs.1.conv.weight", "lateral_convs.1.conv.bias", "fpn_convs.0.conv.weight",
             "fpn_convs.0.conv.bias", "fpn_convs.1.conv.weight", "fpn_convs.1.conv.bias"}));
}

TEST(HorFpn, HasTheAuthorsNames) {
  Names names = testing::parameter_names(*Fpn(FpnOptions({{4, 4}}).output(FusionConv::kGnConv7x7)));
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (Names{"fpn_convs.0.dwconv.bias", "fpn_convs.0.dwconv.weight",
                          "fpn_convs.0.proj_in.bias", "fpn_convs.0.proj_in.weight",
                          "fpn_convs.0.proj_out.bias", "fpn_convs.0.proj_out.weight",
                          "fpn_convs.0.pws.0.bias", "fpn_convs.0.pws.0.weight",
                          "lateral_convs.0.conv.bias", "lateral_convs.0.conv.weight"}));
  const auto parameters =
      Fpn(FpnOptions({{4, 4}}).output(FusionConv::kGnConvGlobalFilter))->named_parameters();
  EXPECT_EQ(parameters["fpn_convs.0.dwconv.complex_weight"].sizes(),
            (torch::IntArrayRef{192, 32, 17, 2}));
  EXPECT_EQ(parameters["fpn_convs.0.dwconv.dw.weight"].sizes(), (torch::IntArrayRef{192, 1, 3, 3}));
  EXPECT_EQ(parameters["fpn_convs.0.dwconv.pre_norm.weight"].sizes(), (torch::IntArrayRef{384}));
  EXPECT_EQ(parameters["fpn_convs.0.dwconv.post_norm.bias"].sizes(), (torch::IntArrayRef{384}));
}

TEST(HorFpn, FusesWithAGnConvWithoutScale) {
  const torch::NoGradGuard no_grad;
  Fpn fpn = random_fpn(horfpn(FusionConv::kGnConv7x7));
  const Features inputs = random_inputs(), laterals = reference_laterals(fpn, inputs);
  const Features outputs = fpn->forward(inputs);
  const auto parameters = fpn->named_parameters();
  for (size_t i = 0; i < 3; ++i) {
    const std::string name = "fpn_convs." + std::to_string(i) + ".";
    const auto mixer = [&](const Tensor& q) {
      return torch::conv2d(q, parameters[name + "dwconv.weight"], parameters[name + "dwconv.bias"],
                           1, /*padding=*/3, 1, /*groups=*/12);
    };
    expect_close(outputs[i], reference_gnconv(parameters, name, laterals[i], mixer));
  }
}

TEST(HorFpn, FusesWithAGlobalFilter) {
  const torch::NoGradGuard no_grad;
  Fpn fpn = random_fpn(horfpn(FusionConv::kGnConvGlobalFilter));
  const Features inputs = random_inputs(), laterals = reference_laterals(fpn, inputs);
  const Features outputs = fpn->forward(inputs);
  const auto parameters = fpn->named_parameters();
  const auto modules = fpn->named_modules();
  for (size_t i = 0; i < 3; ++i) {
    const std::string name = "fpn_convs." + std::to_string(i) + ".";
    const auto mixer = [&](const Tensor& q) {
      return modules[name + "dwconv"]->as<GlobalLocalFilter>()->forward(q);
    };
    expect_close(outputs[i], reference_gnconv(parameters, name, laterals[i], mixer));
  }
}

TEST(HorFpn, IsTheSameWhenPrepared) {
  for (const FusionConv kind : {FusionConv::kGnConv7x7, FusionConv::kGnConvGlobalFilter}) {
    Fpn fpn = random_fpn(horfpn(kind));
    const Features inputs = random_inputs();
    Features expected;
    {
      const torch::NoGradGuard no_grad;
      expected = fpn->forward(inputs);
    }
    prepare_for_inference(*fpn);
    const torch::InferenceMode inference;
    expect_close(fpn->forward(inputs), expected, 5e-5);
    const auto modules = fpn->named_modules();
    for (const char* name : {"fpn_convs.0", "fpn_convs.2"}) {
      EXPECT_GT(prepared_bytes(*modules[name]), 0) << name;
    }
  }
}

TEST(FusionConv, IsFollowedByNormAndReluIfAsked) {
  const torch::NoGradGuard no_grad;
  const Tensor x = torch::randn({2, 6, 5, 7});
  for (const FusionConv kind :
       {FusionConv::kConv3x3, FusionConv::kGnConv7x7, FusionConv::kGnConvGlobalFilter}) {
    const auto options = FusionConvOptions(kind, 6, 8).filter_size({6, 4});
    torch::nn::AnyModule plain = make_fusion_conv(options);
    torch::nn::AnyModule normed = make_fusion_conv(FusionConvOptions(options).norm_and_relu(true));
    testing::randomise(*plain.ptr());
    testing::randomise(*normed.ptr());
    normed.ptr()->eval();
    auto target = plain.ptr()->named_parameters();
    const auto source = normed.ptr()->named_parameters();
    for (auto& item : target) {  // a convolution before a batch norm has no bias
      source.contains(item.key()) ? item.value().copy_(source[item.key()]) : item.value().zero_();
    }
    const auto buffers = normed.ptr()->named_buffers();
    const auto per_channel = [](const Tensor& values) { return values.view({8, 1, 1}); };
    const Tensor centred = plain.forward(x) - per_channel(buffers["bn.running_mean"]);
    const Tensor expected = centred / (per_channel(buffers["bn.running_var"]) + 1e-5).sqrt() *
                                per_channel(source["bn.weight"]) +
                            per_channel(source["bn.bias"]);
    expect_close(normed.forward(x), expected.clamp_min(0));
  }
}

}  // namespace
}  // namespace hornet
