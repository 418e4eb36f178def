// Matrix products of every level and precision against float64, and what writes their operands.
#include <gtest/gtest.h>
#include <hornet/backbone/plan/pack.h>
#include <sys/mman.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <limits>

namespace hornet::plan {
namespace {

using torch::Tensor;

constexpr float kNothing = std::numeric_limits<float>::quiet_NaN();

struct Case {
  CpuLevel level;
  Precision precision;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (CpuLevel level : available_cpu_levels()) {
    cases.push_back({level, Precision::kFloat32});
    cases.push_back({level, Precision::kBfloat16});
  }
  return cases;
}

std::string name_of(const ::testing::TestParamInfo<Case>& info) {
  const bool reduced = info.param.precision == Precision::kBfloat16;
  return std::string(cpu_level_name(info.param.level)) + (reduced ? "_with_bf16" : "_with_float32");
}

class Products : public ::testing::TestWithParam<Case> {
 protected:
  const Kernels& kernels = plan::kernels(GetParam().level, GetParam().precision);
  bool reduced() const { return GetParam().precision == Precision::kBfloat16; }
  // What the products see of a tensor.
  Tensor seen(const Tensor& x) const {
    return (reduced() ? x.to(torch::kBFloat16) : x).to(torch::kFloat64);
  }
};

INSTANTIATE_TEST_SUITE_P(Levels, Products, ::testing::ValuesIn(all_cases()), name_of);

// Rows with `stride` floats, and nothing behind the last value but what is no number.
class Matrix {
 public:
  explicit Matrix(const Tensor& values, int64_t gap = 0)
      : rows_(values.size(0)),
        columns_(values.size(1)),
        stride_(values.size(1) + gap),
        buffer_(rows_ * stride_ + kBehind) {
    std::fill_n(buffer_.data(), buffer_.size(), kNothing);
    for (int64_t i = 0; i < rows_; ++i) {
      const Tensor row = values[i].contiguous();
      std::copy_n(row.const_data_ptr<float>(), columns_, buffer_.data() + i * stride_);
    }
  }
  Rows rows() { return {buffer_.data(), stride_}; }
  Tensor values() {
    return torch::from_blob(buffer_.data(), {rows_, stride_}).narrow(1, 0, columns_).clone();
  }

