#include <hornet/backbone/depthwise_conv.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/gnconv.h>
#include <hornet/backbone/ops/gnconv.h>
#include <hornet/backbone/plan/prepared_gnconv.h>

#include <numeric>

namespace hornet {
namespace {

torch::nn::Conv2d pointwise(int64_t in, int64_t out) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 1));
}

torch::nn::AnyModule make_mixer(const GnConvOptions& options, int64_t channels) {
  if (options.mixer()) return options.mixer()(channels);
  if (options.global_filter()) {
    return torch::nn::AnyModule(
        GlobalLocalFilter(GlobalLocalFilterOptions(channels, *options.global_filter())));
  }
  return torch::nn::AnyModule(DepthwiseConv(channels, /*kernel=*/7, /*bias=*/true));
}

}  // namespace

std::vector<int64_t> gnconv_widths(int64_t channels, int64_t order) {
  if (order < 1 || order > 30 || channels < 1 || channels % (int64_t{1} << (order - 1)) != 0) {
    throw Error(ErrorCode::kUsage,
                "gnConv of order " + std::to_string(order) +
                    " needs order >= 1 and channels that are a multiple of 2^(order-1), got " +
                    std::to_string(channels) + " channels");
  }
  std::vector<int64_t> widths;
  for (int64_t k = order - 1; k >= 0; --k) widths.push_back(channels >> k);
  return widths;
}

GnConvImpl::GnConvImpl(const GnConvOptions& options_)
    : options(options_), widths_(gnconv_widths(options.channels(), options.order())) {
  const int64_t channels = options.channels();
  if (options.in_channels() == 0) options.in_channels(channels);
  const int64_t mixed = std::accumulate(widths_.begin(), widths_.end(), int64_t{0});
  proj_in = register_module("proj_in", pointwise(options.in_channels(), 2 * channels));
  dwconv = make_mixer(options, mixed);
  register_module("dwconv", dwconv.ptr());
  proj_out = register_module("proj_out", pointwise(channels, channels));
  register_module("pws", pws);
  for (size_t k = 0; k + 1 < widths_.size(); ++k) {
    pws->push_back(pointwise(widths_[k], widths_[k + 1]));
  }
}

void GnConvImpl::pretty_print(std::ostream& stream) const {
  stream << "hornet::GnConv(channels=" << options.channels() << ", order=" << options.order()
         << ")";
}

void GnConvImpl::prepare() { prepared_ = std::make_shared<plan::PreparedGnConv>(); }

int64_t GnConvImpl::prepared_bytes() const { return prepared_ ? prepared_->bytes() : 0; }

torch::Tensor GnConvImpl::forward(const torch::Tensor& x) {
  if (prepared_) {
    if (const auto y = prepared_->forward(*this, x)) return *y;
  }
  const int64_t first = widths_.front();
  const torch::Tensor projected = proj_in->forward(x);
  const torch::Tensor q = dwconv.forward(projected.narrow(1, first, projected.size(1) - first));
  std::vector<torch::Tensor> weights, biases;
  for (const auto& f : *pws) {
    weights.push_back(f->as<torch::nn::Conv2d>()->weight);
    biases.push_back(f->as<torch::nn::Conv2d>()->bias);
  }
  const torch::Tensor p = ops::gnconv(projected.narrow(1, 0, first), q.to(projected.scalar_type()),
                                      weights, biases, options.scale());
  return proj_out->forward(p);
}

}  // namespace hornet
