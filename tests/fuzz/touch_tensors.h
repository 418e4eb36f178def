// Reads every byte of every tensor, so that AddressSanitizer sees an extent that is too large.
#pragma once

#include <hornet/backbone/weights/tensor_file.h>

namespace hornet::weights {

inline volatile unsigned sink = 0;  // without it, the compiler would drop the reads

inline unsigned sum_bytes(const Tensor& tensor) {
  const int64_t size = element_size(tensor.dtype);
  std::vector<int64_t> index(tensor.shape.size(), 0);
  unsigned sum = 0;
  int64_t at = 0;
  for (int64_t left = tensor.numel(); left > 0; --left) {
    for (int64_t i = 0; i < size; ++i) sum += static_cast<unsigned>(tensor.data[at * size + i]);
    for (size_t d = index.size(); d-- > 0;) {
      at += tensor.strides[d];
      if (++index[d] < tensor.shape[d]) break;
      at -= index[d] * tensor.strides[d];
      index[d] = 0;
    }
  }
  return sum;
}

// A file may name its bytes in many tensors; a bound keeps one input from taking seconds.
inline void touch_tensors(const File& file) {
  constexpr int64_t kMostElements = int64_t{1} << 20;
  int64_t elements = 0;
  for (const auto& named : file.tensors) {
    elements += named.second.numel();
    if (elements > kMostElements) break;
    sink = sink + sum_bytes(named.second) + static_cast<unsigned>(to_floats(named.second).size());
  }
}

}  // namespace hornet::weights