 private:
  static constexpr int64_t kBehind = 64;
  int64_t rows_, columns_, stride_;
  AlignedBuffer buffer_;
};

// Room for rows of operands, full of what is no number.
struct Operands {
  Operands(const Kernels& kernels, int64_t rows, int64_t values)
      : packed(kernels.packed),
        stride(operand_floats(kernels, values)),
        buffer(rows * stride + 2 * kernels.panel) {
    std::fill_n(buffer.data(), buffer.size(), kNothing);
  }
  Rows rows() { return {buffer.data(), stride}; }
  // [rows, values], those behind the last one too.
  Tensor values(int64_t rows) {
    if (packed == 1) return torch::from_blob(buffer.data(), {rows, stride}).clone();
    return torch::from_blob(buffer.data(), {rows, packed * stride}, torch::kBFloat16)
        .to(torch::kFloat32);
  }
  int64_t packed, stride;
  AlignedBuffer buffer;
};

void expect_near(const Tensor& actual, const Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  const double largest = expected.abs().max().item<double>();
  const double difference = (actual.to(torch::kFloat64) - expected).abs().max().item<double>();
  EXPECT_LE(difference, tolerance * largest);
}

struct Sizes {
  int64_t rows, inputs, outputs;
};

TEST_P(Products, MultiplyAndFinish) {
  torch::manual_seed(1);
  for (const Sizes& size : std::vector<Sizes>{{1, 1, 1},
                                              {3, 5, 7},
                                              {16, 32, 32},
                                              {17, 48, 33},
                                              {32, 64, 64},
                                              {33, 96, 31},
                                              {47, 33, 100},
                                              {49, 40, 48},
                                              {100, 31, 17},
                                              {192, 128, 96}}) {
    const Tensor x = torch::randn({size.rows, size.inputs});
    const Tensor weight = torch::randn({size.outputs, size.inputs});
    const Tensor bias = torch::randn({size.outputs});
    const Tensor gate = torch::randn({size.rows, size.outputs});
    const Tensor before = torch::randn({size.rows, size.outputs});
    const PackedMatrix matrix = pack_matrix(kernels, weight, bias);
    Operands in(kernels, size.rows, size.inputs);
    kernels.to_operands(Matrix(x).rows(), size.rows, size.inputs, in.rows());
    const Tensor sums = torch::mm(seen(x), seen(weight).t());
    const Tensor product = sums + bias;

    const auto run = [&](Epilogue epilogue, Rows out, bool add_bias = true) {
      Matrix gates(gate, 3);
      Product p;
      p.in = in.rows();
      p.rows = size.rows;
      p.matrix = &matrix;
      p.out = out;
      p.epilogue = epilogue;
      p.gate = gates.rows();
      p.add_bias = add_bias;
      p.input_end = size.inputs;
      p.output_end = size.outputs;
      kernels.multiply(p);
    };
    SCOPED_TRACE(std::to_string(size.rows) + " rows, " + std::to_string(size.inputs) + " to " +
                 std::to_string(size.outputs));
    const auto floats = [&](Epilogue epilogue, bool add_bias = true) {
      Matrix out(before, 5);
      run(epilogue, out.rows(), add_bias);
      return out.values();
    };
    constexpr double kFloat = 2e-6;
    expect_near(floats(Epilogue::kStore), product, kFloat);
    expect_near(floats(Epilogue::kStore, false), sums, kFloat);
    expect_near(floats(Epilogue::kAccumulate), before + product, kFloat);
    expect_near(floats(Epilogue::kRelu), torch::relu(product), kFloat);

    const auto operands = [&](Epilogue epilogue) {
      Operands out(kernels, size.rows, size.outputs);
      run(epilogue, out.rows());
      const Tensor all = out.values(size.rows);
      const Tensor behind = all.slice(1, size.outputs);
      EXPECT_TRUE(behind.eq(0).all().item<bool>()) << "what is behind the values is multiplied too";
      return all.slice(1, 0, size.outputs);
    };
    const double rounding = reduced() ? 1.0 / 256 : kFloat;
    expect_near(operands(Epilogue::kGelu), torch::gelu(product), rounding);
    expect_near(operands(Epilogue::kGate), product * gate, rounding);
  }
}

// As the hidden layer of a block does it: in parts of the outputs, then of the inputs.
TEST_P(Products, MultiplyInParts) {
  torch::manual_seed(2);
  const int64_t rows = 37, inputs = 24, hidden = 5 * kernels.panel / 2, outputs = 20;
  const int64_t part = 2 * kernels.panel;
  const Tensor x = torch::randn({rows, inputs});
  const Tensor up = torch::randn({hidden, inputs}), down = torch::randn({outputs, hidden});
  const PackedMatrix first = pack_matrix(kernels, up, {}), second = pack_matrix(kernels, down, {});
  Operands in(kernels, rows, inputs), between(kernels, rows, part);
  kernels.to_operands(Matrix(x).rows(), rows, inputs, in.rows());
  Matrix out(torch::zeros({rows, outputs}));
  for (int64_t begin = 0; begin < hidden; begin += part) {
    Product p;
    p.rows = rows;
    p.in = in.rows();
    p.matrix = &first;
    p.out = between.rows();
    p.epilogue = Epilogue::kGelu;
    p.input_end = inputs;
    p.output_begin = begin;
    p.output_end = std::min(begin + part, hidden);
    kernels.multiply(p);
    p.in = between.rows();
    p.matrix = &second;
    p.out = out.rows();
    p.epilogue = Epilogue::kAccumulate;
    p.input_begin = p.output_begin;
    p.input_end = p.output_end;
    p.output_begin = 0;
    p.output_end = outputs;
    kernels.multiply(p);
  }
  const Tensor expected = torch::mm(
      seen(torch::gelu(torch::mm(seen(x), seen(up).t())).to(torch::kFloat32)), seen(down).t());
  expect_near(out.values(), expected, reduced() ? 4e-3 : 2e-6);
}

TEST_P(Products, MakeOperands) {
  torch::manual_seed(3);
  for (int64_t channels : {1, 7, 32, 45}) {
    constexpr int64_t kRows = 3;
    const Tensor x = torch::randn({kRows, channels}) * 100 + 7, y = torch::randn({kRows, channels});
    const auto made = [&](const auto& make) {
      Operands out(kernels, kRows, channels);
      make(out.rows());
      const Tensor all = out.values(kRows);
      EXPECT_TRUE(all.slice(1, channels).eq(0).all().item<bool>());
      return all.slice(1, 0, channels);
    };
    Matrix left(x, 2), right(y, 2);
    const Tensor same =
        made([&](Rows to) { kernels.to_operands(left.rows(), kRows, channels, to); });
    EXPECT_TRUE(torch::equal(same.to(torch::kFloat64), seen(x)));
    const Tensor product =
        made([&](Rows to) { kernels.gate(left.rows(), right.rows(), kRows, channels, to); });
    EXPECT_TRUE(torch::equal(product.to(torch::kFloat64), seen(x * y)));
    const Tensor wide = x.to(torch::kFloat64);
    const Tensor normed =
        (wide - wide.mean(1, true)) / torch::sqrt(wide.var(1, /*unbiased=*/false, true) + 1e-6);
    const Tensor actual =
        made([&](Rows to) { kernels.normalise(left.rows(), kRows, channels, to); });
    EXPECT_LE((actual - normed).abs().max().item<double>(), reduced() ? 1.0 / 128 : 1e-5);
  }
}

// Values whose end is the end of what may be read.
class LastValues {
 public:
  explicit LastValues(const Tensor& values) {
    EXPECT_LE(values.numel() * int64_t{sizeof(float)}, kPage);
    memory_ = mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char* const end = static_cast<char*>(memory_) + kPage;
    EXPECT_EQ(mprotect(end, kPage, PROT_NONE), 0);
    begin_ = reinterpret_cast<float*>(end) - values.numel();
    std::copy_n(values.const_data_ptr<float>(), values.numel(), begin_);
  }
  ~LastValues() { munmap(memory_, 2 * kPage); }
  LastValues(const LastValues&) = delete;
  LastValues& operator=(const LastValues&) = delete;
  const float* begin() const { return begin_; }

