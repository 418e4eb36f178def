#include <hornet/backbone/weights/internal/torch_checkpoint.h>

#include <charconv>

namespace hornet::weights::internal {
namespace {

using pickle::Kind;
using pickle::Value;

// Values may be shared: without a limit, a small file could have a large text copied any number
// of times. What exceeds it is left out.
class Budget {
 public:
  bool spend(size_t characters) {
    constexpr size_t kOverhead = sizeof(std::string);
    if (left_ < kOverhead || characters > left_ - kOverhead) return false;
    left_ -= characters + kOverhead;
    return true;
  }

 private:
  size_t left_ = size_t{1} << 24;
};

bool is_sequence(const Value* value) {
  return value && (value->is(Kind::kTuple) || value->is(Kind::kList));
}

// A number or text as Python would print it, or nothing.
std::optional<std::string> scalar_text(const Value& value, Budget& budget) {
  if (value.is(Kind::kText) && !budget.spend(value.text.size())) return std::nullopt;
  switch (value.kind) {
    case Kind::kBool:
      return value.integer ? "True" : "False";
    case Kind::kInt:
      return std::to_string(value.integer);
    case Kind::kText:
      return std::string(value.text);
    case Kind::kFloat: {
      char digits[32];
      const auto end = std::to_chars(digits, digits + sizeof(digits), value.real).ptr;
      return std::string(digits, end);
    }
    default:
      return std::nullopt;
  }
}

// Leaves what is there alone, so that 'meta' wins over the checkpoint's top.
void add_scalars(const Value& dict, std::map<std::string, std::string>& entries, Budget& budget) {
  for (const auto& [key, value] : dict_entries(dict)) {
    if (!key->is(Kind::kText) || key->text == "CLASSES") continue;
    if (const auto text = scalar_text(*value, budget)) entries.emplace(key->text, *text);
  }
}

// A dataset of one class often has a plain text here: ('person') for ('person',).
std::vector<std::string> read_classes(const Value* value, Budget& budget) {
  std::vector<std::string> classes;
  if (value && value->is(Kind::kText)) classes.emplace_back(value->text);
  if (!is_sequence(value)) return classes;
  for (const Value* name : value->items) {
    if (!name->is(Kind::kText) || !budget.spend(name->text.size())) return {};
    classes.emplace_back(name->text);
  }
  return classes;
}

std::optional<std::array<uint8_t, 3>> read_colour(const Value* value) {
  std::array<uint8_t, 3> colour{};
  if (!is_sequence(value) || value->items.size() != colour.size()) return std::nullopt;
  for (size_t i = 0; i < colour.size(); ++i) {
    const Value& level = *value->items[i];
    if (!level.is(Kind::kInt) || level.integer < 0 || level.integer > 255) return std::nullopt;
    colour[i] = static_cast<uint8_t>(level.integer);
  }
  return colour;
}

std::vector<std::array<uint8_t, 3>> read_palette(const Value* value) {
  std::vector<std::array<uint8_t, 3>> palette;
  if (!is_sequence(value)) return palette;
  for (const Value* item : value->items) {
    const auto colour = read_colour(item);
    if (!colour) return {};
    palette.push_back(*colour);
  }
  return palette;
}

}  // namespace

Metadata interpret_metadata(const Value& root) {
  Metadata meta;
  Budget budget;
  if (const Value* described = dict_find(root, "meta")) {
    add_scalars(*described, meta.entries, budget);
    // mmcv writes CLASSES, mmengine dataset_meta['classes'], its first versions in capitals.
    const Value* dataset = dict_find(*described, "dataset_meta");
    for (const Value* dict : {described, dataset ? dataset : described}) {
      for (const char* key : {"CLASSES", "classes"}) {
        if (meta.classes.empty()) meta.classes = read_classes(dict_find(*dict, key), budget);
      }
      for (const char* key : {"PALETTE", "palette"}) {
        if (meta.palette.empty()) meta.palette = read_palette(dict_find(*dict, key));
      }
    }
  }
  add_scalars(root, meta.entries, budget);
  return meta;
}

}  // namespace hornet::weights::internal
