#include <hornet/backbone/weights/internal/dtypes.h>
#include <hornet/backbone/weights/internal/torch_checkpoint.h>

#include <algorithm>

namespace hornet::weights::internal {
namespace {

using pickle::Kind;
using pickle::Value;

struct Call {
  const Value* function = nullptr;
  const Value* args = nullptr;

  bool is(std::string_view name) const { return function->is_global("torch._utils", name); }
  // Argument i, or nullptr.
  const Value* arg(size_t i) const {
    return args && args->is(Kind::kTuple) && i < args->items.size() ? args->items[i] : nullptr;
  }
};

std::optional<Call> as_call(const Value* value) {
  if (!value || !value->is(Kind::kObject) || !value->callee) return std::nullopt;
  return Call{value->callee, value->args};
}

// Parameters and tensor subclasses wrap the call that makes the plain tensor.
std::optional<Call> unwrapped_call(const Value* value) {
  constexpr int kDeepest = 4;
  auto call = as_call(value);
  for (int depth = 0; call && depth < kDeepest; ++depth) {
    if (call->is("_rebuild_parameter") || call->is("_rebuild_parameter_with_state")) {
      call = as_call(call->arg(0));
    } else if (call->function->is_global("torch._tensor", "_rebuild_from_type_v2") &&
               call->arg(0)) {
      call = Call{call->arg(0), call->arg(2)};
    } else {
      break;
    }
  }
  return call;
}

// A tensor that can be read, or one of a kind that cannot (sparse, quantised, ...).
bool rebuilds_tensor(const std::optional<Call>& call) {
  constexpr std::string_view kPrefix = "_rebuild_";
  return call && call->function->is(Kind::kGlobal) && call->function->module == "torch._utils" &&
         call->function->text.substr(0, kPrefix.size()) == kPrefix;
}

int64_t integer(const Value* value) {
  if (!value || !value->is(Kind::kInt))
    throw FormatError("its shape, strides or offset have something else than integers");
  return value->integer;
}

std::vector<int64_t> integers(const Value* tuple) {
  const bool plausible = tuple && tuple->is(Kind::kTuple) && tuple->items.size() <= kMostDimensions;
  if (!plausible) throw FormatError("its shape or strides are no tuple of numbers");
  std::vector<int64_t> numbers;
  for (const Value* item : tuple->items) numbers.push_back(integer(item));
  return numbers;
}

// The element type: version 3 of the call names it, before that the storage's class did.
DType tensor_dtype(const Call& call, const StorageRef& storage) {
  if (!call.is("_rebuild_tensor_v3")) {
    if (storage.dtype) return *storage.dtype;
  } else if (const Value* dtype = call.arg(6); dtype && dtype->is(Kind::kGlobal)) {
    if (const auto found = find_dtype(&DTypeRow::name, dtype->text)) return *found;
  }
  throw FormatError(
      "its elements are of a type that is not read; float64, float32, float16, bfloat16, int64, "
      "int32, int16, int8, uint8 and bool are");
}

// Points the tensor into its storage, once all of it is known to lie inside.
void place(Tensor& tensor, int64_t offset, Bytes storage, size_t file_size) {
  const int64_t numel = checked_numel(tensor.shape);
  const int64_t size = element_size(tensor.dtype);
  if (static_cast<uint64_t>(checked_multiply(numel, size)) > file_size) {
    throw FormatError("it is larger than its file");
  }
  int64_t end = checked_add(offset, 1);
  for (size_t d = 0; d < tensor.shape.size(); ++d) {
    if (tensor.strides[d] < 0) throw FormatError("it has a negative stride");
    if (numel > 0) {
      end = checked_add(end, checked_multiply(tensor.shape[d] - 1, tensor.strides[d]));
    }
  }
  if (offset < 0) throw FormatError("it begins before its storage");
  tensor.data = storage.data;
  if (numel == 0) return;
  const int64_t bytes = checked_multiply(end, size);
  if (static_cast<uint64_t>(bytes) > storage.size) {
    throw FormatError("it needs " + std::to_string(bytes) + " bytes of a storage that has " +
                      std::to_string(storage.size));
  }
  tensor.data += offset * size;
}

// torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, ...); v1 and v3 begin alike.
Tensor read_tensor(const Call& call, const Storages& storages, size_t file_size) {
  if (!call.is("_rebuild_tensor") && !call.is("_rebuild_tensor_v2") &&
      !call.is("_rebuild_tensor_v3")) {
    throw FormatError("it is made by " + in_quotes(call.function->text) +
                      "; only dense tensors are read");
  }
  const Value* source = call.arg(0);
  const auto ref = source && source->is(Kind::kPersistent) ? storage_ref(*source) : std::nullopt;
  if (!ref) throw FormatError("it has no storage");
  Tensor tensor;
  tensor.dtype = tensor_dtype(call, *ref);
  tensor.shape = integers(call.arg(2));
  tensor.strides = integers(call.arg(3));
  if (tensor.shape.size() != tensor.strides.size()) {
    throw FormatError("it has " + std::to_string(tensor.shape.size()) + " dimensions and " +
                      std::to_string(tensor.strides.size()) + " strides");
  }
  const auto storage = storages.find(ref->key);
  if (storage == storages.end()) {
    throw FormatError("its storage " + in_quotes(ref->key) + " is not in the file");
  }
  place(tensor, checked_add(integer(call.arg(1)), ref->view_offset), storage->second, file_size);
  return tensor;
}

bool has_tensors(const Value& value) {
  const auto entries = dict_entries(value);
  return std::any_of(entries.begin(), entries.end(), [](const auto& entry) {
    return entry.first->is(Kind::kText) && rebuilds_tensor(unwrapped_call(entry.second));
  });
}

std::string full_name(const Value& global) {
  return std::string(global.module) + "." + std::string(global.text);
}

[[noreturn]] void fail_without_tensors(const Value& root) {
  std::string keys;
  for (const auto& [key, value] : dict_entries(root)) {
    if (keys.size() > 200) break;
    if (key->is(Kind::kText)) keys += (keys.empty() ? "" : ", ") + in_quotes(key->text);
  }
  for (const Value* value : {&root, dict_find(root, "model"), dict_find(root, "state_dict")}) {
    const auto call = as_call(value);
    if (call && call->function->is(Kind::kGlobal) && dict_entries(*value).empty()) {
      throw FormatError("it holds an object of the class " + in_quotes(full_name(*call->function)) +
                        ", and classes are never loaded; save model.state_dict() instead");
    }
  }
  throw FormatError(
      "there are no tensors under 'state_dict', 'model' or at the top; its keys are " +
      (keys.empty() ? "none" : keys));
}

const Value& find_state_dict(const Value& root) {
  for (const char* key : {"state_dict", "model"}) {
    const Value* inner = dict_find(root, key);
    if (inner && has_tensors(*inner)) return *inner;
  }
  if (!has_tensors(root)) fail_without_tensors(root);
  return root;
}

// DataParallel puts `module.` before every name.
void strip_module_prefix(std::map<std::string, Tensor>& tensors) {
  constexpr std::string_view kPrefix = "module.";
  for (const auto& entry : tensors) {
    if (entry.first.compare(0, kPrefix.size(), kPrefix) != 0) return;
  }
  std::map<std::string, Tensor> stripped;
  for (auto& [name, tensor] : tensors) {
    stripped.emplace(name.substr(kPrefix.size()), std::move(tensor));
  }
  tensors = std::move(stripped);
}

}  // namespace

std::optional<StorageRef> storage_ref(const Value& persistent) {
  const Value& id = *persistent.items.at(0);
  const bool known = id.is(Kind::kTuple) && id.items.size() >= 5 && id.items[0]->is(Kind::kText) &&
                     id.items[0]->text == "storage" && id.items[1]->is(Kind::kGlobal) &&
                     id.items[2]->is(Kind::kText);
  if (!known) return std::nullopt;
  StorageRef ref;
  ref.key = id.items[2]->text;
  ref.dtype = find_dtype(&DTypeRow::torch_storage, id.items[1]->text);
  if (ref.dtype) {
    ref.element_size = element_size(*ref.dtype);
  } else if (id.items[1]->text == "UntypedStorage") {
    ref.element_size = 1;
  }
  // (key, offset, size) where the legacy layout's storage is a part of another one.
  if (id.items.size() >= 6 && id.items[5]->is(Kind::kTuple) && id.items[5]->items.size() == 3) {
    ref.view_offset = integer(id.items[5]->items[1]);
  }
  return ref;
}

std::vector<std::pair<const Value*, const Value*>> dict_entries(const Value& value) {
  std::vector<std::pair<const Value*, const Value*>> entries;
  // Python 2 passed an OrderedDict's items as [[key, value], ...] to its constructor.
  const auto call = as_call(&value);
  if (const Value* pairs = call ? call->arg(0) : nullptr; pairs && pairs->is(Kind::kList)) {
    for (const Value* pair : pairs->items) {
      if (pair->items.size() == 2) entries.emplace_back(pair->items[0], pair->items[1]);
    }
  }
  entries.insert(entries.end(), value.entries.begin(), value.entries.end());
  return entries;
}

const Value* dict_find(const Value& value, std::string_view key) {
  const Value* found = nullptr;
  for (const auto& [name, item] : dict_entries(value)) {
    if (name->is(Kind::kText) && name->text == key) found = item;
  }
  return found;
}

File interpret_checkpoint(const Value& root, const Storages& storages, size_t file_size) {
  File file;
  for (const auto& [key, value] : dict_entries(find_state_dict(root))) {
    const auto call = unwrapped_call(value);
    if (!key->is(Kind::kText) || !rebuilds_tensor(call)) continue;
    try {
      file.tensors[std::string(key->text)] = read_tensor(*call, storages, file_size);
    } catch (const FormatError& error) {
      throw FormatError("tensor " + in_quotes(key->text) + ": " + error.what());
    }
  }
  strip_module_prefix(file.tensors);
  file.meta = interpret_metadata(root);
  return file;
}

}  // namespace hornet::weights::internal
