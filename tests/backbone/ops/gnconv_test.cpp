// hornet::gnconv against its formula, written out with convolutions and slices.
#include <hornet/backbone/gnconv.h>
#include <hornet/backbone/ops/gnconv.h>
#include <torch/cuda.h>

#include <numeric>

#include "tests/gradcheck.h"
#include "tests/modules.h"

namespace hornet {
namespace {

using testing::expect_close;
using testing::expect_identical;
using torch::Tensor;
using Tensors = std::vector<Tensor>;

constexpr double kScale = 1.0 / 3.0;

struct Arguments {
  Tensor p, q;
  Tensors weights, biases;

  Tensors list() const {
    Tensors all = {p, q};
    all.insert(all.end(), weights.begin(), weights.end());
    all.insert(all.end(), biases.begin(), biases.end());
    return all;
  }

  static Arguments of(const Tensors& all) {
    const auto first = all.begin() + 2, middle = first + static_cast<int64_t>(all.size() - 2) / 2;
    return {all[0], all[1], Tensors(first, middle), Tensors(middle, all.end())};
  }

  template <typename Function>
  Arguments map(const Function& f) const {
    Tensors changed;
    for (const Tensor& tensor : list()) changed.push_back(f(tensor));
    return of(changed);
  }

  Arguments to(torch::ScalarType type) const {
    return map([type](const Tensor& tensor) { return tensor.to(type); });
  }

