#include <hornet/backbone/adapter.h>
#include <hornet/backbone/error.h>

#include <algorithm>
#include <sstream>

namespace hornet {
namespace {

[[noreturn]] void fail(const std::string& message) {
  throw Error(ErrorCode::kUsage, "as_backbone: " + message);
}

void check_declaration(const std::vector<FeatureInfo>& info) {
  if (info.empty()) fail("declare at least one level, {{channels, stride}, ...}");
  for (size_t i = 0; i < info.size(); ++i) {
    const bool positive = info[i].channels > 0 && info[i].stride > 0;
    if (positive && (i == 0 || info[i - 1].stride <= info[i].stride)) continue;
    std::ostringstream text;
    text << "level " << i << " is declared with " << info[i].channels << " channels at stride "
         << info[i].stride
         << "; both must be above 0, and strides must not fall from level to level";
    fail(text.str());
  }
}

// Whether `map` pixels are `image` pixels at this stride, rounded down or up.
bool fits(int64_t map, int64_t image, int64_t stride) {
  return map >= std::max<int64_t>(image / stride, 1) && map <= (image + stride - 1) / stride;
}

bool fits(const torch::Tensor& map, const FeatureInfo& info, const torch::Tensor& images) {
  return map.size(0) == images.size(0) && map.size(1) == info.channels &&
         fits(map.size(2), images.size(2), info.stride) &&
         fits(map.size(3), images.size(3), info.stride);
}

// "64 channels at stride 16 (a map [2,64,12,16] of images of 192x256)"
std::string describe(const torch::Tensor& map, const torch::Tensor& images) {
  if (!map.defined() || map.dim() != 4) {
    return map.defined() ? std::to_string(map.dim()) + " dimensions instead of [N,C,H,W]"
                         : "an undefined tensor";
  }
  const auto stride = [&](int dimension) {
    std::ostringstream text;
    text.precision(3);
    text << static_cast<double>(images.size(dimension)) /
                static_cast<double>(std::max<int64_t>(map.size(dimension), 1));
    return text.str();
  };
  std::ostringstream text;
  text << map.size(1) << " channels at stride " << stride(2);
  if (stride(3) != stride(2)) text << " x " << stride(3);
  text << " (a map " << map.sizes() << " of images " << images.sizes() << ")";
  return text.str();
}

void check_features(const Features& maps, const std::vector<FeatureInfo>& info,
                    const torch::Tensor& images) {
  if (maps.size() != info.size()) {
    fail(std::to_string(info.size()) + " levels are declared, but forward gives " +
         std::to_string(maps.size()) + "; declare a {channels, stride} for each map");
  }
  for (size_t i = 0; i < maps.size(); ++i) {
    if (maps[i].defined() && maps[i].dim() == 4 && fits(maps[i], info[i], images)) continue;
    std::ostringstream text;
    text << "level " << i << " is declared with " << info[i].channels << " channels at stride "
         << info[i].stride << ", but forward gives " << describe(maps[i], images)
         << "; declare what it gives";
    fail(text.str());
  }
}

class Adapter : public Backbone {
 public:
  Adapter(std::shared_ptr<torch::nn::Module> module, FeatureFunction forward,
          std::vector<FeatureInfo> info)
      : module_(std::move(module)), forward_(std::move(forward)), info_(std::move(info)) {
    check_declaration(info_);
    if (!forward_) fail("the function is empty");
    if (module_) adopt(*module_);
  }

  Features forward(const torch::Tensor& images) override {
    TORCH_CHECK(images.dim() == 4, "as_backbone: images must be [N,C,H,W], got ", images.sizes());
    Features maps = forward_(images);
    check_features(maps, info_, images);
    return maps;
  }

  std::vector<FeatureInfo> feature_info() const override { return info_; }

  void train(bool on = true) override {
    if (module_) module_->train(on);
    Backbone::train(on);
  }

 private:
  // Names stay the module's own, so that its checkpoints fit. Tensors are shared by handle, and
  // LibTorch moves and converts them in place.
  void adopt(const torch::nn::Module& module) {
    for (const auto& child : module.named_children()) register_module(child.key(), child.value());
    for (const auto& item : module.named_parameters(/*recurse=*/false)) {
      register_parameter(item.key(), item.value(), item.value().requires_grad());
    }
    for (const auto& item : module.named_buffers(/*recurse=*/false)) {
      register_buffer(item.key(), item.value());
    }
  }

  std::shared_ptr<torch::nn::Module> module_;
  FeatureFunction forward_;
  std::vector<FeatureInfo> info_;
};

// The outputs of the last `levels` stages.
Features run_stages(torch::nn::SequentialImpl& stages, torch::Tensor x, size_t levels) {
  Features maps;
  size_t left = stages.size();
  for (torch::nn::AnyModule& stage : stages) {
    x = stage.forward(x);
    if (left-- <= levels) maps.push_back(x);
  }
  return maps;
}

}  // namespace

std::shared_ptr<Backbone> as_backbone(FeatureFunction forward, std::vector<FeatureInfo> info) {
  return std::make_shared<Adapter>(nullptr, std::move(forward), std::move(info));
}

std::shared_ptr<Backbone> as_backbone(std::shared_ptr<torch::nn::Module> module,
                                      FeatureFunction forward, std::vector<FeatureInfo> info) {
  if (!module) fail("the module is empty");
  return std::make_shared<Adapter>(std::move(module), std::move(forward), std::move(info));
}

std::shared_ptr<Backbone> as_backbone(const torch::nn::Sequential& stages,
                                      std::vector<FeatureInfo> info) {
  if (stages.is_empty()) fail("the module is empty");
  const size_t levels = info.size();
  torch::nn::SequentialImpl* network = stages.ptr().get();  // the backbone keeps it
  return as_backbone(
      stages.ptr(),
      [network, levels](const torch::Tensor& x) { return run_stages(*network, x, levels); },
      std::move(info));
}

}  // namespace hornet
