// hornet::global_filter against a Fourier transform in plain loops.
#include <hornet/backbone/ops/global_filter.h>

#include "tests/backbone/filter_reference.h"
#include "tests/gradcheck.h"
#include "tests/modules.h"

namespace hornet {
namespace {

using ops::global_filter;
using ops::interpolate_filter;
using testing::expect_close;
using testing::expect_identical;
using testing::reference_filter;
using testing::reference_resize;
using torch::Tensor;
using Tensors = std::vector<Tensor>;

struct Size {
  int64_t height, width;
};

class GlobalFilterOfMap : public ::testing::TestWithParam<Size> {
 protected:
  Tensor random_map(torch::ScalarType type, int64_t images = 2) const {
    return torch::randn({images, 3, GetParam().height, GetParam().width}, type);
  }
  int64_t columns() const { return GetParam().width / 2 + 1; }
};

TEST_P(GlobalFilterOfMap, IsAProductOfSpectra) {
  torch::manual_seed(1);
  const Tensor x = random_map(torch::kDouble);
  const Tensor weight = torch::randn({3, GetParam().height, columns(), 2}, torch::kDouble);
  const Tensor expected = reference_filter(x, weight);
  expect_close(global_filter(x, weight), expected, 1e-10);
  expect_close(global_filter(x.to(torch::kFloat), weight.to(torch::kFloat)),
               expected.to(torch::kFloat));
}

TEST_P(GlobalFilterOfMap, ResizesTheFilter) {
  torch::manual_seed(2);
  const Tensor x = random_map(torch::kDouble);
  const Tensor weight = torch::randn({3, 5, 4, 2}, torch::kDouble);
  const Tensor resized = reference_resize(weight, GetParam().height, columns());
  expect_close(interpolate_filter(weight, GetParam().height, GetParam().width), resized, 1e-12);
  expect_close(global_filter(x, weight), reference_filter(x, resized), 1e-10);
}

TEST_P(GlobalFilterOfMap, HasGradients) {
  torch::manual_seed(3);
  const auto run = [](const Tensors& values) { return global_filter(values[0], values[1]); };
  testing::expect_gradients(run, {random_map(torch::kDouble), torch::randn({3, 3, 2, 2})});
  testing::expect_gradients(
      run, {random_map(torch::kDouble), torch::randn({3, GetParam().height, columns(), 2})});
}

TEST(GlobalFilter, HasSecondDerivatives) {
  torch::manual_seed(4);
  testing::expect_second_gradients(
      [](const Tensors& values) { return global_filter(values[0], values[1]); },
      {torch::randn({2, 2, 3, 4}), torch::randn({2, 2, 2, 2})});
}

INSTANTIATE_TEST_SUITE_P(Sizes, GlobalFilterOfMap,
                         ::testing::Values(Size{7, 5}, Size{6, 8}, Size{5, 6}, Size{4, 7},
                                           Size{1, 9}, Size{1, 4}, Size{9, 1}, Size{1, 1}));

TEST(GlobalFilter, CommutesWithCircularShifts) {
  torch::manual_seed(2);
  const Tensor weight = torch::randn({4, 14, 8, 2});
  const Tensor x = torch::randn({2, 4, 14, 14});
  const Tensor y = global_filter(x, weight);
  for (const auto& [dy, dx] : std::vector<std::pair<int64_t, int64_t>>{{1, 0}, {0, 1}, {5, 11}}) {
    expect_close(global_filter(x.roll({dy, dx}, {2, 3}), weight), y.roll({dy, dx}, {2, 3}));
  }
}

TEST(GlobalFilter, ComputesReducedPrecisionInFloat32) {
  torch::manual_seed(3);
  for (const auto type : {torch::kHalf, torch::kBFloat16}) {
    const Tensor weight = torch::randn({4, 5, 3, 2}).to(type).requires_grad_();
    const Tensor x = torch::randn({2, 4, 6, 7}).to(type).requires_grad_();
    const Tensor y = global_filter(x, weight);
    EXPECT_EQ(y.scalar_type(), torch::kFloat);
    expect_identical(y, global_filter(x.to(torch::kFloat), weight.to(torch::kFloat)));
    y.sum().backward();
    EXPECT_EQ(x.grad().scalar_type(), type);
    EXPECT_EQ(weight.grad().scalar_type(), type);
    EXPECT_EQ(interpolate_filter(weight, 6, 7).scalar_type(), torch::kFloat);
  }
}

TEST(GlobalFilter, IsOfTheWiderType) {
  const Tensor x = torch::randn({1, 2, 3, 4}), weight = torch::randn({2, 3, 3, 2});
  const Tensor expected = global_filter(x.to(torch::kDouble), weight.to(torch::kDouble));
  expect_identical(global_filter(x.to(torch::kDouble), weight), expected);
  expect_identical(global_filter(x, weight.to(torch::kDouble)), expected);
}

TEST(GlobalFilter, TakesAnyStrides) {
  const Tensor weight = torch::randn({4, 2, 5, 3}).permute({0, 2, 3, 1});
  const Tensor x = torch::randn({2, 6, 7, 8}).permute({0, 3, 1, 2}).slice(1, 0, 8, 2);
  ASSERT_FALSE(x.is_contiguous() || weight.is_contiguous());
  expect_close(global_filter(x, weight), global_filter(x.contiguous(), weight.contiguous()));
}

TEST(GlobalFilter, OfNothingIsNothing) {
  const Tensor x = torch::randn({0, 3, 4, 5}).requires_grad_();
  const Tensor weight = torch::randn({3, 3, 3, 2}).requires_grad_();
  const Tensor y = global_filter(x, weight);
  EXPECT_EQ(y.sizes(), x.sizes());
  y.sum().backward();
  EXPECT_EQ(x.grad().sizes(), x.sizes());
  expect_identical(weight.grad(), torch::zeros_like(weight));
}

TEST(GlobalFilter, TellsShapesOnTheMetaDevice) {
  const auto meta = torch::TensorOptions().device(torch::kMeta);
  const Tensor x = torch::empty({2, 3, 13, 21}, meta.dtype(torch::kBFloat16));
  const Tensor y = global_filter(x, torch::empty({3, 5, 4, 2}, meta));
  EXPECT_TRUE(y.is_meta());
  EXPECT_EQ(y.sizes(), x.sizes());
  EXPECT_EQ(y.scalar_type(), torch::kFloat);
}

TEST(GlobalFilter, RefusesWhatDoesNotFit) {
  const auto refused = [](const Tensor& x, const Tensor& weight) {
    try {
      global_filter(x, weight);
    } catch (const c10::Error& error) {
      return std::string(error.what_without_backtrace());
    }
    return std::string("nothing was refused");
  };
  const Tensor x = torch::randn({1, 4, 6, 7}), weight = torch::randn({4, 6, 4, 2});
  testing::expect_contains(refused(x, torch::randn({3, 6, 4, 2})), "each of the 4 channels");
  testing::expect_contains(refused(x, torch::view_as_complex(weight)), "complex_weight must be");
  testing::expect_contains(refused(x[0], weight), "x must be [N,C,H,W]");
  testing::expect_contains(refused(x.to(torch::kLong), weight), "floating type, found Long");
}

TEST(InterpolateFilter, KeepsTheNativeSizeAsItIs) {
  const Tensor weight = torch::randn({3, 5, 4, 2});
  for (const int64_t width : {6, 7}) {
    const Tensor same = interpolate_filter(weight, 5, width);
    expect_identical(same, weight);
    EXPECT_FALSE(same.is_alias_of(weight));
  }
}

TEST(InterpolateFilter, HasGradients) {
  testing::expect_gradients(
      [](const Tensors& values) { return interpolate_filter(values[0], 7, 9); },
      {torch::randn({2, 3, 2, 2})});
}

TEST(InterpolateFilter, NeedsAMap) {
  EXPECT_THROW(interpolate_filter(torch::randn({3, 5, 4, 2}), 0, 5), c10::Error);
  EXPECT_THROW(interpolate_filter(torch::randn({3, 5, 4}), 4, 5), c10::Error);
}

}  // namespace
}  // namespace hornet
