#include <hornet/interop/internal/builder.h>
#include <hornet/interop/network.h>

namespace hornet::graph {
namespace {

using internal::Affine;
using internal::Builder;

constexpr int kStages = 4;
constexpr int kMostLevels = 8;  // of a detector's pyramid
constexpr int kHighestOrder = 14;
constexpr float kBackboneScale = 1.0f / 3.0f;  // of gnConv in the backbone; 1 in the necks
constexpr int kPoolScales[] = {1, 2, 3, 6};

// The authors' normalisation of RGB values 0 ... 255.
constexpr double kMean[] = {123.675, 116.28, 103.53}, kStd[] = {58.395, 57.12, 57.375};

std::string indexed(const std::string& prefix, int i) { return prefix + std::to_string(i); }

// GlobalLocalFilter: half of the channels through a 3x3 convolution, half through the spectrum.
Value global_local_filter(Builder& net, const std::string& prefix, Value x, float scale) {
  const int64_t channels = net.channels(x), half = channels / 2;
  if (channels % 2 != 0) net.fail("has a global filter on an odd number of channels");
  const Value normed = net.norm(prefix + ".pre_norm", x);
  const Value local = net.conv(prefix + ".dw", net.slice(prefix + ".local", normed, 0, half),
                               net.convolution(prefix + ".dw", half, 3, static_cast<int>(half)));
  const std::string key = prefix + ".complex_weight";
  GlobalFilter filter{net.constant(key, {half, net.size(key, 1), net.size(key, 2), 2})};
  const Value global = net.add(prefix + ".global_filter", std::move(filter),
                               {net.slice(prefix + ".global", normed, half, channels)}, half);
  const Value mixed = net.add(prefix + ".interleave", Interleave{}, {local, global}, channels);
  LayerNorm post = net.layer_norm(prefix + ".post_norm", channels);
  for (float& value : post.weight.values) value *= scale;
  for (float& value : post.bias.values) value *= scale;
  return net.add(prefix + ".post_norm", std::move(post), {mixed}, channels);
}

// The depthwise mixer of gnConv, times its constant factor.
Value mixer(Builder& net, const std::string& prefix, Value x, float scale) {
  if (net.has(prefix + ".complex_weight")) return global_local_filter(net, prefix, x, scale);
  const int64_t channels = net.channels(x);
  Convolution conv = net.convolution(prefix, channels, 7, static_cast<int>(channels));
  internal::fold(conv, std::vector<float>(static_cast<size_t>(channels), scale));
  return net.conv(prefix, x, std::move(conv));
}

// gnConv (backbone/gnconv.h); `after` is what follows its last convolution.
Value gnconv(Builder& net, const std::string& prefix, Value x, float scale, const Affine& after) {
  const int order = net.count(prefix + ".pws.", ".weight") + 1;
  const Value projected =
      net.conv(prefix + ".proj_in", x, net.convolution(prefix + ".proj_in", net.channels(x), 1));
  const int64_t channels = net.channels(projected) / 2;
  if (order > kHighestOrder || channels % (int64_t{1} << (order - 1)) != 0) {
    net.fail("has a gnConv of order " + std::to_string(order) + " on " + std::to_string(channels) +
             " channels ('" + prefix + "')");
  }
  int64_t width = channels >> (order - 1), offset = width;
  const Value rest = net.slice(prefix + ".abc", projected, width, net.channels(projected));
  const Value mixed = mixer(net, prefix + ".dwconv", rest, scale);
  Value p = net.product(prefix + ".gate0", net.slice(prefix + ".pwa", projected, 0, width),
                        net.slice(prefix + ".dw0", mixed, 0, width));
  for (int k = 1; k < order; ++k) {
    const std::string pws = indexed(prefix + ".pws.", k - 1);
    p = net.conv(pws, p, net.convolution(pws, width, 1));
    width *= 2;
    p = net.product(indexed(prefix + ".gate", k), p,
                    net.slice(indexed(prefix + ".dw", k), mixed, offset, offset + width));
    offset += width;
  }
  Convolution out = net.convolution(prefix + ".proj_out", channels, 1);
  if (!after.scale.empty()) internal::fold(out, after);
  return net.conv(prefix + ".proj_out", p, std::move(out));
}

// Layer scale as what it is: a factor per channel.
Affine layer_scale(Builder& net, const std::string& key, int64_t channels) {
  if (!net.has(key)) return {};
  return {net.vector(key, channels), std::vector<float>(static_cast<size_t>(channels), 0.0f)};
}

Value block(Builder& net, const std::string& prefix, Value x) {
  const int64_t channels = net.channels(x);
  const Value mixed = gnconv(net, prefix + "gnconv", net.norm(prefix + "norm1", x), kBackboneScale,
                             layer_scale(net, prefix + "gamma1", channels));
  x = net.sum(prefix + "add1", x, mixed);
  Value hidden = net.conv(prefix + "pwconv1", net.norm(prefix + "norm2", x),
                          net.convolution(prefix + "pwconv1", channels, 1));
  hidden = net.add(prefix + "gelu", Gelu{}, {hidden}, net.channels(hidden));
  Convolution out = net.convolution(prefix + "pwconv2", net.channels(hidden), 1);
  const Affine gamma = layer_scale(net, prefix + "gamma2", channels);
  if (!gamma.scale.empty()) internal::fold(out, gamma);
  return net.sum(prefix + "add2", x, net.conv(prefix + "pwconv2", hidden, std::move(out)));
}

// (x - mean) / std before a convolution without padding is another convolution.
void fold_normalisation(Convolution& conv) {
  const size_t in = 3, taps = conv.weight.values.size() / conv.bias.values.size() / in;
  float* weight = conv.weight.values.data();
  for (float& bias : conv.bias.values) {
    double shift = 0;
    for (size_t c = 0; c < in; ++c) {
      for (size_t k = 0; k < taps; ++k, ++weight) {
        shift += *weight * kMean[c] / kStd[c];
        *weight = static_cast<float>(*weight / kStd[c]);
      }
    }
    bias = static_cast<float>(bias - shift);
  }
}

Value downsample(Builder& net, const std::string& prefix, int stage, Value x, Pixels pixels) {
  const std::string layer = indexed(prefix + "downsample_layers.", stage);
  const std::string name = layer + (stage == 0 ? ".0" : ".1");
  const int kernel = stage == 0 ? 4 : 2;
  if (stage > 0) x = net.norm(layer + ".0", x);
  Convolution conv = net.convolution(name, net.channels(x), kernel);
  conv.stride = kernel;
  conv.padding = 0;
  if (stage == 0 && pixels == Pixels::kRaw) fold_normalisation(conv);
  x = net.conv(name, x, std::move(conv));
  return stage == 0 ? net.norm(layer + ".1", x) : x;
}

// The outputs of the four stages.
std::vector<Value> trunk(Builder& net, const std::string& prefix, Pixels pixels) {
  std::vector<Value> stages;
  Value x = net.add("input", Input{}, {}, Input{}.channels);
  for (int i = 0; i < kStages; ++i) {
    x = downsample(net, prefix, i, x, pixels);
    const std::string stage = indexed(prefix + "stages.", i) + ".";
    const int depth = net.count(stage, ".gnconv.proj_in.weight");
    if (depth == 0) net.fail("lacks '" + stage + "0.gnconv.proj_in.weight'");
    for (int j = 0; j < depth; ++j) x = block(net, indexed(stage, j) + ".", x);
    stages.push_back(x);
  }
  return stages;
}

void classifier(Builder& net, const std::string& prefix, Value x) {
  x = net.add("pool", AdaptivePool{1}, {x}, net.channels(x));
  x = net.norm(prefix + "norm", x);
  x = net.conv(prefix + "head", x, net.convolution(prefix + "head", net.channels(x), 1));
  net.output("logits", net.add("flatten", Flatten{}, {x}, net.channels(x)));
}

// Convolution, batch norm and ReLU, of which the last two are optional as in mmcv's ConvModule.
Value conv_module(Builder& net, const std::string& prefix, Value x, int kernel) {
  Convolution conv = net.convolution(prefix + ".conv", net.channels(x), kernel);
  const bool normed = net.has(prefix + ".bn.weight");
  if (normed) internal::fold(conv, net.batch_norm(prefix + ".bn", conv.weight.shape[0]));
  x = net.conv(prefix + ".conv", x, std::move(conv));
  return normed ? net.add(prefix + ".relu", Relu{}, {x}, net.channels(x)) : x;
}

// A 3x3 convolution, or the gnConv that HorFPN has in its place.
Value fusion(Builder& net, const std::string& prefix, Value x) {
  if (!net.has(prefix + ".proj_in.weight")) return conv_module(net, prefix, x, 3);
  const bool normed = net.has(prefix + ".bn.weight");
  const int64_t channels = net.size(prefix + ".proj_out.weight", 0);
  x = gnconv(net, prefix, x, 1.0f, normed ? net.batch_norm(prefix + ".bn", channels) : Affine{});
  return normed ? net.add(prefix + ".relu", Relu{}, {x}, net.channels(x)) : x;
}

// As heads/detector_settings.h reads it: one more level than the stages without metadata.
int pyramid_levels(const Builder& net, const weights::Metadata& meta) {
  const auto found = meta.entries.find("hornet.pyramid_levels");
  if (found == meta.entries.end()) return kStages + 1;
  const std::string& text = found->second;
  if (text.size() != 1 || text[0] < '0' + kStages || text[0] > '0' + kMostLevels) {
    net.fail("has '" + text + "' as its metadata 'hornet.pyramid_levels'; expected " +
             std::to_string(kStages) + " to " + std::to_string(kMostLevels));
  }
  return text[0] - '0';
}

void pyramid(Builder& net, const std::vector<Value>& feats, int levels) {
  std::vector<Value> laterals;
  for (int i = 0; i < kStages; ++i) {
    laterals.push_back(conv_module(net, indexed("neck.lateral_convs.", i), feats[i], 1));
  }
  for (int i = kStages - 1; i > 0; --i) {
    const Value above =
        net.resize(indexed("neck.upsample", i), laterals[i], laterals[i - 1], false);
    laterals[i - 1] = net.sum(indexed("neck.add", i - 1), laterals[i - 1], above);
  }
  Value last = 0;
  for (int i = 0; i < kStages; ++i) {
    last = fusion(net, indexed("neck.fpn_convs.", i), laterals[i]);
    net.output(indexed("fpn", i), last);
  }
  for (int i = kStages; i < levels; ++i) {
    last = net.add("subsample", Subsample{}, {last}, net.channels(last));
    net.output(indexed("fpn", i), last);
  }
}

Value pyramid_pooling(Builder& net, Value x) {
  const std::string prefix = "decode_head.psp_modules.";
  std::vector<Value> parts = {x};
  for (int i = 0; i < static_cast<int>(std::size(kPoolScales)); ++i) {
    Value pooled =
        net.add(indexed(prefix, i) + ".pool", AdaptivePool{kPoolScales[i]}, {x}, net.channels(x));
    pooled = conv_module(net, indexed(prefix, i) + ".1", pooled, 1);
    parts.push_back(net.resize(indexed(prefix, i) + ".resize", pooled, x, true));
  }
  return conv_module(net, "decode_head.bottleneck", net.concat("decode_head.ppm", parts), 3);
}

void uper_head(Builder& net, const std::vector<Value>& feats) {
  const std::string prefix = "decode_head.";
  std::vector<Value> laterals;
  for (int i = 0; i + 1 < kStages; ++i) {
    laterals.push_back(conv_module(net, indexed(prefix + "lateral_convs.", i), feats[i], 1));
  }
  laterals.push_back(pyramid_pooling(net, feats.back()));
  for (int i = kStages - 1; i > 0; --i) {
    const Value above =
        net.resize(indexed(prefix + "upsample", i), laterals[i], laterals[i - 1], true);
    laterals[i - 1] = net.sum(indexed(prefix + "add", i - 1), laterals[i - 1], above);
  }
  for (int i = 0; i + 1 < kStages; ++i) {
    laterals[i] = conv_module(net, indexed(prefix + "fpn_convs.", i), laterals[i], 3);
  }
  for (int i = 1; i < kStages; ++i) {
    laterals[i] = net.resize(indexed(prefix + "resize", i), laterals[i], laterals[0], true);
  }
  Value x = fusion(net, prefix + "fpn_bottleneck", net.concat(prefix + "levels", laterals));
  x = net.conv(prefix + "conv_seg", x, net.convolution(prefix + "conv_seg", net.channels(x), 1));
  net.output("logits", net.resize("resize", x, /*the input*/ 0, true));
}

}  // namespace

Graph read_graph(const weights::File& file, Pixels pixels) {
  Builder net(file);
  const std::string stem = "downsample_layers.0.0.weight";
  const std::string prefix = net.has("backbone." + stem) ? "backbone." : "";
  if (!net.has(prefix + stem)) {
    net.fail("lacks '" + stem +
             "'; expected a HorNet checkpoint (classification, backbone, "
             "(Cascade) Mask R-CNN or UperNet)");
  }
  const std::vector<Value> stages = trunk(net, prefix, pixels);
  if (net.has(prefix + "head.weight")) {
    classifier(net, prefix, stages.back());
    return net.finish({});
  }
  std::vector<Value> feats;
  for (int i = 0; i < kStages; ++i) {
    const std::string norm = indexed(prefix + "norm", i);
    if (net.has(norm + ".weight")) feats.push_back(net.norm(norm, stages[i]));
  }
  const bool detector = net.has("neck.lateral_convs.0.conv.weight");
  const bool segmentor = net.has("decode_head.conv_seg.weight");
  if (feats.empty()) net.fail("has neither output norms nor a head");
  if ((detector || segmentor) && feats.size() != kStages) net.fail("lacks 'backbone.norm0..3'");
  if (detector) {
    pyramid(net, feats, pyramid_levels(net, file.meta));
  } else if (segmentor) {
    uper_head(net, feats);
  } else {
    for (size_t i = 0; i < feats.size(); ++i)
      net.output(indexed("feat", static_cast<int>(i)), feats[i]);
  }
  return net.finish({"rpn_head.", "roi_head.", "auxiliary_head."});
}

}  // namespace hornet::graph
