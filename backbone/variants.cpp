#include <hornet/backbone/error.h>
#include <hornet/backbone/hornet.h>

#include <algorithm>

namespace hornet {
namespace {

using Depths = std::array<int64_t, 4>;
constexpr Depths kPublishedDepths = {2, 3, 18, 2};

// Sizes of the learned filters in stages 2 and 3; {0, 0} stands for a 7x7 convolution.
using Filters = std::array<FilterSize, 2>;
constexpr Filters kNone = {{{0, 0}, {0, 0}}};
constexpr Filters k224 = {{{14, 8}, {7, 4}}};
constexpr Filters k384 = {{{24, 13}, {12, 7}}};

struct Variant {
  const char* name;
  int64_t base_dim;
  Filters classification, detection, segmentation;
  Depths depths = kPublishedDepths;
};

// The published variants, and small ones of ours. Orders 2, 3, 4, 5 are common to all of them.
constexpr Variant kVariants[] = {
    {"hornet_tiny_7x7", 64, kNone, kNone, kNone},
    {"hornet_tiny_gf", 64, k224, k224, k384},
    {"hornet_small_7x7", 96, kNone, kNone, kNone},
    {"hornet_small_gf", 96, k224, k224, k384},
    {"hornet_base_7x7", 128, kNone, kNone, kNone},
    {"hornet_base_gf", 128, k224, k224, k384},
    {"hornet_base_gf_img384", 128, k384, k384, k384},
    {"hornet_large_7x7", 192, kNone, kNone, kNone},
    {"hornet_large_gf", 192, k224, k384, k384},
    {"hornet_large_gf_img384", 192, k384, k384, k384},
    {"hornet_nano_7x7", 48, kNone, kNone, kNone, {2, 2, 7, 2}},
    {"hornet_nano_gf", 48, k224, k224, k224, {2, 2, 7, 2}},
    {"hornet_pico_7x7", 32, kNone, kNone, kNone, {2, 2, 5, 2}},
    {"hornet_pico_gf", 32, k224, k224, k224, {2, 2, 5, 2}},
};

bool is_published(const Variant& variant) { return variant.depths == kPublishedDepths; }

const Filters& filters_for(const Variant& variant, FilterUse use) {
  switch (use) {
    case FilterUse::kDetection:
      return variant.detection;
    case FilterUse::kSegmentation:
      return variant.segmentation;
    case FilterUse::kClassification:
      break;
  }
  return variant.classification;
}

HorNetOptions to_options(const Variant& variant, FilterUse use) {
  HorNetOptions options;
  options.base_dim = variant.base_dim;
  for (size_t i = 0; i < variant.depths.size(); ++i) options.stages[i].depth = variant.depths[i];
  const Filters& filters = filters_for(variant, use);
  for (size_t i = 0; i < filters.size(); ++i) {
    if (filters[i].h > 0) options.stages[i + 2].global_filter = filters[i];
  }
  return options;
}

bool same_architecture(const HorNetOptions& a, const HorNetOptions& b) {
  auto same_stage = [](const StageOptions& s, const StageOptions& t) {
    return s.depth == t.depth && s.order == t.order &&
           s.global_filter.has_value() == t.global_filter.has_value() &&
           (!s.global_filter ||
            (s.global_filter->h == t.global_filter->h && s.global_filter->w == t.global_filter->w));
  };
  return a.base_dim == b.base_dim &&
         std::equal(a.stages.begin(), a.stages.end(), b.stages.begin(), same_stage);
}

}  // namespace

HorNetOptions hornet_variant(const std::string& name, FilterUse use) {
  std::string known;
  for (const Variant& variant : kVariants) {
    if (name == variant.name) return to_options(variant, use);
    known += std::string(" ") + variant.name;
  }
  throw Error(ErrorCode::kUsage, "no HorNet variant is called '" + name + "'; there are:" + known);
}

std::vector<std::string> hornet_variant_names() {
  std::vector<std::string> names;
  for (const Variant& variant : kVariants) {
    if (is_published(variant)) names.emplace_back(variant.name);
  }
  return names;
}

std::vector<std::string> hornet_small_variant_names() {
  std::vector<std::string> names;
  for (const Variant& variant : kVariants) {
    if (!is_published(variant)) names.emplace_back(variant.name);
  }
  return names;
}

std::string variant_name(const HorNetOptions& options, FilterUse use) {
  for (const Variant& variant : kVariants) {
    if (same_architecture(options, to_options(variant, use))) return variant.name;
  }
  return "";
}

int64_t classification_size(const HorNetOptions& options) {
  const std::optional<FilterSize>& filter = options.stages[2].global_filter;
  return filter ? 16 * filter->h : 224;
}

}  // namespace hornet
