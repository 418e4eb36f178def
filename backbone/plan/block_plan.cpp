#include <hornet/backbone/plan/block_plan.h>
#include <hornet/backbone/plan/pack.h>

#include <algorithm>

namespace hornet::plan {
namespace {

constexpr int64_t kHiddenBlock = 512;  // columns of the MLP's hidden layer at a time

GnConvNeighbours neighbours_of_gnconv(HorNetBlockImpl& block, WeightWatch& watch) {
  return {watch.add(block.norm1->weight), watch.add(block.norm1->bias), watch.add(block.gamma1)};
}

}  // namespace

bool BlockPlan::fits(const HorNetBlockImpl& block, at::DeviceType device) {
  for (const auto& weight : block.parameters()) {
    if (!can_be_planned(weight, device)) return false;
  }
  const GnConvOptions& options = block.gnconv->options;
  return GnConvPlan::fits(*block.gnconv, device) && options.in_channels() == options.channels();
}

BlockPlan::BlockPlan(const Kernels& kernels, HorNetBlockImpl& block, WeightWatch& watch)
    : kernels_(kernels),
      gnconv_(kernels, *block.gnconv, neighbours_of_gnconv(block, watch), watch) {
  const Linear hidden = linear(watch, block.pwconv1->weight, block.pwconv1->bias);
  hidden_ = pack_matrix(
      kernels, after_norm(hidden, watch.add(block.norm2->weight), watch.add(block.norm2->bias)));
  const Linear back = linear(watch, block.pwconv2->weight, block.pwconv2->bias);
  back_ = pack_matrix(kernels, scaled(back, watch.add(block.gamma2)));
}

// Floats of a row of as many operands as there are channels.
int64_t BlockPlan::row_floats() const { return operand_floats(kernels_, channels()); }

// The normed input, a block of the hidden layer, and slack for vector loads behind both.
int64_t BlockPlan::row_scratch(int64_t rows) const {
  const int64_t hidden = operand_floats(kernels_, std::min(kHiddenBlock, hidden_.outputs));
  return std::max(gnconv_.row_scratch(rows), rows * (row_floats() + hidden) + 2 * kernels_.lanes);
}

void BlockPlan::begin(const BlockMaps& maps, int64_t rows, float* scratch) const {
  const Rows normed = {scratch, row_floats()};
  kernels_.normalise(maps.x, rows, channels(), normed);
  gnconv_.begin(normed, maps.gnconv, rows);
}

void BlockPlan::finish(const BlockMaps& maps, int64_t rows, float* scratch) const {
  gnconv_.finish(maps.gnconv, rows, scratch, maps.x, Epilogue::kAccumulate);
  mlp(maps.x, rows, scratch);
}

void BlockPlan::mlp(Rows x, int64_t rows, float* scratch) const {
  const Rows normed = {scratch, row_floats()};
  kernels_.normalise(x, rows, channels(), normed);
  const int64_t width = hidden_.outputs;
  Product up, down;
  up.in = normed;
  up.matrix = &hidden_;
  up.epilogue = Epilogue::kGelu;
  up.input_end = channels();
  down.matrix = &back_;
  down.out = x;
  down.epilogue = Epilogue::kAccumulate;
  down.output_end = channels();
  up.rows = down.rows = rows;
  const int64_t block = std::min(kHiddenBlock, width);
  up.out = {scratch + rows * row_floats() + kernels_.lanes, operand_floats(kernels_, block)};
  down.in = up.out;
  for (int64_t begin = 0; begin < width; begin += block) {
    up.output_begin = down.input_begin = begin;
    up.output_end = down.input_end = std::min(begin + block, width);
    kernels_.multiply(up);
    down.add_bias = begin == 0;
    kernels_.multiply(down);
  }
}

int64_t BlockPlan::bytes() const {
  const int64_t floats = floats_of(hidden_) + floats_of(back_);
  return gnconv_.bytes() + floats * static_cast<int64_t>(sizeof(float));
}

}  // namespace hornet::plan
