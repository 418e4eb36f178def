#include <hornet/backbone/depthwise_conv.h>
#include <hornet/backbone/ops/channel_norm.h>
#include <hornet/backbone/ops/depthwise.h>
#include <hornet/backbone/ops/global_filter.h>
#include <hornet/backbone/plan/fold.h>
#include <hornet/backbone/plan/map_block.h>

#include <numeric>

namespace hornet::plan {
namespace {

MapLinear of_type(const Linear& layer, at::ScalarType type) {
  return {layer.weight.to(type).contiguous(), layer.bias.to(type).contiguous()};
}

at::Tensor multiply(const at::Tensor& rows, const MapLinear& layer) {
  return at::addmm(layer.bias, rows, layer.weight.t());
}

// GELU as the modules have it, by the error function. The one that is part of a matrix product is
// an approximation, up to 5e-4 away: below what bf16 rounds, above what the others do.
at::Tensor multiply_gelu(const at::Tensor& rows, const MapLinear& layer) {
  if (rows.scalar_type() == at::kBFloat16) {
    return at::_addmm_activation(layer.bias, rows, layer.weight.t(), 1, 1, /*use_gelu=*/true);
  }
  at::Tensor hidden = multiply(rows, layer);
  return at::gelu_(hidden);
}

// The rows of channels [from, from + count) as the map that they are.
at::Tensor as_map(const at::Tensor& rows, const MapExtent& extent) {
  return rows.view({extent.images, extent.height, extent.width, rows.size(1)})
      .permute({0, 3, 1, 2});
}

// [C,1,K,K] with the weights of a tap side by side, as the kernel reads them.
at::Tensor by_taps(const at::Tensor& weight) {
  return weight.to(at::kFloat).permute({2, 3, 1, 0}).contiguous().permute({3, 2, 0, 1});
}

at::Tensor as_floats(const at::Tensor& values) { return values.to(at::kFloat).contiguous(); }

}  // namespace

MapBlock::MapBlock(HorNetBlockImpl& block, at::ScalarType type, WeightWatch& watch) : type_(type) {
  GnConvImpl& gnconv = *block.gnconv;
  widths_ = gnconv_widths(gnconv.options.channels(), gnconv.options.order());
  const at::Tensor &gamma1 = watch.add(block.gamma1), &gamma2 = watch.add(block.gamma2);
  const Linear proj_in = linear(watch, gnconv.proj_in->weight, gnconv.proj_in->bias);
  proj_in_ = of_type(
      after_norm(proj_in, watch.add(block.norm1->weight), watch.add(block.norm1->bias)), type);
  take_mixer(gnconv, watch);
  for (const auto& f : *gnconv.pws) {
    auto* conv = f->as<torch::nn::Conv2d>();
    products_.push_back(of_type(linear(watch, conv->weight, conv->bias), type));
  }
  const Linear proj_out =
      scaled(linear(watch, gnconv.proj_out->weight, gnconv.proj_out->bias), gamma1);
  proj_out_ = of_type(proj_out, type).weight;
  mix_bias_ = as_floats(proj_out.bias);
  const Linear hidden = linear(watch, block.pwconv1->weight, block.pwconv1->bias);
  hidden_ = of_type(
      after_norm(hidden, watch.add(block.norm2->weight), watch.add(block.norm2->bias)), type);
  const Linear back = scaled(linear(watch, block.pwconv2->weight, block.pwconv2->bias), gamma2);
  back_ = of_type(back, type).weight;
  mlp_bias_ = as_floats(back.bias);
}

void MapBlock::take_mixer(GnConvImpl& gnconv, WeightWatch& watch) {
  const double scale = gnconv.options.scale();
  if (!gnconv.options.global_filter()) {
    auto& conv = gnconv.dwconv.get<DepthwiseConvImpl>();
    depthwise_ = by_taps(wide(watch.add(conv.weight)) * scale);
    depthwise_bias_ = as_floats(wide(watch.add(conv.bias)) * scale);
    return;
  }
  auto& mixer = gnconv.dwconv.get<GlobalLocalFilterImpl>();
  depthwise_ = by_taps(watch.add(mixer.dw->weight));
  global_.pre_weight = as_floats(watch.add(mixer.pre_norm->weight)).clone();
  global_.pre_bias = as_floats(watch.add(mixer.pre_norm->bias)).clone();
  global_.post_weight = as_floats(wide(watch.add(mixer.post_norm->weight)) * scale);
  global_.post_bias = as_floats(wide(watch.add(mixer.post_norm->bias)) * scale);
  global_.complex_weight = &watch.add(mixer.complex_weight);
}

at::Tensor MapBlock::filter(int64_t height, int64_t width) const {
  if (global_.complex_weight == nullptr) return {};
  return ops::interpolate_filter(*global_.complex_weight, height, width);
}

at::Tensor MapBlock::mix_globally(const at::Tensor& q, const MapExtent& extent,
                                  const at::Tensor& filter) const {
  const at::Tensor normed =
      ops::channel_norm(q, global_.pre_weight, global_.pre_bias, kLayerNormEps, at::kFloat);
  const at::Tensor mixed = at::empty_like(normed);
  const int64_t half = q.size(1) / 2;
  const auto part = [&](const at::Tensor& rows, int64_t from) {
    return as_map(rows.narrow(1, from, half), extent);
  };
  ops::depthwise(part(normed, 0), depthwise_, std::nullopt, std::nullopt, part(mixed, 0));
  ops::global_filter_into(part(normed, half), filter, part(mixed, half));
  return ops::channel_norm(mixed, global_.post_weight, global_.post_bias, kLayerNormEps, type_,
                           /*interleave=*/true);
}

at::Tensor MapBlock::mix(const at::Tensor& normed, const MapExtent& extent,
                         const at::Tensor& filter) const {
  const at::Tensor projected = multiply(normed, proj_in_);
  const int64_t first = widths_.front();
  const at::Tensor p = projected.narrow(1, 0, first);
  const at::Tensor q = projected.narrow(1, first, projected.size(1) - first);
  at::Tensor gates, value;
  if (global_.complex_weight != nullptr) {
    gates = mix_globally(q, extent, filter);
    value = p * gates.narrow(1, 0, first);
  } else {
    gates = at::empty(q.sizes(), q.options());
    ops::depthwise(as_map(q, extent), depthwise_, depthwise_bias_, as_map(p, extent),
                   as_map(gates, extent));
    value = gates.narrow(1, 0, first);
  }
  int64_t offset = first;
  for (size_t k = 1; k < widths_.size(); ++k) {
    value = multiply(value, products_[k - 1]).mul_(gates.narrow(1, offset, widths_[k]));
    offset += widths_[k];
  }
  return at::mm(value, proj_out_.t());
}

at::Tensor MapBlock::mlp(const at::Tensor& normed) const {
  return at::mm(multiply_gelu(normed, hidden_), back_.t());
}

int64_t MapBlock::bytes() const {
  int64_t total = 0;
  const auto add = [&](const at::Tensor& weight) {
    if (weight.defined()) total += static_cast<int64_t>(weight.nbytes());
  };
  for (const MapLinear* layer : {&proj_in_, &hidden_}) add(layer->weight), add(layer->bias);
  for (const MapLinear& layer : products_) add(layer.weight), add(layer.bias);
  for (const at::Tensor* weight :
       {&proj_out_, &back_, &mix_bias_, &mlp_bias_, &depthwise_, &depthwise_bias_,
        &global_.pre_weight, &global_.pre_bias, &global_.post_weight, &global_.post_bias}) {
    add(*weight);
  }
  return total;
}

}  // namespace hornet::plan
