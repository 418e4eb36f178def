#include <ATen/ATen.h>
#include <hornet/backbone/inference.h>
#include <hornet/backbone/plan/carver.h>
#include <hornet/backbone/plan/conv_plan.h>
#include <hornet/backbone/plan/gnconv_plan.h>
#include <hornet/backbone/plan/parallel.h>
#include <hornet/backbone/plan/prepared_gnconv.h>

#include <algorithm>
#include <mutex>
#include <vector>

namespace hornet::plan {

class LoneGnConv {
 public:
  LoneGnConv(GnConvImpl& gnconv, Precision precision, WeightWatch& watch)
      : kernels_(kernels(cpu_level(), precision)),
        plan_(kernels_, gnconv, {}, watch),
        modules_(gnconv.modules(/*include_self=*/false)) {}

  int64_t in_channels() const { return plan_.in_channels(); }

  at::Tensor forward(const at::Tensor& x) {
    const std::lock_guard<std::mutex> lock(mutex_);
    at::Tensor out = at::empty({x.size(0), plan_.channels(), x.size(2), x.size(3)}, x.options(),
                               at::MemoryFormat::ChannelsLast);
    if (out.numel() > 0) run(x.contiguous(at::MemoryFormat::ChannelsLast), out);
    return out;
  }

  int64_t bytes() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return plan_.bytes();
  }

 private:
  void run(const at::Tensor& x, at::Tensor& out) {
    const int64_t images = x.size(0), inputs = in_channels();
    const MapSize size = {x.size(2), x.size(3)};
    const int64_t rows = images * size.height * size.width;
    const int64_t chunk = even_chunk(rows, kChunkRows);
    plan_.prepare_mixing(size);
    Carver worker;
    worker.add(std::max({chunk * operand_floats(kernels_, inputs), plan_.row_scratch(chunk),
                         plan_.mixing_scratch()}));
    Carver carver;
    const int64_t p = carver.add(rows * plan_.first_width());
    const int64_t q = carver.add(rows * plan_.mixed_width());
    const int64_t mixed = carver.add(rows * plan_.mixed_width());
    const int64_t scratch = carver.add(worker.size() * at::get_num_threads());
    float* const base = borrow_scratch(carver.size());
    const auto scratch_of = [&](int64_t i) { return base + scratch + i * worker.size(); };
    const GnConvMaps maps = {{base + p, plan_.first_width()},
                             {base + q, plan_.mixed_width()},
                             {base + mixed, plan_.mixed_width()}};
    const ConstRows from = {x.const_data_ptr<float>(), inputs};
    const Rows to = {out.mutable_data_ptr<float>(), plan_.channels()};

    in_chunks(rows, kChunkRows, [&](int64_t first, int64_t count, int64_t i) {
      const ConstRows operands =
          as_operands(kernels_, {from.row(first), inputs}, count, inputs, scratch_of(i));
      plan_.begin(operands, maps.from(first), count);
    });
    in_parallel(plan_.mixing_tasks(images),
                [&](int64_t task, int64_t i) { plan_.mix(maps, task, scratch_of(i)); });
    in_chunks(rows, kChunkRows, [&](int64_t first, int64_t count, int64_t i) {
      plan_.finish(maps.from(first), count, scratch_of(i), {to.row(first), to.stride},
                   Epilogue::kStore);
    });
  }

  const Kernels& kernels_;
  GnConvPlan plan_;
  const std::vector<std::shared_ptr<torch::nn::Module>> modules_;  // whose weights are watched
  mutable std::mutex mutex_;
};

std::optional<at::Tensor> PreparedGnConv::forward(GnConvImpl& owner, const at::Tensor& x) {
  if (weights_may_change(owner)) plans_.drop();
  if (!takes_prepared_way(owner, x) || x.dim() != 4) return std::nullopt;
  const auto make = [&](WeightWatch& watch, Precision precision) {
    return GnConvPlan::fits(owner) ? std::make_shared<LoneGnConv>(owner, precision, watch)
                                   : nullptr;
  };
  const std::shared_ptr<LoneGnConv> plan = plans_.get(make);
  if (plan == nullptr || x.size(1) != plan->in_channels()) return std::nullopt;
  return plan->forward(x);
}

int64_t PreparedGnConv::bytes() const { return plans_.bytes(); }

}  // namespace hornet::plan