  Arguments as(torch::MemoryFormat format) const {
    return {p.contiguous(format), q.contiguous(format), weights, biases};
  }
};

Tensor fused(const Arguments& a) { return ops::gnconv(a.p, a.q, a.weights, a.biases, kScale); }

Tensor reference(const Arguments& a) {
  Tensor p = a.p;
  int64_t offset = 0;
  for (size_t k = 0; k <= a.weights.size(); ++k) {
    if (k > 0) p = torch::conv2d(p, a.weights[k - 1], a.biases[k - 1]);
    p = p * (a.q.slice(1, offset, offset + p.size(1)) * kScale);
    offset += p.size(1);
  }
  return p;
}

Arguments random_arguments(const std::vector<int64_t>& widths, int64_t images, int64_t height,
                           int64_t width, torch::ScalarType type = torch::kFloat) {
  torch::manual_seed(static_cast<uint64_t>(widths.size()));
  const int64_t gates = std::accumulate(widths.begin(), widths.end(), int64_t{0});
  Arguments a;
  a.p = torch::randn({images, widths[0], height, width}, type);
  a.q = torch::randn({images, gates, height, width}, type);
  for (size_t k = 1; k < widths.size(); ++k) {
    const auto fan_in = static_cast<double>(widths[k - 1]);
    a.weights.push_back(torch::randn({widths[k], widths[k - 1], 1, 1}, type) / std::sqrt(fan_in));
    a.biases.push_back(torch::randn({widths[k]}, type));
  }
  return a;
}

const std::vector<torch::MemoryFormat> kFormats = {torch::MemoryFormat::Contiguous,
                                                   torch::MemoryFormat::ChannelsLast};

class GnConvOpOfOrder : public ::testing::TestWithParam<int64_t> {
 protected:
  std::vector<int64_t> widths(int64_t channels) const {
    return gnconv_widths(channels, GetParam());
  }
};

TEST_P(GnConvOpOfOrder, FollowsTheFormula) {
  for (const auto& size : std::vector<std::vector<int64_t>>{{7, 5}, {13, 21}, {1, 9}, {1, 1}}) {
    const Arguments a = random_arguments(widths(48), 2, size[0], size[1]);
    for (const auto format : kFormats) {
      SCOPED_TRACE(::testing::PrintToString(size));
      expect_close(fused(a.as(format)), reference(a));
      const Arguments precise = a.to(torch::kDouble).as(format);
      expect_close(fused(precise), reference(precise), 1e-12);
    }
  }
}

TEST_P(GnConvOpOfOrder, HasGradients) {
  const auto run = [](const Tensors& values) { return fused(Arguments::of(values)); };
  for (const auto format : kFormats) {
    testing::expect_gradients(run, random_arguments(widths(16), 2, 1, 2).as(format).list());
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, GnConvOpOfOrder, ::testing::Range<int64_t>(1, 6));

TEST(GnConvOp, NeedsNoWidthsThatDouble) {
  const Arguments a = random_arguments({5, 3, 7}, 2, 4, 3);
  for (const auto format : kFormats) expect_close(fused(a.as(format)), reference(a));
}

// More pixels than the CPU kernel takes at once, and a last block that is not full.
TEST(GnConvOp, GoesOverLargeMapsInBlocks) {
  for (const auto format : kFormats) {
    const Arguments a = random_arguments({16, 32, 64}, 2, 131, 127).as(format);
    const Tensor y = fused(a);
    EXPECT_TRUE(y.is_contiguous(format));
    expect_close(y, reference(a), 1e-4);
  }
}

TEST(GnConvOp, ReadsSlicesAsTheyLie) {
  const Arguments a = random_arguments({4, 8}, 2, 7, 5);
  for (const auto format : kFormats) {
    const Tensor projected = torch::randn({2, 16, 7, 5}).contiguous(format);
    Arguments sliced = a.as(format);
    sliced.p = projected.narrow(1, 0, 4);
    sliced.q = projected.narrow(1, 4, 12);
    const Tensor y = fused(sliced);
    EXPECT_TRUE(y.is_contiguous(format));
    expect_close(y, reference(sliced));
  }
}

TEST(GnConvOp, TakesAnyStrides) {
  Arguments a = random_arguments({4, 8}, 2, 5, 7);
  const auto strided = [](const Tensor& map) {
    return torch::stack({map, -map}, -1).transpose(2, 3).contiguous().transpose(2, 3).select(-1, 0);
  };
  const Arguments b = a.map([&](const Tensor& t) { return t.dim() == 4 ? strided(t) : t; });
  ASSERT_FALSE(b.q.is_contiguous() || b.q.is_contiguous(torch::MemoryFormat::ChannelsLast));
  expect_close(fused(b), reference(a));
  Arguments mixed = a.as(torch::MemoryFormat::ChannelsLast);
  mixed.q = a.q;
  expect_close(fused(mixed), reference(a));
  mixed.weights[0] = a.weights[0].flatten(1).t().contiguous().t();
  expect_close(fused(mixed), reference(a));
}

TEST(GnConvOp, StaysCloseInReducedPrecision) {
  for (const auto& [type, tolerance] : std::vector<std::pair<torch::ScalarType, double>>{
           {torch::kHalf, 4e-3}, {torch::kBFloat16, 3e-2}}) {
    for (const auto format : kFormats) {
      const Arguments a = random_arguments({4, 8, 16}, 2, 7, 5).to(type).as(format);
      const Tensor y = fused(a);
      EXPECT_EQ(y.scalar_type(), type);
      expect_close(y.to(torch::kFloat), reference(a.to(torch::kFloat)), tolerance);
    }
  }
}

TEST(GnConvOp, OfNothingIsNothing) {
  const Arguments a = random_arguments({4, 8}, 0, 7, 5).map([](const Tensor& tensor) {
    return tensor.clone().requires_grad_();
  });
  const Tensor y = fused(a);
  EXPECT_EQ(y.sizes(), (torch::IntArrayRef{0, 8, 7, 5}));
  y.sum().backward();
  expect_identical(a.weights[0].grad(), torch::zeros_like(a.weights[0]));
}

TEST(GnConvOp, ComputesOnlyTheGradientsThatAreAskedFor) {
  Arguments a = random_arguments({4, 8}, 1, 3, 2);
  a.biases[0].requires_grad_();
  fused(a).sum().backward();
  EXPECT_TRUE(a.biases[0].grad().defined());
  EXPECT_FALSE(a.weights[0].grad().defined());
}

TEST(GnConvOp, HasSecondDerivatives) {
  testing::expect_second_gradients(
      [](const Tensors& values) { return fused(Arguments::of(values)); },
      random_arguments({2, 4}, 1, 2, 2).list());
}

TEST(GnConvOp, TellsShapesOnTheMetaDevice) {
  for (const auto format : kFormats) {
    const Arguments a = random_arguments({4, 8}, 2, 13, 21, torch::kBFloat16).as(format);
    const Tensor y = fused(a.map([](const Tensor& tensor) { return tensor.to(torch::kMeta); }));
    EXPECT_TRUE(y.is_meta());
    EXPECT_EQ(y.sizes(), (torch::IntArrayRef{2, 8, 13, 21}));
    EXPECT_EQ(y.strides(), fused(a).strides());
    EXPECT_EQ(y.scalar_type(), torch::kBFloat16);
  }
}

TEST(GnConvOp, RefusesWhatDoesNotFit) {
  const Arguments a = random_arguments({4, 8}, 2, 7, 5);
  const auto refused = [&](const std::function<void(Arguments&)>& change) {
    Arguments changed = a;
    change(changed);
    try {
      fused(changed);
    } catch (const c10::Error& error) {
      return std::string(error.what_without_backtrace());
    }
    return std::string("nothing was refused");
  };
  const auto expect_refused = [&](const std::string& message,
                                  const std::function<void(Arguments&)>& change) {
    testing::expect_contains(refused(change), message);
  };
  expect_refused("q must have 12 channels", [](Arguments& b) { b.q = b.q.narrow(1, 0, 11); });
  expect_refused("agree but for their channels", [](Arguments& b) { b.q = b.q.narrow(2, 0, 3); });
  expect_refused("must be [N,C,H,W]", [](Arguments& b) { b.p = b.p[0]; });
  expect_refused("one bias a weight", [](Arguments& b) { b.biases.clear(); });
  expect_refused("weight 0 must be [D,4]", [](Arguments& b) {
    b.weights[0] = torch::randn({8, 3});
  });
  expect_refused("its bias [D]", [](Arguments& b) { b.biases[0] = torch::randn({7}); });
  expect_refused("q must be Float on cpu", [](Arguments& b) { b.q = b.q.to(torch::kDouble); });
  expect_refused("floating type, found Long", [](Arguments& b) { b = b.to(torch::kLong); });
}

TEST(GnConvOp, IsTheSameOnAGpu) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU";
  for (const auto format : kFormats) {
    const Arguments a = random_arguments({4, 8, 16}, 2, 13, 21).as(format);
    const Tensor y = fused(a.map([](const Tensor& tensor) { return tensor.to(torch::kCUDA); }));
    EXPECT_TRUE(y.is_contiguous(format));
    expect_close(y.cpu(), fused(a));
  }
}

}  // namespace
}  // namespace hornet
