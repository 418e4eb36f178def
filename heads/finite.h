// Values that are not finite would pass as "nothing found", or as any class.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <c10/util/Exception.h>

#include <cmath>

namespace hornet {

// An error unless all `scores`, which a network has given, are finite. Waits for them, once.
inline void check_finite(at::ArrayRef<at::Tensor> scores) {
  at::Tensor sum;
  for (const at::Tensor& part : scores) {
    sum = sum.defined() ? sum + part.sum(at::kFloat) : part.sum(at::kFloat);
  }
  TORCH_CHECK(!sum.defined() || std::isfinite(sum.item<float>()),
              "the network's scores are not finite: its values leave the range of fp16 (take bf16 "
              "or fp32 then), or its weights are damaged");
}

}  // namespace hornet
