// How the cost of mixing positions grows with resolution: gnConv of orders 1 to 5 with a 7x7
// convolution or a global filter as its mixer, a plain 7x7 convolution, squeeze-and-excitation and
// self-attention, all from C to C channels of one feature map with the projections that they have
// in a network; and whole backbones.
//
//   bench_growth [--channels 128] [--stride 8] [--seconds 1] [--most-seconds 20]
//                [--most-memory-mib 4096] [--no-backbones] [--memory] [SIDE ...]
//
// An image of SIDE x SIDE pixels (224 to 2048 unless given) has maps of SIDE/stride. Prints a line
// of JSON for each operator and side: times, or with --memory what a first run takes. What would
// need more memory, or longer for one run, than the two bounds is not run: its line says "skipped"
// and why. benchmarks/growth.py makes a table and a plot.
#include <ATen/Parallel.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/hornet.h>
#include <hornet/backbone/plan/cpu_level.h>
#include <hornet/heads/random_weights.h>
#include <hornet/pipelines/measure.h>
#include <hornet/pipelines/memory.h>
#include <sys/wait.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>
#include <torch/utils.h>
#include <torch/version.h>
#include <unistd.h>

#include <cmath>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hornet {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kHeadChannels = 64, kSqueeze = 4;

struct Settings {
  double channels = 128, stride = 8, seconds = 1, most_seconds = 20, most_memory_mib = 4096;
  bool backbones = true, memory = false;
  std::vector<int64_t> sides;

  int64_t width() const { return static_cast<int64_t>(channels); }
  int64_t places(int64_t side) const {
    return side / static_cast<int64_t>(stride);
  }  // along a side
};

int64_t heads_of(int64_t channels) { return std::max<int64_t>(1, channels / kHeadChannels); }

torch::nn::Conv2d convolution(int64_t in, int64_t out, int64_t kernel, int64_t groups = 1) {
  return torch::nn::Conv2d(
      torch::nn::Conv2dOptions(in, out, kernel).padding(kernel / 2).groups(groups));
}

// x -> projection -> depthwise 7x7 -> projection.
class DepthwiseImpl : public torch::nn::Module {
 public:
  explicit DepthwiseImpl(int64_t channels)
      : in(register_module("in", convolution(channels, channels, 1))),
        mixer(register_module("mixer", convolution(channels, channels, 7, channels))),
        out(register_module("out", convolution(channels, channels, 1))) {}
  torch::Tensor forward(const torch::Tensor& x) {
    return out->forward(mixer->forward(in->forward(x)));
  }

  torch::nn::Conv2d in, mixer, out;
};
TORCH_MODULE(Depthwise);

// Squeeze-and-excitation (arXiv 1709.01507): one gate for each channel, from the map's mean.
class SqueezeExcitationImpl : public torch::nn::Module {
 public:
  explicit SqueezeExcitationImpl(int64_t channels)
      : in(register_module("in", convolution(channels, channels, 1))),
        squeeze(register_module("squeeze", convolution(channels, channels / kSqueeze, 1))),
        excite(register_module("excite", convolution(channels / kSqueeze, channels, 1))),
        out(register_module("out", convolution(channels, channels, 1))) {}
  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor projected = in->forward(x);
    const torch::Tensor mean = projected.mean({2, 3}, /*keepdim=*/true);
    return out->forward(projected * excite->forward(squeeze->forward(mean).relu()).sigmoid());
  }

  torch::nn::Conv2d in, squeeze, excite, out;
};
TORCH_MODULE(SqueezeExcitation);

// softmax(Q K^T / sqrt(d)) V over all positions, in heads of 64 channels: written out, with its
// [heads,HW,HW] matrix, or by LibTorch's fused kernel, which keeps blocks of it.
class SelfAttentionImpl : public torch::nn::Module {
 public:
  SelfAttentionImpl(int64_t channels, bool fused)
      : heads_(heads_of(channels)),
        fused_(fused),
        qkv(register_module("qkv", torch::nn::Linear(channels, 3 * channels))),
        out(register_module("out", torch::nn::Linear(channels, channels))) {}

