// The readers behind parse(), one per format. They throw FormatError.
#pragma once

#include <hornet/backbone/weights/internal/bytes.h>
#include <hornet/backbone/weights/tensor_file.h>

namespace hornet::weights::internal {

bool is_zip(Bytes file);
bool is_safetensors(Bytes file);
bool is_pickle(Bytes file);

File read_torch_zip(Bytes file);
File read_torch_legacy(Bytes file);
File read_safetensors(Bytes file);

}  // namespace hornet::weights::internal
