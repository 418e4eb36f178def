#include <hornet/backbone/plan/carver.h>
#include <hornet/backbone/plan/hornet_plan.h>
#include <hornet/backbone/plan/pack.h>
#include <hornet/backbone/plan/parallel.h>
#include <torch/nn/modules/container/sequential.h>

#include <algorithm>
#include <array>

namespace hornet::plan {
namespace {

constexpr int64_t kBytesPerFloat = sizeof(float);

bool is_conv(torch::nn::Module& module, int64_t kernel, at::DeviceType device) {
  auto* conv = module.as<torch::nn::Conv2d>();
  return conv != nullptr && can_be_planned(conv->weight, device) && conv->weight.size(2) == kernel;
}

}  // namespace

// The stem or downsampling before a stage, as a product with a patch of the map before it, and the
// stage's blocks.
struct HorNetPlan::Stage {
  int64_t index = 0, patch = 0, in_channels = 0, channels = 0;
  PackedMatrix entry;                    // [patch * patch * in_channels, channels]
  AlignedBuffer stem_weight, stem_bias;  // of the stem's norm
  std::vector<BlockPlan> blocks;
};

struct HorNetPlan::Output {
  int64_t stage = 0;
  bool normed = false;
  AlignedBuffer weight, bias;
};

// The state of one forward.
struct HorNetPlan::Run {
  at::Tensor images;
  MapSize size;    // of the current stage's maps
  Rows x, before;  // the residual stream of this and of the stage before
  MapSize size_before;
  BlockMaps maps;
  float* scratch = nullptr;  // `scratch_size` floats for each worker
  int64_t scratch_size = 0;
  Features outputs;

  int64_t rows() const { return images.size(0) * size.height * size.width; }
  float* scratch_of(int64_t worker) const { return scratch + worker * scratch_size; }
};

bool HorNetPlan::fits(const HorNetTrunk& trunk, at::DeviceType device) {
  for (size_t i = 0; i < 4; ++i) {
    auto* layers = trunk.downsample_layers->ptr(i)->as<torch::nn::Sequential>();
    auto* blocks = trunk.stages->ptr(i)->as<torch::nn::Sequential>();
    if (layers == nullptr || layers->size() != 2 || blocks == nullptr) return false;
    if (!is_conv(*layers->ptr(i == 0 ? 0 : 1), i == 0 ? 4 : 2, device)) return false;
    for (const auto& block : *blocks) {
      auto* known = block.ptr()->as<HorNetBlock>();
      if (known == nullptr || !BlockPlan::fits(*known, device)) return false;
    }
  }
  return true;
}

HorNetPlan::HorNetPlan(const HorNetTrunk& trunk, const std::vector<PlanOutput>& outputs,
                       WeightWatch& watch, Precision precision)
    : kernels_(kernels(cpu_level(), precision)), stem_kernels_(kernels(cpu_level())) {
  const auto patches = [](const at::Tensor& weight) {
    return weight.permute({0, 2, 3, 1}).flatten(1);
  };
  // A pixel's operands, those behind its channels too.
  const auto operands = [&](int64_t channels) {
    return operand_floats(kernels_, channels) * kernels_.packed;
  };
  for (int64_t i = 0; i < 4; ++i) {
    auto stage = std::make_unique<Stage>();
    auto& layers = *trunk.downsample_layers->ptr(i)->as<torch::nn::Sequential>();
    auto& conv = *layers.ptr(i == 0 ? 0 : 1)->as<torch::nn::Conv2d>();
    auto& norm = *layers.ptr(i == 0 ? 1 : 0)->as<ChannelLayerNorm>();
    const at::Tensor& norm_weight = watch.add(norm.weight);
    const at::Tensor& norm_bias = watch.add(norm.bias);
    Linear entry = {wide(watch.add(conv.weight)), wide(watch.add(conv.bias))};
    stage->index = i;
    stage->patch = conv.weight.size(2);
    stage->in_channels = conv.weight.size(1);
    stage->channels = conv.weight.size(0);
    if (i == 0) {
      stage->stem_weight = pack_vector(kernels_, norm_weight);
      stage->stem_bias = pack_vector(kernels_, norm_bias);
      stage->entry = pack_matrix(stem_kernels_, patches(entry.weight), entry.bias);
    } else {
      entry = convolution_after_norm(entry.weight, entry.bias, norm_weight, norm_bias);
      const int64_t padding = operands(stage->in_channels) - stage->in_channels;
      entry.weight = at::constant_pad_nd(entry.weight, {0, 0, 0, 0, 0, padding});
      stage->entry = pack_matrix(kernels_, patches(entry.weight), entry.bias);
    }
    for (const auto& block : *trunk.stages->ptr(i)->as<torch::nn::Sequential>()) {
      stage->blocks.emplace_back(kernels_, *block.ptr()->as<HorNetBlock>(), watch);
    }
    stages_.push_back(std::move(stage));
  }
  for (const auto& list : {trunk.downsample_layers, trunk.stages}) {
    for (const auto& module : list->modules()) modules_.push_back(module);
  }
  for (const PlanOutput& output : outputs) {
    if (!output.norm.is_empty()) modules_.push_back(output.norm.ptr());
    Output packed;
    packed.stage = output.stage;
    packed.normed = !output.norm.is_empty();
    if (packed.normed) {
      packed.weight = pack_vector(kernels_, watch.add(output.norm->weight));
      packed.bias = pack_vector(kernels_, watch.add(output.norm->bias));
    }
    outputs_.push_back(std::move(packed));
  }
}

HorNetPlan::~HorNetPlan() = default;

namespace {

// The pixels of a patch, [patch, patch, channels], of an image of any strides.
struct PatchReader {
  const float* data;
  int64_t image, row, column, channel;  // strides
  int64_t patch, channels;