  torch::Tensor forward(const torch::Tensor& x) {
    const int64_t n = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
    const torch::Tensor tokens = x.permute({0, 2, 3, 1}).reshape({n, height * width, channels});
    const auto parts = qkv->forward(tokens)
                           .view({n, height * width, 3, heads_, channels / heads_})
                           .permute({2, 0, 3, 1, 4})
                           .unbind(0);
    const torch::Tensor mixed = fused_
                                    ? at::scaled_dot_product_attention(parts[0], parts[1], parts[2])
                                    : attend(parts[0], parts[1], parts[2]);
    const torch::Tensor joined = mixed.transpose(1, 2).reshape({n, height * width, channels});
    return out->forward(joined).view({n, height, width, channels}).permute({0, 3, 1, 2});
  }

 private:
  static torch::Tensor attend(const torch::Tensor& q, const torch::Tensor& k,
                              const torch::Tensor& v) {
    const double scale = 1 / std::sqrt(static_cast<double>(q.size(-1)));
    return (q * scale).matmul(k.transpose(-1, -2)).softmax(-1).matmul(v);
  }

  int64_t heads_;
  bool fused_;
  torch::nn::Linear qkv, out;
};
TORCH_MODULE(SelfAttention);

struct Operator {
  std::string name;
  int64_t order = 0;                                  // of a gnConv
  std::function<void(const torch::Tensor&)> forward;  // of a map
  bool on_images = false;                             // takes images instead
  bool all_pairs = false;                             // relates every position to every other
  bool matrices = false;                              // and holds two [heads,HW,HW] matrices of it
};

template <typename Holder>
Operator operator_of(const std::string& name, Holder module, int64_t order = 0) {
  randomise_weights(*module);
  module->eval();
  Operator op;
  op.name = name;
  op.order = order;
  op.forward = [module](const torch::Tensor& x) mutable { module->forward(x); };
  prepare_for_inference(*module);
  return op;
}

// A global filter that was learned at the size of the smallest map, as for 224 pixels.
GnConv gnconv(const Settings& settings, int64_t order, bool global) {
  GnConvOptions options = GnConvOptions(settings.width()).order(order).scale(1.0 / 3);
  const int64_t side = settings.places(224);
  if (global) options.global_filter(FilterSize{side, side / 2 + 1});
  return GnConv(options);
}

std::vector<Operator> operators(const Settings& settings) {
  const int64_t channels = settings.width();
  std::vector<Operator> list;
  for (const bool global : {false, true}) {
    for (int64_t order = 1; order <= 5; ++order) {
      list.push_back(
          operator_of(global ? "gnConv GF" : "gnConv 7x7", gnconv(settings, order, global), order));
    }
  }
  list.push_back(operator_of("convolution 7x7", convolution(channels, channels, 7)));
  list.push_back(operator_of("depthwise 7x7", Depthwise(channels)));
  list.push_back(operator_of("squeeze-and-excitation", SqueezeExcitation(channels)));
  for (const bool fused : {false, true}) {
    list.push_back(operator_of(fused ? "self-attention, fused" : "self-attention",
                               SelfAttention(channels, fused)));
    list.back().all_pairs = true;
    list.back().matrices = !fused;
  }
  if (!settings.backbones) return list;
  for (const char* name : {"hornet_tiny_7x7", "hornet_tiny_gf"}) {
    list.push_back(operator_of(name, HorNet(hornet_variant(name))));
    list.back().on_images = true;
  }
  return list;
}

// Why an operator is not run at a size, or "". `last_seconds` is what one run took at the side
// before.
std::string reason_to_skip(const Operator& op, const Settings& settings, int64_t side,
                           int64_t last_side, double last_seconds) {
  const double growth =
      std::pow(static_cast<double>(side) / static_cast<double>(last_side), op.all_pairs ? 4 : 2);
  if (last_side > 0 && last_seconds * growth > settings.most_seconds) {
    return "one run would take about " + std::to_string(std::lround(last_seconds * growth)) + " s";
  }
  if (!op.matrices) return "";
  const double places = std::pow(static_cast<double>(settings.places(side)), 2);
  const double bytes = 2 * static_cast<double>(heads_of(settings.width())) * places * places * 4;
  if (bytes <= settings.most_memory_mib * (1 << 20)) return "";
  return "attention matrices of " + std::to_string(std::lround(bytes / (1 << 20))) + " MiB";
}

