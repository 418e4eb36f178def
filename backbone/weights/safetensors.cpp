// A length, a JSON header of that length, and the tensors' bytes.
#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/internal/dtypes.h>
#include <hornet/backbone/weights/internal/formats.h>
#include <hornet/backbone/weights/internal/output.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace hornet::weights {
namespace internal {
namespace {

using nlohmann::json;

constexpr char kMetadataKey[] = "__metadata__";
constexpr size_t kLengthSize = 8;
constexpr uint64_t kLongestHeader = 100'000'000;  // the format's own limit
constexpr int kDeepestHeader = 3;                 // {name: {"shape": [...]}}
constexpr size_t kHeaderAlignment = 8;

// Bounds the nesting and refuses repeated keys, which the parser by itself would not.
json parse_json(std::string_view text) {
  std::vector<std::set<std::string>> keys(kDeepestHeader + 1);
  const auto check = [&keys](int depth, json::parse_event_t event, json& parsed) {
    const bool opens =
        event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    if (opens && depth >= kDeepestHeader) throw FormatError("its JSON is nested too deeply");
    if (opens) keys[depth + 1].clear();
    if (event == json::parse_event_t::key && !keys[depth].insert(parsed).second) {
      throw FormatError("its header has " + in_quotes(parsed.get_ref<std::string&>()) + " twice");
    }
    return true;
  };
  return json::parse(text, check);
}

std::vector<int64_t> integers(const json& list) {
  if (!list.is_array()) throw FormatError("its shape or data_offsets are no list");
  std::vector<int64_t> numbers;
  for (const json& item : list) {
    const auto limit = static_cast<uint64_t>(INT64_MAX);
    if (!item.is_number_unsigned() || item.get<uint64_t>() > limit) {
      throw FormatError("its shape or data_offsets are no sizes: " + item.dump());
    }
    numbers.push_back(item.get<int64_t>());
  }
  return numbers;
}

Tensor read_tensor(const json& described, Bytes data) {
  if (!described.is_object()) throw FormatError("it is not described by a JSON object");
  const auto text = described.value("dtype", std::string());
  const auto dtype = find_dtype(&DTypeRow::safetensors, text);
  if (!dtype) throw FormatError("its dtype " + in_quotes(text) + " is not read");
  Tensor tensor;
  tensor.dtype = *dtype;
  tensor.shape = integers(described.value("shape", json()));
  const int64_t size = checked_multiply(checked_numel(tensor.shape), element_size(*dtype));
  tensor.strides = contiguous_strides(tensor.shape);
  const auto offsets = integers(described.value("data_offsets", json()));
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] - offsets[0] != size) {
    throw FormatError("its shape takes " + std::to_string(size) +
                      " bytes, and its data_offsets say otherwise");
  }
  tensor.data = data.sub(offsets[0], size).data;
  return tensor;
}

std::vector<std::string> read_classes(const json& list) {
  return list.get<std::vector<std::string>>();
}

std::vector<std::array<uint8_t, 3>> read_palette(const json& list) {
  std::vector<std::array<uint8_t, 3>> palette;
  for (const json& item : list) {
    const auto levels = integers(item);
    if (levels.size() != 3) throw FormatError("a colour has not 3 levels");
    auto& colour = palette.emplace_back();
    for (size_t i = 0; i < colour.size(); ++i) {
      if (levels[i] > 255) throw FormatError("a colour's level exceeds 255");
      colour[i] = static_cast<uint8_t>(levels[i]);
    }
  }
  return palette;
}

// The JSON text under `key`, which is then taken from the entries. Text of another kind may
// bear the same key: it stays, and the result is empty.
template <typename T>
T take_entry(std::map<std::string, std::string>& entries, const std::string& key,
             T (*interpret)(const json&)) {
  const auto found = entries.find(key);
  if (found == entries.end()) return {};
  try {
    T value = interpret(parse_json(found->second));
    entries.erase(found);
    return value;
  } catch (const std::runtime_error&) {
    return {};
  } catch (const json::exception&) {
    return {};
  }
}

