#include <hornet/heads/complexity.h>

#include <cmath>
#include <vector>

namespace hornet {
namespace {

constexpr int64_t kRegions = 1000, kMasks = 100;  // per stage, in the official counting
constexpr int64_t kBoxSide = 7, kMaskSide = 14;   // of the regions' features
constexpr std::array<int64_t, 4> kPoolSides = {1, 2, 3, 6};

enum class Counting { kFvcore, kMmcv };

int64_t area(GridSize size) { return size.height * size.width; }

GridSize strided(GridSize size, int64_t stride) {
  return {size.height / stride, size.width / stride};
}

// Adds up layers. Each is named as in torch.nn and told how many places it is evaluated at.
class Tally {
 public:
  explicit Tally(Counting counting) : counting_(counting) {}

  void conv(int64_t in, int64_t out, int64_t kernel, int64_t places, bool bias = true) {
    const int64_t weights = in * out * kernel * kernel;
    sum_.parameters += weights + (bias ? out : 0);
    sum_.flops += places * (weights + (bias && is_mmcv() ? out : 0));
  }
  void depthwise(int64_t channels, int64_t kernel, int64_t places, bool bias = true) {
    conv(1, channels, kernel, places, bias);
  }
  void deconv2x2(int64_t in, int64_t out, int64_t places) {
    sum_.parameters += 4 * in * out + out;
    sum_.flops += places * 4 * (in * out + out);
  }
  void linear(int64_t in, int64_t out, int64_t places) {
    sum_.parameters += in * out + out;
    sum_.flops += places * in * out;
  }
  // `places` is 0 for a norm that the official code writes out by hand.
  void layer_norm(int64_t channels, int64_t places = 0) {
    sum_.parameters += 2 * channels;
    if (!is_mmcv()) sum_.flops += 5 * channels * places;
  }
  void batch_norm(int64_t channels, int64_t places, bool frozen) {
    if (!frozen) sum_.parameters += 2 * channels;
    sum_.flops += 2 * channels * places;
  }
  void sync_batch_norm(int64_t channels) { sum_.parameters += 2 * channels; }
  void relu_or_pool(int64_t elements) { sum_.flops += elements; }
  void parameters(int64_t count) { sum_.parameters += count; }

  // The resampling of the filter to the spectrum's size, and the two transforms.
  void global_filter(int64_t channels, GridSize filter, GridSize size) {
    sum_.parameters += 2 * channels * area(filter);
    if (is_mmcv()) return;
    const GridSize spectrum = {size.height, size.width / 2 + 1};
    const bool native = filter.height == spectrum.height && filter.width == spectrum.width;
    if (!native) sum_.flops += 4 * 2 * channels * area(spectrum);
    const int64_t column = channels * size.height;
    const auto levels = static_cast<int64_t>(std::ceil(std::log2(static_cast<double>(column))));
    sum_.flops += column * levels * (size.width + spectrum.width);
  }

  // A convolution without bias, batch norm, ReLU.
  void conv_norm_relu(int64_t in, int64_t out, int64_t kernel, int64_t places) {
    conv(in, out, kernel, places, false);
    sync_batch_norm(out);
    relu_or_pool(out * places);
  }

  const Complexity& sum() const { return sum_; }

 private:
  bool is_mmcv() const { return counting_ == Counting::kMmcv; }