torch::Tensor random_input(const Operator& op, const Settings& settings, int64_t side) {
  if (op.on_images) return torch::randn({1, 3, side, side});
  const int64_t places = settings.places(side);
  return torch::randn({1, settings.width(), places, places})
      .contiguous(at::MemoryFormat::ChannelsLast);
}

// The memory of a first run, with what it keeps for the next: packed weights and a workspace. In a
// process of its own, to which nothing is left of earlier runs; its parent must have no threads.
void print_memory(const Operator& op, const torch::Tensor& x, ordered_json row, int threads) {
  std::cout.flush();
  const pid_t child = fork();
  if (child == 0) {
    at::set_num_threads(threads);
    const std::optional<MemoryUse> memory = memory_of([&] { op.forward(x); });
    row["working_bytes"] = nullptr;
    if (memory && memory->exact) row["working_bytes"] = memory->peak - memory->before;
    std::cout << row.dump() << std::endl;
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0) {
    throw Error(ErrorCode::kRuntime, "a process that measures memory has failed");
  }
}

void measure_into(const Operator& op, const Settings& settings, int64_t side, ordered_json& row) {
  const torch::Tensor x = random_input(op, settings, side);
  MeasureOptions options;
  options.seconds = settings.seconds;
  options.least_runs = 3;
  options.warm_up = 1;
  const Durations times = measure({[&] { op.forward(x); }}, options).front();
  row["runs"] = times.milliseconds.size();
  row["median_ms"] = times.median();
  row["min_ms"] = times.percentile(0);
}

void measure_operator(const Operator& op, const Settings& settings, int threads) {
  int64_t last_side = 0;
  double last_seconds = 0;
  for (const int64_t side : settings.sides) {
    ordered_json row = {{"operator", op.name}, {"side", side}};
    if (op.order > 0) row["order"] = op.order;
    const std::string reason = reason_to_skip(op, settings, side, last_side, last_seconds);
    if (reason.empty() && settings.memory) {
      print_memory(op, random_input(op, settings, side), row, threads);
      continue;
    }
    if (reason.empty()) {
      measure_into(op, settings, side, row);
      last_side = side;
      last_seconds = row["median_ms"].get<double>() / 1000;
    } else {
      row["skipped"] = reason;
    }
    std::cout << row.dump() << std::endl;  // as it goes, for whoever waits
  }
}

Settings parse(int argc, char** argv) {
  Settings settings;
  const std::map<std::string, double*> numbers = {{"--channels", &settings.channels},
                                                  {"--stride", &settings.stride},
                                                  {"--seconds", &settings.seconds},
                                                  {"--most-seconds", &settings.most_seconds},
                                                  {"--most-memory-mib", &settings.most_memory_mib}};
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto number = numbers.find(name);
    if (number != numbers.end() && i + 1 < argc) {
      *number->second = std::stod(argv[++i]);
    } else if (name == "--memory") {
      settings.memory = true;
    } else if (name == "--no-backbones") {
      settings.backbones = false;
    } else {
      settings.sides.push_back(std::stoll(name));
    }
  }
  if (settings.sides.empty()) settings.sides = {224, 384, 512, 768, 1024, 1536, 2048};
  return settings;
}

int run(const Settings& settings) {
  const int threads = at::get_num_threads();
  if (settings.memory) {
    at::set_num_threads(1);
  } else {
    keep_freed_memory();  // as the program does
  }
  torch::manual_seed(1);
  const std::vector<Operator> list = operators(settings);
  const torch::InferenceMode inference;
  const ordered_json header = {{"channels", settings.width()},
                               {"stride", static_cast<int64_t>(settings.stride)},
                               {"threads", threads},
                               {"isa", hornet::cpu_level_name(hornet::float_level())},
                               {"libtorch", TORCH_VERSION}};
  std::cout << header.dump() << std::endl;
  for (const Operator& op : list) measure_operator(op, settings, threads);
  return 0;
}

}  // namespace
}  // namespace hornet

int main(int argc, char** argv) {
  try {
    return hornet::run(hornet::parse(argc, argv));
  } catch (const std::invalid_argument&) {
    std::cerr
        << "usage: bench_growth [--channels N] [--stride N] [--seconds S] [--most-seconds S]\n"
           "                    [--most-memory-mib N] [--no-backbones] [--memory] [SIDE ...]\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "bench_growth: " << error.what() << '\n';
    return 1;
  }
}
