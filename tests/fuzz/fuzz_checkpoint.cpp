// Any bytes through parse(), which recognises the format: either an Error or readable tensors.
#include <hornet/backbone/error.h>

#include "touch_tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    hornet::weights::touch_tensors(
        hornet::weights::parse(reinterpret_cast<const std::byte*>(data), size, "fuzz"));
  } catch (const hornet::Error&) {
  }
  return 0;
}