 private:
  static constexpr int64_t kPage = 65536;  // a multiple of what any processor's pages are
  void* memory_;
  float* begin_;
};

TEST_P(Products, ReadNothingBehindTensorsOfOthers) {
  torch::manual_seed(5);
  for (int64_t channels : {1, 7, 32, 45, 70}) {
    constexpr int64_t kRows = 3, kOutputs = 5;
    const Tensor x = torch::randn({kRows, channels}), weight = torch::randn({kOutputs, channels});
    const LastValues values(x);
    Operands operands(kernels, kRows, channels);
    Product product;
    product.in = {values.begin(), channels};
    if (reduced()) {
      kernels.to_operands(product.in, kRows, channels, operands.rows());
      product.in = operands.rows();
    }
    const PackedMatrix matrix = pack_matrix(kernels, weight, {});
    Matrix out(torch::zeros({kRows, kOutputs}));
    product.rows = kRows;
    product.matrix = &matrix;
    product.out = out.rows();
    product.input_end = channels;
    product.output_end = kOutputs;
    kernels.multiply(product);
    expect_near(out.values(), torch::mm(seen(x), seen(weight).t()), 2e-6);
  }
}

// To the nearest, of two to the even one; infinity is kept, and so is what is no number.
TEST_P(Products, RoundAsTheTypeDoes) {
  const float infinity = std::numeric_limits<float>::infinity();
  const Tensor x = torch::tensor({1.f, 1.00390625f, 1.01171875f, 1.0039063f, -3.1415927f, 1e30f,
                                  3.4e38f, infinity, -infinity, kNothing, 0.f, -0.f})
                       .unsqueeze(0);
  Operands out(kernels, 1, x.size(1));
  kernels.to_operands(Matrix(x).rows(), 1, x.size(1), out.rows());
  const Tensor actual = out.values(1).slice(1, 0, x.size(1)).to(torch::kFloat64);
  EXPECT_TRUE(torch::equal(actual.isnan(), seen(x).isnan()));
  EXPECT_TRUE(torch::equal(actual.nan_to_num(), seen(x).nan_to_num()));
}

}  // namespace
}  // namespace hornet::plan