  void read(int64_t n, int64_t y, int64_t x, float* to) const {
    const float* corner = data + n * image + y * patch * row + x * patch * column;
    for (int64_t dy = 0; dy < patch; ++dy) {
      for (int64_t dx = 0; dx < patch; ++dx) {
        for (int64_t c = 0; c < channels; ++c) {
          *to++ = corner[dy * row + dx * column + c * channel];
        }
      }
    }
  }
};

}  // namespace

void HorNetPlan::enter(Run& run, const Stage& stage) const {
  const int64_t patch_floats = stage.entry.depth, plane = run.size.height * run.size.width;
  const int64_t pixel_floats = patch_floats / (stage.patch * stage.patch);
  PatchReader reader = {};
  if (stage.index == 0) {
    reader = {run.images.const_data_ptr<float>(),
              run.images.stride(0),
              run.images.stride(2),
              run.images.stride(3),
              run.images.stride(1),
              stage.patch,
              stage.in_channels};
  }
  in_chunks(run.rows(), kChunkRows, [&](int64_t first, int64_t rows, int64_t worker) {
    float* patches = run.scratch_of(worker);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t n = (first + i) / plane, pixel = (first + i) % plane;
      const int64_t y = pixel / run.size.width, x = pixel % run.size.width;
      float* patch = patches + i * patch_floats;
      if (stage.index == 0) {
        reader.read(n, y, x, patch);
        continue;
      }
      for (int64_t dy = 0; dy < 2; ++dy) {
        const int64_t source =
            (n * run.size_before.height + 2 * y + dy) * run.size_before.width + 2 * x;
        kernels_.normalise({run.before.row(source), run.before.stride}, 2, stage.in_channels,
                           {patch + dy * 2 * pixel_floats, pixel_floats});
      }
    }
    Product product;
    product.in = {patches, patch_floats};
    product.rows = rows;
    product.matrix = &stage.entry;
    const BlockMaps maps = run.maps.from(first);
    product.out = maps.x;
    product.input_end = stage.entry.inputs;
    product.output_end = stage.channels;
    (stage.index == 0 ? stem_kernels_ : kernels_).multiply(product);
    if (stage.index == 0) {
      kernels_.layer_norm(maps.x, rows, stage.channels,
                          {stage.stem_weight.data(), stage.stem_bias.data()}, maps.x);
    }
    if (!stage.blocks.empty()) stage.blocks.front().begin(maps, rows, run.scratch_of(worker));
  });
}

void HorNetPlan::run_blocks(Run& run, Stage& stage) {
  for (size_t j = 0; j < stage.blocks.size(); ++j) {
    const BlockPlan& block = stage.blocks[j];
    const GnConvPlan& gnconv = block.gnconv();
    in_parallel(gnconv.mixing_tasks(run.images.size(0)), [&](int64_t task, int64_t worker) {
      gnconv.mix(run.maps.gnconv, task, run.scratch_of(worker));
    });
    const BlockPlan* next = j + 1 < stage.blocks.size() ? &stage.blocks[j + 1] : nullptr;
    in_chunks(run.rows(), kChunkRows, [&](int64_t first, int64_t rows, int64_t worker) {
      const BlockMaps maps = run.maps.from(first);
      block.finish(maps, rows, run.scratch_of(worker));
      if (next != nullptr) next->begin(maps, rows, run.scratch_of(worker));
    });
  }
}

