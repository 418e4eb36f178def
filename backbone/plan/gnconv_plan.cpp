#include <hornet/backbone/depthwise_conv.h>
#include <hornet/backbone/plan/gnconv_plan.h>
#include <hornet/backbone/plan/pack.h>

#include <algorithm>
#include <numeric>

namespace hornet::plan {
namespace {

constexpr int64_t kRowBand = 8;        // rows of a map in a task of the depthwise convolution
constexpr int64_t kChannelGroup = 64;  // and channels

int64_t pieces(int64_t size, int64_t piece) { return (size + piece - 1) / piece; }

void multiply(const Kernels& kernels, const PackedMatrix& matrix, ConstRows in, int64_t rows,
              Rows out, Epilogue epilogue = Epilogue::kStore, ConstRows gate = {}) {
  Product product;
  product.in = in;
  product.rows = rows;
  product.matrix = &matrix;
  product.out = out;
  product.epilogue = epilogue;
  product.gate = gate;
  product.input_end = matrix.inputs;
  product.output_end = matrix.outputs;
  kernels.multiply(product);
}

}  // namespace

bool GnConvPlan::fits(const GnConvImpl& gnconv, at::DeviceType device) {
  for (const auto& weight : gnconv.parameters()) {
    if (!can_be_planned(weight, device)) return false;
  }
  return !gnconv.options.mixer();
}

GnConvPlan::GnConvPlan(const Kernels& kernels, GnConvImpl& gnconv,
                       const GnConvNeighbours& neighbours, WeightWatch& watch)
    : kernels_(kernels), channels_(gnconv.options.channels()) {
  widths_ = gnconv_widths(channels_, gnconv.options.order());
  mixed_width_ = std::accumulate(widths_.begin(), widths_.end(), int64_t{0});
  Linear proj_in = linear(watch, gnconv.proj_in->weight, gnconv.proj_in->bias);
  if (neighbours.norm_weight.defined()) {
    proj_in = after_norm(proj_in, neighbours.norm_weight, neighbours.norm_bias);
  }
  const auto part = [&](int64_t from, int64_t count) {
    return Linear{proj_in.weight.narrow(0, from, count), proj_in.bias.narrow(0, from, count)};
  };
  to_p_ = pack_matrix(kernels, part(0, first_width()));
  to_q_ = pack_matrix(kernels, part(first_width(), mixed_width_));
  pack_mixer(gnconv, watch);
  for (const auto& f : *gnconv.pws) {
    auto* conv = f->as<torch::nn::Conv2d>();
    products_.push_back(pack_matrix(kernels, linear(watch, conv->weight, conv->bias)));
  }
  const Linear proj_out = linear(watch, gnconv.proj_out->weight, gnconv.proj_out->bias);
  proj_out_ = pack_matrix(kernels, scaled(proj_out, neighbours.scale));
}

void GnConvPlan::pack_mixer(GnConvImpl& gnconv, WeightWatch& watch) {
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

int64_t GnConvPlan::row_scratch(int64_t rows) const {
  const int64_t gates = global_ ? mixed_width_ : 0;
  // Also slack for vector loads behind each of three matrices.
  return rows * (2 * operand_floats(kernels_, channels_) + gates) + 3 * kernels_.lanes;
}

void GnConvPlan::begin(ConstRows operands, const GnConvMaps& maps, int64_t rows) const {
  multiply(kernels_, to_p_, operands, rows, maps.p);
  multiply(kernels_, to_q_, operands, rows, maps.q);
  if (global_) {
    const Norm norm = {global_->pre_weight.data(), global_->pre_bias.data()};
    kernels_.layer_norm(maps.q, rows, mixed_width_, norm, maps.q);
  }
}

void GnConvPlan::finish(const GnConvMaps& maps, int64_t rows, float* scratch, Rows out,
                        Epilogue epilogue) const {
  const int64_t part = rows * operand_floats(kernels_, channels_) + kernels_.lanes;
  Rows gates = maps.mixed;
  if (global_) {
    gates = {scratch + 2 * part, mixed_width_};
    const Norm norm = {global_->post_weight.data(), global_->post_bias.data()};
    kernels_.interleaved_layer_norm(maps.mixed, rows, mixed_width_, norm, gates);
  }
  Rows value = {scratch, operand_floats(kernels_, first_width())};
  kernels_.gate(maps.p, gates, rows, first_width(), value);
  for (size_t k = 1; k < widths_.size(); ++k) {
    gates.data += widths_[k - 1];
    const Rows next = {scratch + (k % 2) * part, operand_floats(kernels_, widths_[k])};
    multiply(kernels_, products_[k - 1], value, rows, next, Epilogue::kGate, gates);
    value = next;
  }
  multiply(kernels_, proj_out_, value, rows, out, epilogue);
}

// Filters are kept for as many sizes as GlobalLocalFilter keeps.
void GnConvPlan::prepare_mixing(MapSize size) {
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

int64_t GnConvPlan::convolved() const { return global_ ? mixed_width_ / 2 : mixed_width_; }

// First the blocks of global filters, which take longest, then bands of the convolution.
int64_t GnConvPlan::mixing_tasks(int64_t images) const {
  const int64_t blocks = global_ ? pieces(mixed_width_ - convolved(), kernels_.lanes) : 0;
  return images * (blocks + pieces(size_.height, kRowBand) * pieces(convolved(), kChannelGroup));
}

void GnConvPlan::mix(const GnConvMaps& maps, int64_t task, float* scratch) const {
  const int64_t blocks = global_ ? pieces(mixed_width_ - convolved(), kernels_.lanes) : 0;
  const int64_t bands = pieces(size_.height, kRowBand);
  const int64_t groups = pieces(convolved(), kChannelGroup);
  const int64_t image = task / (blocks + bands * groups), piece = task % (blocks + bands * groups);
  const GnConvMaps here = maps.from(image * size_.height * size_.width);
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

int64_t GnConvPlan::mixing_scratch() const {
  return global_ ? filter_scratch(kernels_, global_->filters.front()) : 0;
}

int64_t GnConvPlan::bytes() const {
  int64_t floats = depthwise_.weights.size();
  for (const PackedMatrix* matrix : {&to_p_, &to_q_, &proj_out_}) floats += floats_of(*matrix);
  for (const PackedMatrix& matrix : products_) floats += floats_of(matrix);
  if (global_) {
    for (const Filter& filter : global_->filters) floats += filter.spectrum.size();
  }
  return floats * static_cast<int64_t>(sizeof(float));
}

}  // namespace hornet::plan
