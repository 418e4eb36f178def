// gnConv against its formula, written out with convolutions and slices.
#include <gtest/gtest.h>
#include <hornet/backbone/depthwise_conv.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/gnconv.h>

#include "tests/gradcheck.h"
#include "tests/modules.h"

namespace hornet {
namespace {

using testing::expect_close;
using torch::Tensor;
using Mixer = std::function<Tensor(const Tensor&)>;
using Names = std::vector<std::string>;

Tensor channels(const Tensor& x, int64_t from, int64_t count) {
  return x.slice(1, from, from + count);
}

Mixer depthwise_7x7(const GnConv& conv) {
  const auto parameters = conv->named_parameters();
  return [=](const Tensor& q) {
    return torch::conv2d(q, parameters["dwconv.weight"], parameters["dwconv.bias"], /*stride=*/1,
                         /*padding=*/3, /*dilation=*/1, /*groups=*/q.size(1));
  };
}

Tensor reference(const GnConv& conv, const Tensor& x, const Mixer& mixer) {
  const auto parameters = conv->named_parameters();
  const auto pointwise = [&](const std::string& name, const Tensor& input) {
    return torch::conv2d(input, parameters[name + ".weight"], parameters[name + ".bias"]);
  };
  const int64_t full = conv->options.channels(), order = conv->options.order();
  int64_t width = full;
  for (int64_t k = 1; k < order; ++k) width /= 2;

  const Tensor projected = pointwise("proj_in", x);
  const Tensor q = mixer(channels(projected, width, 2 * full - width)) * conv->options.scale();
  Tensor p = channels(projected, 0, width) * channels(q, 0, width);
  int64_t offset = width;
  for (int64_t k = 1; k < order; ++k) {
    width *= 2;
    p = pointwise("pws." + std::to_string(k - 1), p) * channels(q, offset, width);
    offset += width;
  }
  return pointwise("proj_out", p);
}

GnConv random_gnconv(const GnConvOptions& options) {
  torch::manual_seed(options.order());
  GnConv conv(options);
  testing::randomise(*conv);
  return conv;
}

class GnConvOfOrder : public ::testing::TestWithParam<int64_t> {};

TEST_P(GnConvOfOrder, FollowsTheFormula) {
  GnConv conv = random_gnconv(GnConvOptions(16).order(GetParam()).scale(1.0 / 3.0));
  const torch::NoGradGuard no_grad;
  for (const auto& size : std::vector<std::vector<int64_t>>{{7, 5}, {13, 21}, {1, 9}}) {
    const Tensor x = torch::randn({2, 16, size[0], size[1]});
    const Tensor y = conv->forward(x);
    ASSERT_EQ(y.sizes(), x.sizes());
    expect_close(y, reference(conv, x, depthwise_7x7(conv)));
  }
}

TEST_P(GnConvOfOrder, TakesAnyStrides) {
  GnConv conv = random_gnconv(GnConvOptions(16).order(GetParam()));
  const torch::NoGradGuard no_grad;
  const Tensor x = torch::randn({2, 5, 7, 32}).permute({0, 3, 1, 2}).slice(1, 0, 32, 2);
  ASSERT_FALSE(x.is_contiguous());
  expect_close(conv->forward(x), conv->forward(x.contiguous()));
}

TEST_P(GnConvOfOrder, WidensItsInput) {
  GnConv conv = random_gnconv(GnConvOptions(16).in_channels(6).order(GetParam()));
  const torch::NoGradGuard no_grad;
  const Tensor x = torch::randn({1, 6, 5, 4});
  const Tensor y = conv->forward(x);
  EXPECT_EQ(y.size(1), 16);
  expect_close(y, reference(conv, x, depthwise_7x7(conv)));
}

INSTANTIATE_TEST_SUITE_P(Orders, GnConvOfOrder, ::testing::Range<int64_t>(1, 6));

TEST(GnConv, WidthsHalveFromTheLastProductBack) {
  EXPECT_EQ(gnconv_widths(64, 1), (std::vector<int64_t>{64}));
  EXPECT_EQ(gnconv_widths(64, 5), (std::vector<int64_t>{4, 8, 16, 32, 64}));
}

TEST(GnConv, RefusesWidthsThatDoNotHalve) {
  for (const auto& [width, order] :
       std::vector<std::pair<int64_t, int64_t>>{{20, 4}, {0, 1}, {8, 0}, {8, 63}}) {
    const std::string message = testing::error_of(
        [width = width, order = order] { gnconv_widths(width, order); }, ErrorCode::kUsage);
    testing::expect_contains(message, "order " + std::to_string(order));
    testing::expect_contains(message, std::to_string(width) + " channels");
  }
  EXPECT_THROW(GnConv(GnConvOptions(20).order(4)), Error);
}

TEST(GnConv, HasTheAuthorsNames) {
  EXPECT_EQ(
      testing::parameter_names(*GnConv(GnConvOptions(16).order(3))),
      (Names{"proj_in.weight", "proj_in.bias", "dwconv.weight", "dwconv.bias", "proj_out.weight",
             "proj_out.bias", "pws.0.weight", "pws.0.bias", "pws.1.weight", "pws.1.bias"}));
  const auto parameters = GnConv(GnConvOptions(16).order(3))->named_parameters();
  EXPECT_EQ(parameters["proj_in.weight"].sizes(), (torch::IntArrayRef{32, 16, 1, 1}));
  EXPECT_EQ(parameters["dwconv.weight"].sizes(), (torch::IntArrayRef{28, 1, 7, 7}));
  EXPECT_EQ(parameters["pws.0.weight"].sizes(), (torch::IntArrayRef{8, 4, 1, 1}));
  EXPECT_EQ(parameters["pws.1.weight"].sizes(), (torch::IntArrayRef{16, 8, 1, 1}));
}

TEST(GnConv, MixesWithAGlobalFilter) {
  GnConv conv = random_gnconv(GnConvOptions(16).order(2).global_filter(FilterSize{6, 4}));
  const auto parameters = conv->named_parameters();
  EXPECT_EQ(parameters["dwconv.complex_weight"].sizes(), (torch::IntArrayRef{12, 6, 4, 2}));
  const torch::NoGradGuard no_grad;
  const Tensor x = torch::randn({2, 16, 7, 5});
  GlobalLocalFilter filter = conv->dwconv.get<GlobalLocalFilter>();
  expect_close(conv->forward(x),
               reference(conv, x, [&](const Tensor& q) { return filter->forward(q); }));
}

// A caller's mixer: every channel times a learned number, then flipped from left to right.
struct Mirror : torch::nn::Module {
  explicit Mirror(int64_t channels) {
    weight = register_parameter("weight", torch::randn({channels, 1, 1}));
  }
  Tensor forward(const Tensor& x) { return (x * weight).flip({3}); }
  Tensor weight;
};

TEST(GnConv, MixesWithACallersModule) {
  int64_t asked = 0;
  GnConv conv = random_gnconv(GnConvOptions(8)
                                  .order(3)
                                  .scale(0.5)
                                  .global_filter(FilterSize{6, 4})
                                  .mixer([&](int64_t channels) {
                                    asked = channels;
                                    return torch::nn::AnyModule(std::make_shared<Mirror>(channels));
                                  }));
  EXPECT_EQ(asked, 2 + 4 + 8);
  const auto parameters = conv->named_parameters();
  ASSERT_TRUE(parameters.contains("dwconv.weight"));
  const Tensor x = torch::randn({2, 8, 3, 5});
  expect_close(conv->forward(x), reference(conv, x, [&](const Tensor& q) {
                 return (q * parameters["dwconv.weight"]).flip({3});
               }));
  conv->forward(x).sum().backward();
  EXPECT_TRUE(parameters["dwconv.weight"].grad().defined());
}

void expect_gnconv_gradients(int64_t order) {
  GnConv conv = random_gnconv(GnConvOptions(4).order(order).scale(1.0 / 3.0));
  conv->to(torch::kDouble);
  std::vector<Tensor*> weights = {
      &conv->proj_in->weight, &conv->dwconv.get<DepthwiseConv>()->weight, &conv->proj_out->bias};
  for (const auto& f : *conv->pws) weights.push_back(&f->as<torch::nn::Conv2d>()->weight);
  std::vector<Tensor> inputs = {torch::randn({1, 4, 3, 2})};
  for (const Tensor* weight : weights) inputs.push_back(*weight);
  testing::expect_gradients(
      [&](const std::vector<Tensor>& values) {
        for (size_t i = 0; i < weights.size(); ++i) *weights[i] = values[i + 1];
        return conv->forward(values[0]);
      },
      inputs);
}

TEST(GnConv, HasTheGradientsOfOrder1) { expect_gnconv_gradients(1); }
TEST(GnConv, HasTheGradientsOfOrder3) { expect_gnconv_gradients(3); }

}  // namespace
}  // namespace hornet