void HorNetPlan::emit(Run& run, int64_t stage) const {
  const int64_t channels = stages_[stage]->channels;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i].stage != stage) continue;
    run.outputs[i] = at::empty({run.images.size(0), channels, run.size.height, run.size.width},
                               run.images.options(), at::MemoryFormat::ChannelsLast);
    float* out = run.outputs[i].mutable_data_ptr<float>();
    const Output& output = outputs_[i];
    in_chunks(run.rows(), kChunkRows, [&](int64_t first, int64_t rows, int64_t) {
      const Rows to = {out + first * channels, channels};
      if (output.normed) {
        kernels_.layer_norm({run.x.row(first), run.x.stride}, rows, channels,
                            {output.weight.data(), output.bias.data()}, to);
      } else {
        std::copy_n(run.x.row(first), rows * channels, to.data);
      }
    });
  }
}

int64_t HorNetPlan::in_channels() const { return stages_.front()->in_channels; }

int64_t HorNetPlan::last_stage() const {
  int64_t last = 0;
  for (const Output& output : outputs_) last = std::max(last, output.stage);
  return last;
}

namespace {

MapSize stage_size(const at::Tensor& images, int64_t stage) {
  const int64_t stem = 4, steps = int64_t{1} << stage;
  return {images.size(2) / stem / steps, images.size(3) / stem / steps};
}

}  // namespace

// The workspace for the images, its parts in `run`: two residual streams, for even and odd stages,
// and for all stages together p, q, what is mixed, and each worker's scratch.
void HorNetPlan::reserve(Run& run) {
  std::array<int64_t, 2> stream = {0, 0};
  int64_t p = 0, q = 0, scratch = 0;
  for (int64_t i = 0; i <= last_stage(); ++i) {
    Stage& stage = *stages_[i];
    const MapSize size = stage_size(run.images, i);
    const int64_t rows = run.images.size(0) * size.height * size.width;
    const int64_t chunk = even_chunk(rows, kChunkRows);
    stream[i % 2] = std::max(stream[i % 2], rows * stage.channels);
    scratch = std::max(scratch, chunk * stage.entry.depth);
    for (BlockPlan& block : stage.blocks) {
      GnConvPlan& gnconv = block.gnconv();
      gnconv.prepare_mixing(size);
      p = std::max(p, rows * gnconv.first_width());
      q = std::max(q, rows * gnconv.mixed_width());
      scratch = std::max({scratch, block.row_scratch(chunk), gnconv.mixing_scratch()});
    }
  }
  Carver carver;
  const std::array<int64_t, 2> streams = {carver.add(stream[0]), carver.add(stream[1])};
  const int64_t p_at = carver.add(p), q_at = carver.add(q), mixed_at = carver.add(q);
  const int64_t scratch_at = carver.add(0);
  Carver worker;
  worker.add(scratch);
  run.scratch_size = worker.size();
  const int64_t total = scratch_at + run.scratch_size * at::get_num_threads();
  workspace_.grow(total);
  float* base = workspace_.data();
  run.x.data = base + streams[1];
  run.before.data = base + streams[0];
  run.maps.gnconv.p.data = base + p_at;
  run.maps.gnconv.q.data = base + q_at;
  run.maps.gnconv.mixed.data = base + mixed_at;
  run.scratch = base + scratch_at;
}

Features HorNetPlan::forward(const at::Tensor& images) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Run run;
  run.images = images;
  run.outputs.resize(outputs_.size());
  reserve(run);
  for (int64_t i = 0; i <= last_stage(); ++i) {
    Stage& stage = *stages_[i];
    std::swap(run.x, run.before);
    run.x.stride = stage.channels;
    run.size_before = run.size;
    run.size = stage_size(images, i);
    run.maps.x = run.x;
    if (!stage.blocks.empty()) {
      const GnConvPlan& gnconv = stage.blocks.front().gnconv();
      run.maps.gnconv.p.stride = gnconv.first_width();
      run.maps.gnconv.q.stride = run.maps.gnconv.mixed.stride = gnconv.mixed_width();
    }
    enter(run, stage);
    run_blocks(run, stage);
    emit(run, i);
  }
  return run.outputs;
}

int64_t HorNetPlan::bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  int64_t total = workspace_.size() * kBytesPerFloat;
  for (const auto& stage : stages_) {
    total += floats_of(stage->entry) * kBytesPerFloat;
    for (const BlockPlan& block : stage->blocks) total += block.bytes();
  }
  return total;
}

}  // namespace hornet::plan
