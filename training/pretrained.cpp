#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/checkpoint.h>
#include <hornet/training/internal/ends_with.h>
#include <hornet/training/optimizer.h>
#include <hornet/training/pretrained.h>

#include <algorithm>
#include <optional>
#include <sstream>

namespace hornet {
namespace {

using internal::ends_with;

constexpr char kBackbone[] = "backbone.";

bool is_counter(const std::string& key) { return ends_with(key, "num_batches_tracked"); }

using State = std::map<std::string, torch::Tensor>;

// The model's name for a tensor of the file, with `backbone.` put on or taken off where that helps.
State::const_iterator find(const State& model, const std::string& key) {
  const auto as_it_is = model.find(key);
  if (as_it_is != model.end()) return as_it_is;
  if (key.compare(0, sizeof(kBackbone) - 1, kBackbone) == 0) {
    return model.find(key.substr(sizeof(kBackbone) - 1));
  }
  return model.find(kBackbone + key);
}

std::string size_text(const torch::Tensor& filter) {
  return std::to_string(filter.size(1)) + "x" + std::to_string(filter.size(2));
}

// The filter [C,h,w,2] at another size, as the authors resize it; nothing if more than that
// differs.
std::optional<torch::Tensor> resized_filter(const torch::Tensor& from, const torch::Tensor& to) {
  const bool filters = from.dim() == 4 && to.dim() == 4 && from.size(0) == to.size(0) &&
                       from.size(3) == 2 && to.size(3) == 2 && from.numel() > 0;
  if (!filters) return std::nullopt;
  return torch::upsample_bilinear2d(from.to(to.scalar_type()).permute({3, 0, 1, 2}),
                                    {to.size(1), to.size(2)}, /*align_corners=*/true)
      .permute({1, 2, 3, 0});
}

void list(std::ostream& out, const char* title, const std::vector<std::string>& keys) {
  constexpr size_t kShown = 10;
  if (keys.empty()) return;
  out << "\n  " << title << " (" << keys.size() << "):";
  for (size_t i = 0; i < std::min(keys.size(), kShown); ++i) out << "\n    " << keys[i];
  if (keys.size() > kShown) out << "\n    ... and " << keys.size() - kShown << " more";
}

}  // namespace

std::string PretrainedReport::text() const {
  std::ostringstream out;
  out << loaded << " of " << loaded + static_cast<int64_t>(untouched.size())
      << " tensors have pretrained weights";
  list(out, "filters that were resized", resized);
  list(out, "not in the file, or of another shape there", untouched);
  list(out, "in the file, and not used", unused);
  return out.str();
}

PretrainedReport load_pretrained(torch::nn::Module& model, const weights::File& file) {
  const torch::NoGradGuard no_grad;
  PretrainedReport report;
  State left = state_of(model);
  for (const auto& [key, stored] : file.tensors) {
    const auto target = find(left, key);
    if (target == left.end()) {
      if (!is_counter(key)) report.unused.push_back(key);
      continue;
    }
    const std::string name = target->first;
    torch::Tensor value = weights::to_torch(stored);
    if (value.sizes() != target->second.sizes()) {
      const auto resized =
          ends_with(name, ".complex_weight") ? resized_filter(value, target->second) : std::nullopt;
      if (!resized) {
        report.unused.push_back(key);
        continue;
      }
      report.resized.push_back(name + ": " + size_text(value) + " to " + size_text(target->second));
      value = *resized;
    }
    torch::Tensor(target->second).copy_(value);
    if (!is_counter(name)) ++report.loaded;
    left.erase(target);
  }
  for (const auto& entry : left) {
    if (!is_counter(entry.first)) report.untouched.push_back(entry.first);
  }
  if (report.loaded == 0) {
    throw Error(
        ErrorCode::kWeights,
        file.path.string() + " has no tensor with a place in the model" +
            (file.tensors.empty() ? "" : "; its first is '" + file.tensors.begin()->first + "'"));
  }
  return report;
}

}  // namespace hornet
