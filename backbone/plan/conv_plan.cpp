#include <ATen/ATen.h>
#include <hornet/backbone/inference.h>
#include <hornet/backbone/plan/conv_plan.h>
#include <hornet/backbone/plan/pack.h>
#include <hornet/backbone/plan/parallel.h>

namespace hornet::plan {
namespace {

constexpr int64_t kWinograd = 16;  // products for a tile

// G g G^T for each pair of channels: [out,in,3,3] -> [16,out,in].
at::Tensor winograd_weights(const at::Tensor& weight) {
  const at::Tensor g =
      at::tensor({1.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, -0.5, 0.5, 0.0, 0.0, 1.0}, at::kDouble)
          .view({4, 3});
  const at::Tensor transformed = at::matmul(at::matmul(g, weight.to(at::kDouble)), g.t());
  return transformed.permute({2, 3, 0, 1}).flatten(0, 1);
}

}  // namespace

float* borrow_scratch(int64_t floats) {
  thread_local AlignedBuffer buffer;
  buffer.grow(floats);
  return buffer.data();
}

ConstRows as_operands(const Kernels& kernels, ConstRows in, int64_t rows, int64_t channels,
                      float* scratch) {
  if (kernels.packed == 1) return in;
  const Rows out = {scratch, operand_floats(kernels, channels)};
  kernels.to_operands(in, rows, channels, out);
  return out;
}

// The inputs' channels are made whole vectors: zeros are added to them and to the weights.
ConvPlan::ConvPlan(const at::Tensor& weight, const at::Tensor& bias, bool relu, Precision precision)
    : kernels_(kernels(cpu_level(), precision)),
      inputs_(weight.size(1)),
      outputs_(weight.size(0)),
      relu_(relu) {
  if (weight.size(2) == 1) {
    matrices_.push_back(pack_matrix(kernels_, weight.flatten(1), bias));
    return;
  }
  const int64_t padding = round_up(inputs_, kernels_.lanes) - inputs_;
  const at::Tensor points = at::constant_pad_nd(winograd_weights(weight), {0, padding});
  for (int64_t i = 0; i < kWinograd; ++i) {
    matrices_.push_back(pack_matrix(kernels_, points[i], {}));
  }
  bias_ = pack_vector(kernels_, bias.defined() ? bias : at::zeros({outputs_}));
}

at::Tensor ConvPlan::forward(const at::Tensor& x) const {
  at::Tensor out = at::empty({x.size(0), outputs_, x.size(2), x.size(3)}, x.options(),
                             at::MemoryFormat::ChannelsLast);
  if (out.numel() == 0) return out;
  if (bias_.size() == 0) {
    multiply(x.contiguous(at::MemoryFormat::ChannelsLast), out);
  } else {
    const int64_t padding = matrices_.front().inputs - inputs_;
    const at::Tensor whole = padding > 0 ? at::constant_pad_nd(x, {0, 0, 0, 0, 0, padding}) : x;
    convolve(whole.contiguous(at::MemoryFormat::ChannelsLast), out);
  }
  return out;
}

void ConvPlan::multiply(const at::Tensor& x, at::Tensor& out) const {
  const float* from = x.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  const int64_t part = kernels_.packed > 1 ? kChunkRows * operand_floats(kernels_, inputs_) : 0;
  float* scratch = borrow_scratch(part * at::get_num_threads());
  const int64_t pixels = x.size(0) * x.size(2) * x.size(3);
  in_chunks(pixels, kChunkRows, [&](int64_t first, int64_t rows, int64_t i) {
    Product product;
    product.in =
        as_operands(kernels_, {from + first * inputs_, inputs_}, rows, inputs_, scratch + i * part);
    product.rows = rows;
    product.matrix = &matrices_.front();
    product.out = {to + first * outputs_, outputs_};
    product.epilogue = relu_ ? Epilogue::kRelu : Epilogue::kStore;
    product.input_end = inputs_;
    product.output_end = outputs_;
    kernels_.multiply(product);
  });
}

void ConvPlan::convolve(const at::Tensor& x, at::Tensor& out) const {
  constexpr int64_t kChunkFloats = int64_t{1} << 20, kLeast = 24;
  const int64_t inputs = x.size(1);
  const MapSize size = {x.size(2), x.size(3)};
  const int64_t tiles = x.size(0) * ((size.height + 1) / 2) * ((size.width + 1) / 2);
  const int64_t operands = operand_floats(kernels_, inputs);
  const int64_t each = kWinograd * (operands + outputs_);
  const int64_t most = std::max(kLeast, kChunkFloats / each);
  // With slack behind both of a worker's parts.
  const int64_t chunk = even_chunk(tiles, most), slack = 2 * kernels_.lanes;
  const int64_t part = chunk * each + 2 * slack;
  float* scratch = borrow_scratch(part * at::get_num_threads());
  const ConstRows from = {x.const_data_ptr<float>(), inputs};
  const Rows to = {out.mutable_data_ptr<float>(), outputs_};
  in_chunks(tiles, most, [&](int64_t first, int64_t count, int64_t worker) {
    const TileRange range = {size, first, count};
    float* points = scratch + worker * part;
    float* products = points + kWinograd * chunk * operands + slack;
    kernels_.winograd_inputs(from, range, inputs, points);
    for (int64_t i = 0; i < kWinograd; ++i) {
      Product product;
      product.in = {points + i * count * operands, operands};
      product.rows = count;
      product.matrix = &matrices_[i];
      product.out = {products + i * count * outputs_, outputs_};
      product.add_bias = false;
      product.input_end = inputs;
      product.output_end = outputs_;
      kernels_.multiply(product);
    }
    kernels_.winograd_outputs(products, range, outputs_, bias_.data(), relu_, to);
  });
}

int64_t ConvPlan::bytes() const {
  int64_t floats = bias_.size();
  for (const PackedMatrix& matrix : matrices_) floats += floats_of(matrix);
  return floats * static_cast<int64_t>(sizeof(float));
}

bool plan_fits(const torch::nn::Conv2d& conv, const torch::nn::BatchNorm2d& norm) {
  const auto& options = conv->options;
  const auto kernel = options.kernel_size();
  const int64_t side = kernel->at(0);
  const auto* padding = std::get_if<torch::ExpandingArray<2>>(&options.padding());
  const bool keeps_size = padding != nullptr && (*padding)->at(0) == side / 2 &&
                          (*padding)->at(1) == side / 2 && options.stride()->at(0) == 1 &&
                          options.stride()->at(1) == 1 && options.dilation()->at(0) == 1 &&
                          options.dilation()->at(1) == 1 && options.groups() == 1;
  if (!keeps_size || (side != 1 && side != 3) || kernel->at(1) != side) return false;
  if (!can_be_planned(conv->weight) || !can_be_planned(conv->bias)) return false;
  return norm.is_empty() || (can_be_planned(norm->weight) && can_be_planned(norm->bias) &&
                             norm->running_mean.defined() && can_be_planned(norm->running_mean) &&
                             can_be_planned(norm->running_var));
}

FoldedConv fold(const torch::nn::Conv2d& conv, const torch::nn::BatchNorm2d& norm,
                WeightWatch& watch) {
  at::Tensor weight = watch.add(conv->weight).to(at::kDouble);
  at::Tensor bias = watch.add(conv->bias);
  bias = bias.defined() ? bias.to(at::kDouble) : at::zeros({weight.size(0)}, at::kDouble);
  if (!norm.is_empty()) {
    const auto wide = [&](const at::Tensor& value) { return watch.add(value).to(at::kDouble); };
    at::Tensor scale = 1 / at::sqrt(wide(norm->running_var) + norm->options.eps());
    if (norm->weight.defined()) scale = scale * wide(norm->weight);
    bias = (bias - wide(norm->running_mean)) * scale;
    if (norm->bias.defined()) bias = bias + wide(norm->bias);
    weight = weight * scale.view({-1, 1, 1, 1});
  }
  return {weight, bias};
}

struct PreparedConv::State {
  torch::nn::Conv2d conv{nullptr};
  torch::nn::BatchNorm2d norm{nullptr};
  bool relu = false;
  WatchedPlans<ConvPlan> plans;

