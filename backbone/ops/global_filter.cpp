#include <ATen/core/dispatch/Dispatcher.h>
#include <hornet/backbone/ops/checks.h>
#include <hornet/backbone/ops/global_filter.h>
#include <torch/library.h>

namespace hornet::ops {

torch::Tensor interpolate_filter(const torch::Tensor& complex_weight, c10::SymInt height,
                                 c10::SymInt width) {
  static auto op = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("hornet::interpolate_filter", "")
                       .typed<at::Tensor(const at::Tensor&, c10::SymInt, c10::SymInt)>();
  return op.call(complex_weight, std::move(height), std::move(width));
}

torch::Tensor global_filter(const torch::Tensor& x, const torch::Tensor& complex_weight) {
  static auto op = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("hornet::global_filter", "")
                       .typed<at::Tensor(const at::Tensor&, const at::Tensor&)>();
  return op.call(x, complex_weight);
}

namespace {

at::ScalarType precision_of(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

at::ScalarType precision_of(const at::Tensor& x, const at::Tensor& complex_weight) {
  return at::promote_types(precision_of(x), precision_of(complex_weight));
}

// The weight itself if its size is right already.
at::Tensor resize(const at::Tensor& complex_weight, const c10::SymInt& height,
                  const c10::SymInt& columns) {
  if (complex_weight.sym_size(1) == height && complex_weight.sym_size(2) == columns) {
    return complex_weight;
  }
  return at::upsample_bilinear2d_symint(complex_weight.permute({3, 0, 1, 2}), {height, columns},
                                        /*align_corners=*/true)
      .permute({1, 2, 3, 0});
}

at::Tensor interpolate_filter_composite(const at::Tensor& complex_weight, c10::SymInt height,
                                        c10::SymInt width) {
  check_complex_weight("interpolate_filter", complex_weight);
  TORCH_CHECK(height > 0 && width > 0,
              "hornet::interpolate_filter: a map must have rows and columns, found ", height, " x ",
              width);
  const at::Tensor resized =
      resize(complex_weight.to(precision_of(complex_weight)), height, width / 2 + 1).contiguous();
  // An op's result must be a tensor of its own.
  return resized.is_alias_of(complex_weight) ? resized.clone() : resized;
}

at::Tensor global_filter_meta(const at::Tensor& x, const at::Tensor& complex_weight) {
  check_global_filter(x, complex_weight);
  return at::empty_symint(x.sym_sizes(), x.options().dtype(precision_of(x, complex_weight)));
}

void global_filter_into_composite(const at::Tensor& x, const at::Tensor& complex_weight,
                                  const at::Tensor& out) {
  out.copy_(global_filter(x, complex_weight));
}

// Takes from the spectrum [N,C,H,W/2+1] of a map W wide what its inverse transform drops: of the
// columns 0 and W/2 all but the Hermitian part. GPUs' real transforms leave open what they make of
// the rest.
void keep_hermitian_part(const at::Tensor& spectrum, int64_t width) {
  const auto keep = [&](int64_t column) {
    const at::Tensor values = spectrum.select(3, column);
    const at::Tensor mirrored = values.flip(2).roll(1, 2);  // index h is -h modulo H there
    values.copy_((values + at::conj_physical(mirrored)) / 2);
  };
  keep(0);
  if (width % 2 == 0) keep(width / 2);
}

}  // namespace

torch::Tensor global_filter_composite(const torch::Tensor& x, const torch::Tensor& complex_weight) {
  check_global_filter(x, complex_weight);
  const auto type = precision_of(x, complex_weight);
  if (x.numel() == 0) return at::empty(x.sizes(), x.options().dtype(type));
  const int64_t height = x.size(2), width = x.size(3);
  const at::Tensor kernel =
      at::view_as_complex(resize(complex_weight.to(type), height, width / 2 + 1).contiguous());
  at::Tensor spectrum = at::fft_rfft2(x.to(type), std::nullopt, {2, 3}, "ortho");
  spectrum.mul_(kernel);
  keep_hermitian_part(spectrum, width);
  return at::fft_irfft2(spectrum, at::IntArrayRef{height, width}, {2, 3}, "ortho").contiguous();
}

void global_filter_into(const torch::Tensor& x, const torch::Tensor& complex_weight,
                        const torch::Tensor& out) {
  static auto op = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("hornet::global_filter_into", "")
                       .typed<void(const at::Tensor&, const at::Tensor&, const at::Tensor&)>();
  TORCH_CHECK(out.sizes() == x.sizes() && out.device() == x.device() && out.is_floating_point(),
              "hornet::global_filter_into: out must be ", x.sizes(), " on ", x.device(),
              " as x, of a floating type, found ", out.scalar_type(), " ", out.sizes(), " on ",
              out.device());
  op.call(x, complex_weight, out);
}

TORCH_LIBRARY_FRAGMENT(hornet, m) {
  m.def("interpolate_filter(Tensor complex_weight, SymInt height, SymInt width) -> Tensor",
        interpolate_filter_composite);
  m.def("global_filter(Tensor x, Tensor complex_weight) -> Tensor");
  m.def("global_filter_into(Tensor x, Tensor complex_weight, Tensor(a!) out) -> ()");
}

TORCH_LIBRARY_IMPL(hornet, CompositeExplicitAutograd, m) {
  m.impl("global_filter", global_filter_composite);
  m.impl("global_filter_into", global_filter_into_composite);
}

TORCH_LIBRARY_IMPL(hornet, Meta, m) { m.impl("global_filter", global_filter_meta); }

}  // namespace hornet::ops
