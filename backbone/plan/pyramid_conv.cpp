#include <ATen/ATen.h>
#include <hornet/backbone/inference.h>
#include <hornet/backbone/ops/bilinear.h>
#include <hornet/backbone/plan/pack.h>
#include <hornet/backbone/plan/parallel.h>
#include <hornet/backbone/plan/pyramid_conv.h>

namespace hornet::plan {
namespace {

constexpr int64_t kTaps = 9;
// Outputs whose taps are in memory at a time.
constexpr int64_t kBlock = 128;
// Pixels that a thread mixes at a time.
constexpr int64_t kChunk = 96;

std::vector<ops::Lerp> lerps(int64_t in, int64_t out) {
  std::vector<ops::Lerp> all;
  for (int64_t i = 0; i < out; ++i) all.push_back(ops::bilinear_lerp(in, out, i));
  return all;
}

// The taps of one coarse map for a block of outputs: [N, h, w, 9, block].
struct TapMap {
  const float* taps;
  int64_t height, width, step;  // floats of a pixel
  std::vector<ops::Lerp> rows, columns;
};

// The weighted taps that output (y, x) of an image is the sum of.
void collect(const TapMap& map, int64_t image, int64_t y, int64_t x, int64_t block,
             std::vector<Weighted>& sources) {
  const auto height = static_cast<int64_t>(map.rows.size());
  const auto width = static_cast<int64_t>(map.columns.size());
  for (int64_t tap = 0; tap < kTaps; ++tap) {
    const int64_t row = y + tap / 3 - 1, column = x + tap % 3 - 1;
    if (row < 0 || row >= height || column < 0 || column >= width) continue;
    const ops::Lerp &down = map.rows[row], &across = map.columns[column];
    const auto add = [&](int64_t i, int64_t j, float weight) {
      const int64_t pixel = (image * map.height + i) * map.width + j;
      if (weight != 0) sources.push_back({map.taps + pixel * map.step + tap * block, weight});
    };
    add(down.low, across.low, (1 - down.weight) * (1 - across.weight));
    add(down.low, across.high, (1 - down.weight) * across.weight);
    add(down.high, across.low, down.weight * (1 - across.weight));
    add(down.high, across.high, down.weight * across.weight);
  }
}

at::Tensor slice_inputs(const at::Tensor& weight, int64_t from, int64_t count) {
  return weight.narrow(1, from, count);
}

}  // namespace

PyramidConvPlan::PyramidConvPlan(const at::Tensor& weight, const at::Tensor& bias, bool relu,
                                 const std::vector<int64_t>& channels, Precision precision)
    : kernels_(kernels(cpu_level(), precision)),
      outputs_(weight.size(0)),
      relu_(relu),
      finest_(slice_inputs(weight, 0, channels.front()), bias, relu && channels.size() == 1,
              precision) {
  int64_t from = channels.front();
  for (size_t i = 1; i < channels.size(); ++i) {
    Level level;
    level.channels = channels[i];
    const at::Tensor part = slice_inputs(weight, from, channels[i]).permute({2, 3, 0, 1});
    for (int64_t begin = 0; begin < outputs_; begin += kBlock) {
      const int64_t count = std::min(kBlock, outputs_ - begin);
      level.blocks.push_back(pack_matrix(kernels_, part.narrow(2, begin, count).flatten(0, 2), {}));
    }
    levels_.push_back(std::move(level));
    from += channels[i];
  }
}

void PyramidConvPlan::mix(const Level& level, size_t block, const at::Tensor& map, float* taps,
                          float* scratch) const {
  const PackedMatrix& matrix = level.blocks[block];
  const float* from = map.const_data_ptr<float>();
  in_chunks(map.size(0) * map.size(2) * map.size(3), kChunk,
            [&](int64_t first, int64_t rows, int64_t worker) {
              const ConstRows pixels = {from + first * level.channels, level.channels};
              Product product;
              product.in = as_operands(kernels_, pixels, rows, level.channels,
                                       scratch + worker * operand_scratch());
              product.rows = rows;
              product.matrix = &matrix;
              product.out = {taps + first * matrix.outputs, matrix.outputs};
              product.add_bias = false;
              product.input_end = level.channels;
              product.output_end = matrix.outputs;
              kernels_.multiply(product);
            });
}

// Floats that a thread needs for the operands of a chunk.
int64_t PyramidConvPlan::operand_scratch() const {
  if (kernels_.packed == 1) return 0;
  int64_t most = 0;
  for (const Level& level : levels_) most = std::max(most, level.channels);
  return kChunk * operand_floats(kernels_, most);
}

at::Tensor PyramidConvPlan::forward(const std::vector<at::Tensor>& maps) const {
  at::Tensor out = finest_.forward(maps.front());
  if (levels_.empty() || out.numel() == 0) return out;
  const int64_t images = out.size(0), height = out.size(2), width = out.size(3);
  std::vector<at::Tensor> coarse;
  std::vector<TapMap> tap_maps;
  const int64_t operands = operand_scratch() * at::get_num_threads();
  int64_t floats = operands;
  for (size_t i = 0; i < levels_.size(); ++i) {
    coarse.push_back(maps[i + 1].contiguous(at::MemoryFormat::ChannelsLast));
    const int64_t h = coarse[i].size(2), w = coarse[i].size(3);
    tap_maps.push_back({nullptr, h, w, 0, lerps(h, height), lerps(w, width)});
    floats += images * h * w * kTaps * std::min(kBlock, outputs_) + 2 * kernels_.lanes;
  }
  float* const scratch = borrow_scratch(floats);
  for (int64_t begin = 0; begin < outputs_; begin += kBlock) {
    const int64_t count = std::min(kBlock, outputs_ - begin);
    float* taps = scratch + operands;
    for (size_t i = 0; i < levels_.size(); ++i) {
      mix(levels_[i], static_cast<size_t>(begin / kBlock), coarse[i], taps, scratch);
      tap_maps[i].taps = taps;
      tap_maps[i].step = kTaps * count;
      taps += images * tap_maps[i].height * tap_maps[i].width * kTaps * count + 2 * kernels_.lanes;
    }
    float* to = out.mutable_data_ptr<float>() + begin;
    in_parallel(images * height, [&](int64_t row, int64_t) {
      std::vector<Weighted> sources;
      for (int64_t x = 0; x < width; ++x) {
        sources.clear();
        for (const TapMap& map : tap_maps) {
          collect(map, row / height, row % height, x, count, sources);
        }
        kernels_.add_weighted(sources.data(), static_cast<int64_t>(sources.size()), count, relu_,
                              to + (row * width + x) * outputs_);
      }
    });
  }
  return out;
}

int64_t PyramidConvPlan::bytes() const {
  int64_t floats = 0;
  for (const Level& level : levels_) {
    for (const PackedMatrix& matrix : level.blocks) {
      floats += matrix.panels.size() + matrix.bias.size();
    }
  }
  return finest_.bytes() + floats * static_cast<int64_t>(sizeof(float));
}

struct PreparedPyramidConv::State {
  torch::nn::Conv2d conv{nullptr};
  torch::nn::BatchNorm2d norm{nullptr};
  bool relu = false;
  std::vector<int64_t> channels;
  WatchedPlans<PyramidConvPlan> plans;