  Counting counting_;
  Complexity sum_;
};

void global_local_filter(Tally& tally, int64_t channels, GridSize filter, GridSize size) {
  tally.layer_norm(channels);
  tally.depthwise(channels / 2, 3, area(size), false);
  tally.global_filter(channels / 2, filter, size);
  tally.layer_norm(channels);
}

void gnconv(Tally& tally, int64_t in, int64_t dim, const GnConvNumbers& numbers, GridSize size) {
  int64_t channels = 0;
  for (int64_t i = 0; i < numbers.order; ++i) channels += dim >> i;
  tally.conv(in, 2 * dim, 1, area(size));
  if (numbers.filter) {
    global_local_filter(tally, channels, *numbers.filter, size);
  } else {
    tally.depthwise(channels, 7, area(size));
  }
  for (int64_t i = 1; i < numbers.order; ++i) tally.conv(dim >> i, dim >> (i - 1), 1, area(size));
  tally.conv(dim, dim, 1, area(size));
}

void block(Tally& tally, int64_t dim, const GnConvNumbers& mixer, bool layer_scale, GridSize size) {
  tally.layer_norm(dim);
  gnconv(tally, dim, dim, mixer, size);
  tally.layer_norm(dim, area(size));
  tally.linear(dim, 4 * dim, area(size));
  tally.linear(4 * dim, dim, area(size));
  if (layer_scale) tally.parameters(2 * dim);
}

// A feature map: what one stage hands to the next, or to a neck.
struct Level {
  int64_t channels;
  GridSize size;
};

std::vector<Level> backbone_levels(Tally& tally, const BackboneNumbers& numbers, GridSize input) {
  std::vector<Level> levels;
  for (size_t i = 0; i < numbers.depths.size(); ++i) {
    const int64_t kernel = i == 0 ? 4 : 2;
    const Level from = i == 0 ? Level{3, input} : levels.back();
    const Level to = {numbers.base_dim << i, strided(from.size, kernel)};
    tally.conv(from.channels, to.channels, kernel, area(to.size));
    tally.layer_norm(i == 0 ? to.channels : from.channels);
    for (int64_t j = 0; j < numbers.depths[i]; ++j) {
      block(tally, to.channels, numbers.mixers[i], numbers.layer_scale, to.size);
    }
    levels.push_back(to);
  }
  return levels;
}

// The size after a layer of stride 2 that pads.
GridSize halved(GridSize size) { return {(size.height + 1) / 2, (size.width + 1) / 2}; }

void conv_batch_norm(Tally& tally, const ResNetNumbers& numbers, int64_t in, const Level& to,
                     int64_t kernel) {
  tally.conv(in, to.channels, kernel, area(to.size), false);
  tally.batch_norm(to.channels, area(to.size), numbers.frozen_norm);
}

// A bottleneck of ResNet from one level to the next; the second convolution has the stride.
void bottleneck(Tally& tally, const ResNetNumbers& numbers, const Level& from, const Level& to) {
  const int64_t width = to.channels / 4;
  conv_batch_norm(tally, numbers, from.channels, {width, from.size}, 1);
  tally.relu_or_pool(width * area(from.size));
  conv_batch_norm(tally, numbers, width, {width, to.size}, 3);
  tally.relu_or_pool(width * area(to.size));
  conv_batch_norm(tally, numbers, width, to, 1);
  if (from.channels != to.channels) conv_batch_norm(tally, numbers, from.channels, to, 1);
  tally.relu_or_pool(to.channels * area(to.size));
}

std::vector<Level> resnet_levels(Tally& tally, const ResNetNumbers& numbers, GridSize input) {
  const Level stem = {numbers.base_width, halved(input)};
  conv_batch_norm(tally, numbers, 3, stem, 7);
  tally.relu_or_pool(2 * stem.channels * area(stem.size));  // a ReLU and a pooling
  Level level = {stem.channels, halved(stem.size)};
  std::vector<Level> levels;
  for (size_t i = 0; i < numbers.depths.size(); ++i) {
    for (int64_t j = 0; j < numbers.depths[i]; ++j) {
      const Level next = {4 * numbers.base_width << i,
                          i > 0 && j == 0 ? halved(level.size) : level.size};
      bottleneck(tally, numbers, level, next);
      level = next;
    }
    levels.push_back(level);
  }
  return levels;
}

std::vector<Level> dense_backbone(Tally& tally, const AnyBackboneNumbers& any, GridSize input) {
  if (const auto* resnet = std::get_if<ResNetNumbers>(&any)) {
    return resnet_levels(tally, *resnet, input);
  }
  const auto& numbers = std::get<BackboneNumbers>(any);
  std::vector<Level> levels = backbone_levels(tally, numbers, input);
  for (const Level& level : levels) tally.layer_norm(level.channels);
  return levels;
}

std::vector<Level> pyramid(Tally& tally, const DetectorNumbers& numbers,
                           const std::vector<Level>& inputs) {
  std::vector<Level> outputs;
  for (const Level& level : inputs) {
    const int64_t channels = numbers.channels;
    tally.conv(level.channels, channels, 1, area(level.size));
    if (numbers.mixer) {
      gnconv(tally, channels, channels, *numbers.mixer, level.size);
    } else {
      tally.conv(channels, channels, 3, area(level.size));
    }
    outputs.push_back({channels, level.size});
  }
  while (static_cast<int64_t>(outputs.size()) < numbers.levels) {
    const GridSize last = outputs.back().size;
    outputs.push_back({numbers.channels, {(last.height + 1) / 2, (last.width + 1) / 2}});
  }
  return outputs;
}

void rpn(Tally& tally, const std::vector<Level>& levels, int64_t anchors) {
  int64_t places = 0;
  for (const Level& level : levels) places += area(level.size);
  const int64_t channels = levels.front().channels;
  tally.conv(channels, channels, 3, places);
  tally.conv(channels, anchors, 1, places);
  tally.conv(channels, 4 * anchors, 1, places);
}

void box_head(Tally& tally, const DetectorNumbers& numbers) {
  const int64_t box_area = kBoxSide * kBoxSide;
  for (int64_t i = 0; i < numbers.shared_convs; ++i) {
    tally.conv_norm_relu(numbers.channels, numbers.channels, 3, kRegions * box_area);
  }
  int64_t features = numbers.channels * box_area;
  for (int64_t i = 0; i < numbers.shared_fcs; ++i) {
    tally.linear(features, numbers.fc_channels, kRegions);
    tally.relu_or_pool(numbers.fc_channels * kRegions);
    features = numbers.fc_channels;
  }
  tally.linear(features, numbers.num_classes + 1, kRegions);
  tally.linear(features, 4 * (numbers.class_agnostic ? 1 : numbers.num_classes), kRegions);
}

void mask_head(Tally& tally, const DetectorNumbers& numbers) {
  const int64_t channels = numbers.channels;
  const int64_t places = kMasks * kMaskSide * kMaskSide;
  for (int64_t i = 0; i < numbers.mask_convs; ++i) {
    tally.conv(channels, channels, 3, places);
    tally.relu_or_pool(channels * places);
  }
  tally.deconv2x2(channels, channels, places);
  tally.relu_or_pool(4 * channels * places);
  tally.conv(channels, numbers.num_classes, 1, 4 * places);
}

// Pyramid pooling on the last level and the convolution that gathers it.
void pooling_head(Tally& tally, const SegmentorNumbers& numbers, const Level& last) {
  const int64_t channels = numbers.channels;
  for (int64_t side : kPoolSides) {
    tally.relu_or_pool(last.channels * area(last.size));
    tally.conv_norm_relu(last.channels, channels, 1, side * side);
  }
  const auto pools = static_cast<int64_t>(kPoolSides.size());
  tally.conv_norm_relu(last.channels + pools * channels, channels, 3, area(last.size));
}

void fuse_levels(Tally& tally, const SegmentorNumbers& numbers, GridSize size) {
  const int64_t channels = numbers.channels;
  if (!numbers.fusion) {
    tally.conv_norm_relu(4 * channels, channels, 3, area(size));
    return;
  }
  gnconv(tally, 4 * channels, channels, *numbers.fusion, size);
  tally.sync_batch_norm(channels);
  tally.relu_or_pool(channels * area(size));
}

void uper_head(Tally& tally, const SegmentorNumbers& numbers, const std::vector<Level>& levels) {
  const int64_t channels = numbers.channels;
  pooling_head(tally, numbers, levels.back());
  for (size_t i = 0; i + 1 < levels.size(); ++i) {
    tally.conv_norm_relu(levels[i].channels, channels, 1, area(levels[i].size));
    tally.conv_norm_relu(channels, channels, 3, area(levels[i].size));
  }
  fuse_levels(tally, numbers, levels.front().size);
  tally.conv(channels, numbers.num_classes, 1, area(levels.front().size));
}

void auxiliary_head(Tally& tally, const SegmentorNumbers& numbers, const Level& level) {
  tally.conv_norm_relu(level.channels, numbers.auxiliary_channels, 3, 0);
  tally.conv(numbers.auxiliary_channels, numbers.num_classes, 1, 0);
}

}  // namespace

Complexity classifier_complexity(const BackboneNumbers& backbone, int64_t num_classes,
                                 GridSize input) {
  Tally tally(Counting::kFvcore);
  const Level last = backbone_levels(tally, backbone, input).back();
  tally.layer_norm(last.channels, 1);
  tally.linear(last.channels, num_classes, 1);
  return tally.sum();
}

Complexity backbone_complexity(const ResNetNumbers& backbone, GridSize input) {
  Tally tally(Counting::kMmcv);
  resnet_levels(tally, backbone, input);
  return tally.sum();
}

Complexity detector_complexity(const AnyBackboneNumbers& backbone, const DetectorNumbers& detector,
                               GridSize input) {
  Tally tally(Counting::kMmcv);
  rpn(tally, pyramid(tally, detector, dense_backbone(tally, backbone, input)), detector.anchors);
  for (int64_t stage = 0; stage < detector.stages; ++stage) {
    box_head(tally, detector);
    mask_head(tally, detector);
  }
  return tally.sum();
}

Complexity segmentor_complexity(const AnyBackboneNumbers& backbone,
                                const SegmentorNumbers& segmentor, GridSize input) {
  Tally tally(Counting::kMmcv);
  const std::vector<Level> levels = dense_backbone(tally, backbone, input);
  uper_head(tally, segmentor, levels);
  if (segmentor.auxiliary_channels > 0) auxiliary_head(tally, segmentor, levels[2]);
  return tally.sum();
}

}  // namespace hornet
