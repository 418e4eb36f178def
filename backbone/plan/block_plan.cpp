#include <hornet/backbone/depthwise_conv.h>
#include <hornet/backbone/plan/block_plan.h>
#include <hornet/backbone/plan/fold.h>
#include <hornet/backbone/plan/pack.h>

#include <algorithm>
#include <numeric>

namespace hornet::plan {
namespace {

constexpr int64_t kHiddenBlock = 512;  // columns of the MLP's hidden layer at a time
constexpr int64_t kRowBand = 8;        // rows of a map in a task of the depthwise convolution
constexpr int64_t kChannelGroup = 64;  // and channels

PackedMatrix pack(const Kernels& kernels, const Linear& layer) {
  return pack_matrix(kernels, layer.weight, layer.bias);
}

int64_t bytes_of(const PackedMatrix& matrix) {
  return (matrix.panels.size() + matrix.bias.size()) * static_cast<int64_t>(sizeof(float));
}

}  // namespace

bool BlockPlan::fits(const HorNetBlockImpl& block, at::DeviceType device) {
  for (const auto& weight : block.parameters()) {
    if (!can_be_planned(weight, device)) return false;
  }
  const GnConvOptions& options = block.gnconv->options;
  return !options.mixer() && options.in_channels() == options.channels();
}

BlockPlan::BlockPlan(const Kernels& kernels, HorNetBlockImpl& block, WeightWatch& watch)
    : kernels_(kernels) {
  GnConvImpl& gnconv = *block.gnconv;
  channels_ = gnconv.options.channels();
  widths_ = gnconv_widths(channels_, gnconv.options.order());
  mixed_width_ = std::accumulate(widths_.begin(), widths_.end(), int64_t{0});

  const at::Tensor &gamma1 = watch.add(block.gamma1), &gamma2 = watch.add(block.gamma2);
  const Linear proj_in = after_norm(linear(watch, gnconv.proj_in->weight, gnconv.proj_in->bias),
                                    watch.add(block.norm1->weight), watch.add(block.norm1->bias));
  const auto part = [&](int64_t from, int64_t count) {
    return Linear{proj_in.weight.narrow(0, from, count), proj_in.bias.narrow(0, from, count)};
  };
  to_p_ = pack(kernels, part(0, first_width()));
  to_q_ = pack(kernels, part(first_width(), mixed_width_));
  pack_mixer(gnconv, watch);
  for (const auto& f : *gnconv.pws) {
    auto* conv = f->as<torch::nn::Conv2d>();
    products_.push_back(pack(kernels, linear(watch, conv->weight, conv->bias)));
  }
  const Linear proj_out = linear(watch, gnconv.proj_out->weight, gnconv.proj_out->bias);
  proj_out_ = pack(kernels, scaled(proj_out, gamma1));
  const Linear hidden = linear(watch, block.pwconv1->weight, block.pwconv1->bias);
  hidden_ = pack(kernels,
                 after_norm(hidden, watch.add(block.norm2->weight), watch.add(block.norm2->bias)));
  const Linear back = linear(watch, block.pwconv2->weight, block.pwconv2->bias);
  back_ = pack(kernels, scaled(back, gamma2));
}

void BlockPlan::pack_mixer(GnConvImpl& gnconv, WeightWatch& watch) {
  const double scale = gnconv.options.scale();
  if (!gnconv.options.global_filter()) {
    auto& conv = gnconv.dwconv.get<DepthwiseConvImpl>();
    depthwise_ = pack_depthwise(kernels_, wide(watch.add(conv.weight)) * scale,
                                wide(watch.add(conv.bias)) * scale);
    return;
  }
  auto& mixer = gnconv.dwconv.get<GlobalLocalFilterImpl>();
  depthwise_ = pack_depthwise(kernels_, watch.add(mixer.dw->weight), {});
  Global global;
  global.pre_weight = pack_vector(kernels_, watch.add(mixer.pre_norm->weight));
  global.pre_bias = pack_vector(kernels_, watch.add(mixer.pre_norm->bias));
  global.post_weight = pack_vector(kernels_, wide(watch.add(mixer.post_norm->weight)) * scale);
  global.post_bias = pack_vector(kernels_, wide(watch.add(mixer.post_norm->bias)) * scale);
  global.complex_weight = &watch.add(mixer.complex_weight);
  global_ = std::move(global);
}

void BlockPlan::multiply(const PackedMatrix& matrix, ConstRows in, int64_t rows, Rows out,
                         Epilogue epilogue, ConstRows gate) const {
  Product product;
  product.in = in;
  product.rows = rows;
  product.matrix = &matrix;
  product.out = out;
  product.epilogue = epilogue;
  product.gate = gate;
  product.input_end = matrix.inputs;
  product.output_end = matrix.outputs;
  kernels_.multiply(product);
}

// Floats of a row of as many operands as there are channels.
int64_t BlockPlan::row_floats() const { return operand_floats(kernels_, channels_); }

int64_t BlockPlan::row_scratch(int64_t rows) const {
  const int64_t gates = global_ ? mixed_width_ : 0;
  const int64_t hidden = operand_floats(kernels_, std::min(kHiddenBlock, 4 * channels_));
  // Also slack for vector loads behind each of four matrices.
  return rows * (2 * row_floats() + std::max(gates, hidden)) + 4 * kernels_.lanes;
}

void BlockPlan::begin(const BlockMaps& maps, int64_t rows, float* scratch) const {
  const Rows normed = {scratch, row_floats()};
  kernels_.normalise(maps.x, rows, channels_, normed);
  multiply(to_p_, normed, rows, maps.p);
  multiply(to_q_, normed, rows, maps.q);
  if (global_) {
    const Norm norm = {global_->pre_weight.data(), global_->pre_bias.data()};
    kernels_.layer_norm(maps.q, rows, mixed_width_, norm, maps.q);
  }
}

void BlockPlan::finish(const BlockMaps& maps, int64_t rows, float* scratch) const {
  const int64_t slack = kernels_.lanes;
  const int64_t part = rows * row_floats() + slack;
  float* const spare = scratch + 2 * part;
  Rows gates = maps.mixed;
  if (global_) {
    gates = {spare, mixed_width_};
    const Norm norm = {global_->post_weight.data(), global_->post_bias.data()};
    kernels_.interleaved_layer_norm(maps.mixed, rows, mixed_width_, norm, gates);
  }
  Rows value = {scratch, operand_floats(kernels_, first_width())};
  kernels_.gate(maps.p, gates, rows, first_width(), value);
  for (size_t k = 1; k < widths_.size(); ++k) {
    gates.data += widths_[k - 1];
    const Rows next = {scratch + (k % 2) * part, operand_floats(kernels_, widths_[k])};
    multiply(products_[k - 1], value, rows, next, Epilogue::kGate, gates);
    value = next;
  }
  multiply(proj_out_, value, rows, maps.x, Epilogue::kAccumulate);
  mlp(maps.x, rows, scratch);
}

void BlockPlan::mlp(Rows x, int64_t rows, float* scratch) const {
  const Rows normed = {scratch, row_floats()};
  kernels_.normalise(x, rows, channels_, normed);
  const int64_t width = hidden_.outputs;
  Product up, down;
  up.in = normed;
  up.matrix = &hidden_;
  up.epilogue = Epilogue::kGelu;
  up.input_end = channels_;
  down.matrix = &back_;
  down.out = x;
  down.epilogue = Epilogue::kAccumulate;
  down.output_end = channels_;
  up.rows = down.rows = rows;
  const int64_t block = std::min(kHiddenBlock, width);
  up.out = {scratch + 2 * (rows * row_floats() + kernels_.lanes), operand_floats(kernels_, block)};
  down.in = up.out;
  for (int64_t begin = 0; begin < width; begin += block) {
    up.output_begin = down.input_begin = begin;
    up.output_end = down.input_end = std::min(begin + block, width);
    kernels_.multiply(up);
    down.add_bias = begin == 0;
    kernels_.multiply(down);
  }
}

// Filters are kept for as many sizes as GlobalLocalFilter keeps.
void BlockPlan::prepare_mixing(MapSize size) {
  size_ = size;
  if (!global_) return;
  auto& filters = global_->filters;
  const auto found = std::find_if(filters.begin(), filters.end(), [&](const Filter& filter) {
    return filter.size.height == size.height && filter.size.width == size.width;
  });
  if (found != filters.end()) return filters.splice(filters.begin(), filters, found);
  if (filters.size() >= GlobalLocalFilterImpl::kCachedSizes) filters.pop_back();
  filters.push_front(make_filter(kernels_, *global_->complex_weight, size));
}

int64_t BlockPlan::convolved() const { return global_ ? mixed_width_ / 2 : mixed_width_; }

namespace {

int64_t pieces(int64_t size, int64_t piece) { return (size + piece - 1) / piece; }

}  // namespace

// First the blocks of global filters, which take longest, then bands of the convolution.
int64_t BlockPlan::mixing_tasks(int64_t images) const {
  const int64_t blocks = global_ ? pieces(mixed_width_ - convolved(), kernels_.lanes) : 0;
  return images * (blocks + pieces(size_.height, kRowBand) * pieces(convolved(), kChannelGroup));
}

void BlockPlan::mix(const BlockMaps& maps, int64_t task, float* scratch) const {
  const int64_t blocks = global_ ? pieces(mixed_width_ - convolved(), kernels_.lanes) : 0;
  const int64_t bands = pieces(size_.height, kRowBand);
  const int64_t groups = pieces(convolved(), kChannelGroup);
  const int64_t image = task / (blocks + bands * groups), piece = task % (blocks + bands * groups);
  const BlockMaps here = maps.from(image * size_.height * size_.width);
  if (piece < blocks) {
    const int64_t half = convolved();
    kernels_.global_filter(global_->filters.front(), piece, {here.q.data + half, here.q.stride},
                           {here.mixed.data + half, here.mixed.stride}, scratch);
    return;
  }
  const int64_t band = (piece - blocks) / groups, group = (piece - blocks) % groups;
  DepthwiseRange range;
  range.y_begin = band * kRowBand;
  range.y_end = std::min(size_.height, range.y_begin + kRowBand);
  range.c_begin = group * kChannelGroup;
  range.c_end = std::min(convolved(), range.c_begin + kChannelGroup);
  kernels_.depthwise(depthwise_, here.q, size_, range, here.mixed);
}

int64_t BlockPlan::mixing_scratch() const {
  return global_ ? filter_scratch(kernels_, global_->filters.front()) : 0;
}

int64_t BlockPlan::bytes() const {
  int64_t total = 0;
  for (const PackedMatrix* matrix : {&to_p_, &to_q_, &proj_out_, &hidden_, &back_}) {
    total += bytes_of(*matrix);
  }
  for (const PackedMatrix& matrix : products_) total += bytes_of(matrix);
  total += depthwise_.weights.size() * static_cast<int64_t>(sizeof(float));
  if (global_) {
    for (const Filter& filter : global_->filters) {
      total += filter.spectrum.size() * static_cast<int64_t>(sizeof(float));
    }
  }
  return total;
}

}  // namespace hornet::plan