  std::shared_ptr<PyramidConvPlan> current() {
    return plans.get(
        [&](WeightWatch& watch, Precision precision) -> std::shared_ptr<PyramidConvPlan> {
          if (!plan_fits(conv, norm) || conv->weight.size(2) != 3) return nullptr;
          const FoldedConv folded = fold(conv, norm, watch);
          return std::make_shared<PyramidConvPlan>(folded.weight, folded.bias, relu, channels,
                                                   precision);
        });
  }
};

PreparedPyramidConv::PreparedPyramidConv() = default;
PreparedPyramidConv::~PreparedPyramidConv() = default;

void PreparedPyramidConv::prepare(const torch::nn::Conv2d& conv, const torch::nn::BatchNorm2d& norm,
                                  bool relu, const std::vector<int64_t>& channels) {
  state_ = std::make_shared<State>();
  state_->conv = conv;
  state_->norm = norm;
  state_->relu = relu;
  state_->channels = channels;
}

std::optional<at::Tensor> PreparedPyramidConv::forward(const torch::nn::Module& owner,
                                                       const std::vector<at::Tensor>& maps) {
  if (state_ == nullptr) return std::nullopt;
  if (weights_may_change(owner)) state_->plans.drop();
  if (maps.size() != state_->channels.size()) return std::nullopt;
  for (size_t i = 0; i < maps.size(); ++i) {
    if (!takes_prepared_way(owner, maps[i]) || maps[i].size(1) != state_->channels[i]) {
      return std::nullopt;
    }
  }
  const std::shared_ptr<PyramidConvPlan> plan = state_->current();
  if (plan == nullptr) return std::nullopt;
  return plan->forward(maps);
}

int64_t PreparedPyramidConv::bytes() const { return state_ != nullptr ? state_->plans.bytes() : 0; }

}  // namespace hornet::plan