Metadata read_metadata(const json& described) {
  if (!described.is_object()) throw FormatError("its __metadata__ is not a JSON object");
  Metadata meta;
  for (const auto& [key, value] : described.items()) {
    if (!value.is_string()) throw FormatError("its __metadata__ " + in_quotes(key) + " is no text");
    meta.entries[key] = value.get<std::string>();
  }
  meta.classes = take_entry(meta.entries, "classes", read_classes);
  meta.palette = take_entry(meta.entries, "palette", read_palette);
  return meta;
}

uint64_t header_length(Bytes file) {
  const auto length = Cursor(file).read<uint64_t>();
  if (length > kLongestHeader || length > file.size - kLengthSize) {
    throw FormatError("its header of " + std::to_string(length) +
                      " bytes does not fit the file; was its download complete?");
  }
  return length;
}

File read_header(const json& header, Bytes data) {
  if (!header.is_object()) throw FormatError("its header is not a JSON object");
  File file;
  file.format = "safetensors";
  for (const auto& [name, described] : header.items()) {
    if (name == kMetadataKey) {
      file.meta = read_metadata(described);
      continue;
    }
    try {
      file.tensors[name] = read_tensor(described, data);
    } catch (const FormatError& error) {
      throw FormatError("tensor " + in_quotes(name) + ": " + error.what());
    }
  }
  return file;
}

json metadata_json(const Metadata& meta) {
  json entries = json::object();
  for (const auto& [key, text] : meta.entries) entries[key] = text;
  if (!meta.classes.empty()) entries["classes"] = json(meta.classes).dump();
  if (!meta.palette.empty()) entries["palette"] = json(meta.palette).dump();
  return entries;
}

using Named = std::pair<const std::string, Tensor>;

// Larger elements first, so that each tensor is aligned to its own element size.
std::vector<const Named*> in_file_order(const std::map<std::string, Tensor>& tensors) {
  std::vector<const Named*> order;
  for (const Named& named : tensors) order.push_back(&named);
  std::stable_sort(order.begin(), order.end(), [](const Named* a, const Named* b) {
    return element_size(a->second.dtype) > element_size(b->second.dtype);
  });
  return order;
}

std::string make_header(const std::vector<const Named*>& order, const Metadata& meta) {
  json header = json::object();
  int64_t offset = 0;
  for (const auto* named : order) {
    const Tensor& tensor = named->second;
    const int64_t end = offset + tensor.numel() * element_size(tensor.dtype);
    header[named->first] = {{"dtype", dtype_row(tensor.dtype).safetensors},
                            {"shape", tensor.shape},
                            {"data_offsets", {offset, end}}};
    offset = end;
  }
  if (json entries = metadata_json(meta); !entries.empty()) header[kMetadataKey] = entries;
  std::string text = header.dump();
  text.resize((text.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  return text;
}

}  // namespace

bool is_safetensors(Bytes file) {
  return file.size > kLengthSize && file.data[kLengthSize] == std::byte{'{'};
}

File read_safetensors(Bytes file) {
  const uint64_t length = header_length(file);
  const uint64_t start = kLengthSize + length;
  try {
    const json header = parse_json(file.sub(kLengthSize, length).text());
    return read_header(header, file.sub(start, file.size - start));
  } catch (const json::exception& error) {
    throw FormatError("its header is not the JSON of safetensors: " + in_quotes(error.what()));
  }
}

}  // namespace internal

void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, Tensor>& tensors, const Metadata& meta) {
  internal::require_utf8(path, tensors, meta);
  if (tensors.count(internal::kMetadataKey)) {
    throw Error(ErrorCode::kOutput, path.string() + " cannot be written: a tensor is named " +
                                        internal::kMetadataKey + ", which the format reserves");
  }
  internal::OutputFile file(path);
  const auto order = internal::in_file_order(tensors);
  const std::string header = internal::make_header(order, meta);
  const uint64_t length = header.size();
  file.write(&length, sizeof(length));
  file.write(header.data(), header.size());
  for (const auto* named : order) file.write(named->second);
  file.commit();
}

}  // namespace hornet::weights