  std::shared_ptr<ConvPlan> current() {
    return plans.get([&](WeightWatch& watch, Precision precision) -> std::shared_ptr<ConvPlan> {
      if (!plan_fits(conv, norm)) return nullptr;
      const FoldedConv folded = fold(conv, norm, watch);
      return std::make_shared<ConvPlan>(folded.weight, folded.bias, relu, precision);
    });
  }
};

PreparedConv::PreparedConv() = default;
PreparedConv::~PreparedConv() = default;

void PreparedConv::prepare(const torch::nn::Conv2d& conv, const torch::nn::BatchNorm2d& norm,
                           bool relu) {
  state_ = std::make_shared<State>();
  state_->conv = conv;
  state_->norm = norm;
  state_->relu = relu;
}

std::optional<at::Tensor> PreparedConv::forward(const torch::nn::Module& owner,
                                                const at::Tensor& x) {
  if (state_ == nullptr) return std::nullopt;
  if (weights_may_change(owner)) state_->plans.drop();
  if (!takes_prepared_way(owner, x) || x.dim() != 4) return std::nullopt;
  const std::shared_ptr<ConvPlan> plan = state_->current();
  if (plan == nullptr || x.size(1) != state_->conv->options.in_channels()) return std::nullopt;
  return plan->forward(x);
}

int64_t PreparedConv::bytes() const { return state_ != nullptr ? state_->plans.bytes() : 0; }

}  // namespace hornet::plan
