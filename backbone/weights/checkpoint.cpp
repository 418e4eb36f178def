#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/checkpoint.h>

#include <algorithm>
#include <cstring>
#include <sstream>

namespace hornet::weights {
namespace {

constexpr std::pair<DType, torch::ScalarType> kTypes[] = {
    {DType::kFloat64, torch::kFloat64}, {DType::kFloat32, torch::kFloat32},
    {DType::kFloat16, torch::kFloat16}, {DType::kBFloat16, torch::kBFloat16},
    {DType::kInt64, torch::kInt64},     {DType::kInt32, torch::kInt32},
    {DType::kInt16, torch::kInt16},     {DType::kInt8, torch::kInt8},
    {DType::kUInt8, torch::kUInt8},     {DType::kBool, torch::kBool},
};

bool is_counter(const std::string& key) {
  static const std::string suffix = "num_batches_tracked";
  return key.size() >= suffix.size() &&
         key.compare(key.size() - suffix.size(), suffix.size(), suffix) == 0;
}

using NamedTensors = std::map<std::string, torch::Tensor>;

NamedTensors state_of(const torch::nn::Module& module) {
  NamedTensors state;
  for (const auto& item : module.named_parameters()) state[item.key()] = item.value();
  for (const auto& item : module.named_buffers()) state[item.key()] = item.value();
  return state;
}

template <typename Sizes>
std::string shape_text(const Sizes& shape) {
  std::ostringstream text;
  text << '[';
  for (size_t i = 0; i < shape.size(); ++i) text << (i ? "," : "") << shape[i];
  text << ']';
  return text.str();
}

void list(std::ostream& out, const char* title, const std::vector<std::string>& keys) {
  constexpr size_t kShown = 20;
  if (keys.empty()) return;
  out << "\n  " << title << " (" << keys.size() << "):";
  for (size_t i = 0; i < std::min(keys.size(), kShown); ++i) out << "\n    " << keys[i];
  if (keys.size() > kShown) out << "\n    ... and " << keys.size() - kShown << " more";
}

std::map<std::string, Tensor> to_file_tensors(NamedTensors& state) {
  std::map<std::string, Tensor> tensors;
  for (auto& [name, tensor] : state) {
    tensor = tensor.detach().cpu().contiguous();
    tensors[name] = from_torch(tensor);
  }
  return tensors;
}

}  // namespace

std::string LoadReport::table() const {
  std::ostringstream out;
  out << "loaded " << loaded << "/" << expected << " tensors";
  list(out, "missing: in the model, not in the file", missing);
  list(out, "unexpected: in the file, not in the model", unexpected);
  list(out, "of another shape", mismatched);
  return out.str();
}

torch::Tensor to_torch(const Tensor& tensor) {
  const auto type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                 [&](const auto& pair) { return pair.first == tensor.dtype; });
  int64_t extent = tensor.numel() > 0 ? 1 : 0;
  for (size_t i = 0; i < tensor.shape.size() && extent > 0; ++i) {
    extent += (tensor.shape[i] - 1) * tensor.strides[i];
  }
  // Copied as bytes, since the file's data may be unaligned.
  torch::Tensor flat = torch::empty({extent}, type->second);
  if (extent > 0) std::memcpy(flat.data_ptr(), tensor.data, extent * element_size(tensor.dtype));
  return flat.as_strided(tensor.shape, tensor.strides).contiguous();
}

Tensor from_torch(const torch::Tensor& tensor) {
  const auto type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& pair) {
    return pair.second == tensor.scalar_type();
  });
  TORCH_CHECK(type != std::end(kTypes), "no file format here holds ", tensor.scalar_type());
  TORCH_CHECK(tensor.device().is_cpu(), "from_torch: expected a CPU tensor");
  return {type->first, tensor.sizes().vec(), tensor.strides().vec(),
          static_cast<const std::byte*>(tensor.const_data_ptr())};
}

LoadReport load(torch::nn::Module& module, const File& file, const LoadOptions& options) {
  torch::NoGradGuard no_grad;
  LoadReport report;
  NamedTensors state = state_of(module);
  const auto shown = [&](const std::string& key) {
    return options.shown_as ? options.shown_as(key) : key;
  };
  for (const auto& [full_key, tensor] : file.tensors) {
    if (full_key.compare(0, options.prefix.size(), options.prefix) != 0) continue;
    const std::string key = full_key.substr(options.prefix.size());
    const auto target = state.find(key);
    if (target == state.end()) {
      if (!is_counter(key)) report.unexpected.push_back(shown(full_key));
      continue;
    }
    if (target->second.sizes() == torch::IntArrayRef(tensor.shape)) {
      target->second.copy_(to_torch(tensor));
      ++report.loaded;
    } else {
      report.mismatched.push_back(shown(full_key) + ": file " + shape_text(tensor.shape) +
                                  ", model " + shape_text(target->second.sizes()));
    }
    state.erase(target);
  }
  for (const auto& [key, tensor] : state) {
    if (!is_counter(key)) report.missing.push_back(shown(options.prefix + key));
  }
  report.expected = report.loaded + report.missing.size() + report.mismatched.size();
  if (!report.complete() && !options.allow_partial) {
    throw Error(ErrorCode::kWeights, file.path.string() + " does not fit the model: " +
                                         report.table() + "\n  (--allow-partial loads what fits)");
  }
  return report;
}

void save(const torch::nn::Module& module, const std::filesystem::path& path,
          const Metadata& meta) {
  NamedTensors state = state_of(module);
  const auto tensors = to_file_tensors(state);
  const std::string extension = path.extension().string();
  if (extension == ".safetensors") {
    write_safetensors(path, tensors, meta);
  } else if (extension == ".pth" || extension == ".pt") {
    write_pth(path, tensors, meta);
  } else {
    throw Error(ErrorCode::kUsage, path.string() +
                                       ": weights are written as .safetensors, .pth or "
                                       ".pt, not as '" +
                                       extension + "'");
  }
}

void save_tensors(const std::vector<std::pair<std::string, torch::Tensor>>& tensors,
                  const std::filesystem::path& path) {
  NamedTensors state(tensors.begin(), tensors.end());
  write_safetensors(path, to_file_tensors(state));
}

}  // namespace hornet::weights
