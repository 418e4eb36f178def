// From the values of a checkpoint's pickle to named tensors and metadata.
#pragma once

#include <hornet/backbone/weights/internal/bytes.h>
#include <hornet/backbone/weights/internal/pickle.h>
#include <hornet/backbone/weights/tensor_file.h>

#include <map>
#include <optional>
#include <string_view>

namespace hornet::weights::internal {

// What a pickle says about bytes outside it: ('storage', torch.FloatStorage, key, device, size)
// and, in the legacy layout, which part of it is meant.
struct StorageRef {
  std::string_view key;
  std::optional<DType> dtype;  // none: untyped, or of a type that is not read
  int64_t element_size = 0;    // 0: of a type that is not read
  int64_t view_offset = 0;     // in elements
};

// Nothing where the value refers to something else, as pickled modules did to their source code.
std::optional<StorageRef> storage_ref(const pickle::Value& persistent);

using Storages = std::map<std::string_view, Bytes>;

// The entries of a dict or of an object that behaves like one, such as an OrderedDict.
std::vector<std::pair<const pickle::Value*, const pickle::Value*>> dict_entries(
    const pickle::Value& value);

// The value under a text key (the last one, as in Python), or nullptr.
const pickle::Value* dict_find(const pickle::Value& value, std::string_view key);

// Finds the state dict and the metadata. No tensor may be larger than the file, `file_size`.
File interpret_checkpoint(const pickle::Value& root, const Storages& storages, size_t file_size);

// The part of it that reads 'meta' and the scalars beside it.
Metadata interpret_metadata(const pickle::Value& root);

}  // namespace hornet::weights::internal
