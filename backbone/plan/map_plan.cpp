#include <ATen/autocast_mode.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <hornet/backbone/ops/channel_norm.h>
#include <hornet/backbone/plan/fold.h>
#include <hornet/backbone/plan/map_plan.h>
#include <torch/nn/modules/container/sequential.h>

#include <algorithm>

namespace hornet::plan {
namespace {

// A map's rows of pixels, and back. Both are views of channels-last maps.
at::Tensor rows_of(const at::Tensor& map) { return map.permute({0, 2, 3, 1}).flatten(0, 2); }

at::Tensor map_of(const at::Tensor& rows, const MapExtent& extent) {
  return rows.view({extent.images, extent.height, extent.width, rows.size(1)})
      .permute({0, 3, 1, 2});
}

MapExtent extent_of(const at::Tensor& map) { return {map.size(0), map.size(2), map.size(3)}; }

// What was made on one stream is read on others afterwards.
void finish_work(const c10::Device& device) {
  if (device.is_cpu()) return;
  const c10::impl::VirtualGuardImpl guard(device.type());
  guard.synchronizeStream(guard.getStream(device));
}

// Memory that is freed goes back to the stream it was taken on, whatever others still read in it.
void finish_all_work(const c10::Device& device) {
  if (device.is_cpu()) return;
  c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

int64_t bytes_of(const at::Tensor& values) {
  return values.defined() ? static_cast<int64_t>(values.nbytes()) : 0;
}

}  // namespace

// The stem or downsampling before a stage, a convolution of patches, and the stage's blocks.
struct MapPlan::Stage {
  int64_t index = 0, patch = 0;
  at::Tensor weight, bias;            // of the plan's type
  at::Tensor stem_weight, stem_bias;  // of the stem's norm, float32
  std::vector<MapBlock> blocks;
};

struct MapPlan::Output {
  int64_t stage = 0;
  at::Tensor weight, bias;  // undefined: not normed
};

// The filters of all blocks for one size of images, in pixels of the stem's maps.
struct MapPlan::Filters {
  int64_t height = 0, width = 0;
  std::vector<std::vector<at::Tensor>> stages;
};

MapPlan::MapPlan(const HorNetTrunk& trunk, const std::vector<PlanOutput>& outputs,
                 at::ScalarType type, WeightWatch& watch)
    : type_(type) {
  for (int64_t i = 0; i < 4; ++i) {
    auto stage = std::make_unique<Stage>();
    auto& layers = *trunk.downsample_layers->ptr(i)->as<torch::nn::Sequential>();
    auto& conv = *layers.ptr(i == 0 ? 0 : 1)->as<torch::nn::Conv2d>();
    auto& norm = *layers.ptr(i == 0 ? 1 : 0)->as<ChannelLayerNorm>();
    const at::Tensor &norm_weight = watch.add(norm.weight), &norm_bias = watch.add(norm.bias);
    Linear entry = {wide(watch.add(conv.weight)), wide(watch.add(conv.bias))};
    if (i == 0) {
      stage->stem_weight = norm_weight.clone();
      stage->stem_bias = norm_bias.clone();
    } else {
      entry = convolution_after_norm(entry.weight, entry.bias, norm_weight, norm_bias);
    }
    stage->index = i;
    stage->patch = conv.weight.size(2);
    stage->weight = entry.weight.to(type).contiguous(at::MemoryFormat::ChannelsLast);
    stage->bias = entry.bias.to(type);
    for (const auto& block : *trunk.stages->ptr(i)->as<torch::nn::Sequential>()) {
      stage->blocks.emplace_back(*block.ptr()->as<HorNetBlock>(), type, watch);
    }
    stages_.push_back(std::move(stage));
  }
  for (const auto& list : {trunk.downsample_layers, trunk.stages}) {
    for (const auto& module : list->modules()) modules_.push_back(module);
  }
  for (const PlanOutput& output : outputs) {
    outputs_.push_back({output.stage, {}, {}});
    if (output.norm.is_empty()) continue;
    modules_.push_back(output.norm.ptr());
    outputs_.back().weight = watch.add(output.norm->weight).clone();
    outputs_.back().bias = watch.add(output.norm->bias).clone();
  }
  finish_work(stages_.front()->weight.device());
}

MapPlan::~MapPlan() = default;

int64_t MapPlan::in_channels() const { return stages_.front()->weight.size(1); }

std::shared_ptr<const MapPlan::Filters> MapPlan::filters_for(const at::Tensor& images) {
  Filters made;
  made.height = images.size(2) / 4;
  made.width = images.size(3) / 4;
  const auto found = std::find_if(filters_.begin(), filters_.end(), [&](const auto& filters) {
    return filters->height == made.height && filters->width == made.width;
  });
  if (found != filters_.end()) {
    filters_.splice(filters_.begin(), filters_, found);
    return filters_.front();
  }
  for (const auto& stage : stages_) {
    std::vector<at::Tensor> filters;
    for (const MapBlock& block : stage->blocks) {
      filters.push_back(block.filter(made.height >> stage->index, made.width >> stage->index));
    }
    made.stages.push_back(std::move(filters));
  }
  if (filters_.size() < GlobalLocalFilterImpl::kCachedSizes) {
    finish_work(images.device());
  } else {
    finish_all_work(images.device());
    filters_.pop_back();
  }
  filters_.push_front(std::make_shared<const Filters>(std::move(made)));
  return filters_.front();
}

// The residual stream of a stage, [M,C] float32, from the images or from the stage before's.
at::Tensor MapPlan::enter(const Stage& stage, const at::Tensor& x) const {
  const at::Tensor map = at::conv2d(x, stage.weight, stage.bias, stage.patch)
                             .contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor rows = rows_of(map);
  if (stage.index > 0) return rows.to(at::kFloat);
  return ops::channel_norm(rows, stage.stem_weight, stage.stem_bias, kLayerNormEps, at::kFloat);
}

// Takes x [M,C] through a stage's blocks. A branch is added together with the next norm.
at::Tensor MapPlan::run_blocks(const Stage& stage, const MapExtent& extent, const at::Tensor& x,
                               const std::vector<at::Tensor>& filters) const {
  at::Tensor branch, bias;
  for (size_t j = 0; j < stage.blocks.size(); ++j) {
    const MapBlock& block = stage.blocks[j];
    const at::Tensor normed = j == 0 ? ops::channel_norm(x, {}, {}, kLayerNormEps, type_)
                                     : ops::add_channel_norm(x, branch, bias, kLayerNormEps);
    branch = block.mix(normed, extent, filters[j]);
    branch = block.mlp(ops::add_channel_norm(x, branch, block.mix_bias(), kLayerNormEps));
    bias = block.mlp_bias();
  }
  return branch.defined() ? x.add_(branch).add_(bias) : x;
}

Features MapPlan::run(const at::Tensor& images, const Filters& filters) const {
  Features results(outputs_.size());
  int64_t last = 0;
  for (const Output& output : outputs_) last = std::max(last, output.stage);
  at::Tensor input = images;
  for (int64_t i = 0; i <= last; ++i) {
    const Stage& stage = *stages_[i];
    MapExtent extent = extent_of(input);
    extent.height /= stage.patch;
    extent.width /= stage.patch;
    const at::Tensor x = run_blocks(stage, extent, enter(stage, input), filters.stages[i]);
    for (size_t k = 0; k < outputs_.size(); ++k) {
      const Output& output = outputs_[k];
      if (output.stage != i) continue;
      const at::Tensor rows =
          output.weight.defined()
              ? ops::channel_norm(x, output.weight, output.bias, kLayerNormEps, at::kFloat)
              : x;
      results[k] = map_of(rows, extent);
    }
    if (i < last) input = map_of(ops::channel_norm(x, {}, {}, kLayerNormEps, type_), extent);
  }
  return results;
}

Features MapPlan::forward(const at::Tensor& images) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const c10::DeviceGuard device(images.device());
  const c10::impl::ExcludeDispatchKeyGuard without_autocast(c10::autocast_dispatch_keyset);
  const std::shared_ptr<const Filters> filters = filters_for(images);
  if (images.size(0) == 1) {
    return replays_.run(images, type_,
                        [this, filters](const at::Tensor& input) { return run(input, *filters); });
  }
  return run(images.to(type_).contiguous(at::MemoryFormat::ChannelsLast), *filters);
}

int64_t MapPlan::bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  int64_t total = replays_.bytes();
  for (const auto& stage : stages_) {
    total += bytes_of(stage->weight) + bytes_of(stage->bias);
    for (const MapBlock& block : stage->blocks) total += block.bytes();
  }
  for (const auto& filters : filters_) {
    for (const auto& stage : filters->stages) {
      for (const at::Tensor& filter : stage) total += bytes_of(filter);
    }
  }
  return total;
}

size_t MapPlan::captured_sizes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return replays_.captured();
}

bool takes_map_way(const torch::nn::Module& module, const at::Tensor& input) {
  return !module.is_training() && c10::InferenceMode::is_enabled() && input.is_cuda() &&
         input.scalar_type() == at::kFloat;
}

}  // namespace hornet::plan
