// What the ops check at entry, the same on each device and for symbolic sizes. A failure names the
// op and the argument, and says what was found.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

namespace hornet::ops {

// `what` is of the type and on the device of `p`.
inline void check_like_p(const at::Tensor& what, const char* name, const at::Tensor& p) {
  TORCH_CHECK(what.scalar_type() == p.scalar_type() && what.device() == p.device(),
              "hornet::gnconv: ", name, " must be ", p.scalar_type(), " on ", p.device(),
              " like p, found ", what.scalar_type(), " on ", what.device());
}

inline void check_gnconv(const at::Tensor& p, const at::Tensor& q, at::TensorList weights,
                         at::TensorList biases) {
  TORCH_CHECK(p.dim() == 4 && q.dim() == 4, "hornet::gnconv: p and q must be [N,C,H,W], found ",
              p.sym_sizes(), " and ", q.sym_sizes());
  TORCH_CHECK(p.is_floating_point(), "hornet::gnconv: p must be of a floating type, found ",
              p.scalar_type());
  for (const int64_t d : {0, 2, 3}) {
    TORCH_CHECK(p.sym_size(d) == q.sym_size(d),
                "hornet::gnconv: p and q must agree but for their channels, found ", p.sym_sizes(),
                " and ", q.sym_sizes());
  }
  TORCH_CHECK(weights.size() == biases.size(), "hornet::gnconv: there must be one bias a weight, ",
              "found ", weights.size(), " weights and ", biases.size(), " biases");
  check_like_p(q, "q", p);
  c10::SymInt width = p.sym_size(1), total = width;
  for (size_t k = 0; k < weights.size(); ++k) {
    const at::Tensor &weight = weights[k], &bias = biases[k];
    check_like_p(weight, "a weight", p);
    check_like_p(bias, "a bias", p);
    const bool pointwise = weight.dim() == 2 || (weight.dim() == 4 && weight.sym_size(2) == 1 &&
                                                 weight.sym_size(3) == 1);
    TORCH_CHECK(pointwise && weight.sym_size(1) == width && bias.dim() == 1 &&
                    bias.sym_size(0) == weight.sym_size(0),
                "hornet::gnconv: weight ", k, " must be [D,", width, "] or [D,", width,
                ",1,1] and its bias [D], found ", weight.sym_sizes(), " and ", bias.sym_sizes());
    width = weight.sym_size(0);
    total += width;
  }
  TORCH_CHECK(q.sym_size(1) == total, "hornet::gnconv: q must have ", total,
              " channels, as many as all products together, found ", q.sym_sizes());
}

inline void check_complex_weight(const char* op, const at::Tensor& complex_weight) {
  TORCH_CHECK(complex_weight.dim() == 4 && complex_weight.sym_size(3) == 2 &&
                  complex_weight.is_floating_point(),
              "hornet::", op, ": complex_weight must be [C,h,w,2] of a floating type, found ",
              complex_weight.scalar_type(), " ", complex_weight.sym_sizes());
}

inline void check_global_filter(const at::Tensor& x, const at::Tensor& complex_weight) {
  check_complex_weight("global_filter", complex_weight);
  TORCH_CHECK(x.dim() == 4 && x.is_floating_point(),
              "hornet::global_filter: x must be [N,C,H,W] of a floating type, found ",
              x.scalar_type(), " ", x.sym_sizes());
  TORCH_CHECK(x.sym_size(2) > 0 && x.sym_size(3) > 0,
              "hornet::global_filter: x must have rows and columns, found ", x.sym_sizes());
  TORCH_CHECK(complex_weight.sym_size(0) == x.sym_size(1),
              "hornet::global_filter: complex_weight must have a filter for each of the ",
              x.sym_size(1), " channels of x, found ", complex_weight.sym_sizes());
  TORCH_CHECK(x.device() == complex_weight.device(), "hornet::global_filter: x is on ", x.device(),
              ", complex_weight on ", complex_weight.device());
}

}  // namespace hornet::ops
