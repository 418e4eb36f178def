#include <hornet/backbone/error.h>
#include <hornet/backbone/global_local_filter.h>
#include <hornet/backbone/ops/global_filter.h>

#include <list>
#include <mutex>

namespace hornet {

// Interpolated filters of the last few map sizes. An entry is good as long as the weight is the
// tensor, and the version of it, that the entry was made from: `source_` shares storage and
// version counter with that tensor, and keeps its memory from being used for another one.
class GlobalLocalFilterImpl::FilterCache {
 public:
  torch::Tensor get(const torch::Tensor& weight, int64_t height, int64_t width) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!is_current(weight)) {
      entries_.clear();
      source_ = weight.detach();
      version_ = source_._version();
    }
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->height == height && entry->width == width) {
        entries_.splice(entries_.begin(), entries_, entry);
        return entry->filter;
      }
    }
    entries_.push_front({height, width, ops::interpolate_filter(source_, height, width)});
    if (entries_.size() > kCachedSizes) entries_.pop_back();
    return entries_.front().filter;
  }

  size_t size() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return entries_.size();
  }

  void clear() {
    std::lock_guard<std::mutex> lock(mutex_);
    entries_.clear();
    source_.reset();
  }

 private:
  struct Entry {
    int64_t height, width;
    torch::Tensor filter;
  };

  bool is_current(const torch::Tensor& weight) const {
    return source_.defined() && source_.is_alias_of(weight) && source_._version() == version_ &&
           source_.scalar_type() == weight.scalar_type();
  }

  mutable std::mutex mutex_;
  torch::Tensor source_;
  int64_t version_ = 0;
  std::list<Entry> entries_;
};

GlobalLocalFilterImpl::GlobalLocalFilterImpl(const GlobalLocalFilterOptions& options_)
    : options(options_) {
  if (options.channels() <= 0 || options.channels() % 2 != 0) {
    throw Error(ErrorCode::kUsage,
                "GlobalLocalFilter splits its channels in two halves and needs "
                "an even number of them, got " +
                    std::to_string(options.channels()));
  }
  reset();
}

void GlobalLocalFilterImpl::reset() {
  const int64_t half = options.channels() / 2;
  cache_ = std::make_shared<FilterCache>();
  pre_norm = register_module("pre_norm", ChannelLayerNorm(options.channels()));
  post_norm = register_module("post_norm", ChannelLayerNorm(options.channels()));
  dw = register_module("dw", DepthwiseConv(half, /*kernel=*/3, /*bias=*/false));
  complex_weight = register_parameter(
      "complex_weight", torch::randn({half, options.size().h, options.size().w, 2}) * 0.02);
}

void GlobalLocalFilterImpl::pretty_print(std::ostream& stream) const {
  stream << "hornet::GlobalLocalFilter(channels=" << options.channels()
         << ", size=" << options.size().h << "x" << options.size().w << ")";
}

void GlobalLocalFilterImpl::train(bool on) {
  cache_->clear();
  torch::nn::Module::train(on);
}

size_t GlobalLocalFilterImpl::cached_sizes() const { return cache_->size(); }

torch::Tensor GlobalLocalFilterImpl::filter_for(int64_t height, int64_t width) {
  // Inference tensors have no version counter, so a change of theirs could not be noticed.
  const auto type = complex_weight.scalar_type();
  const bool cacheable = !is_training() && !torch::GradMode::is_enabled() &&
                         !complex_weight.is_inference() &&
                         (type == torch::kFloat32 || type == torch::kFloat64);
  if (cacheable) return cache_->get(complex_weight, height, width);
  // What follows may be a step of an optimizer that leaves the version as it is (torch::optim::SGD
  // writes through data()).
  cache_->clear();
  return complex_weight;
}

torch::Tensor GlobalLocalFilterImpl::forward(const torch::Tensor& x) {
  const std::vector<torch::Tensor> halves = pre_norm->forward(x).chunk(2, 1);
  const torch::Tensor local = dw->forward(halves[0]);
  const torch::Tensor global = ops::global_filter(halves[1], filter_for(x.size(2), x.size(3)));
  const torch::Tensor interleaved = torch::stack({local, global.to(local.scalar_type())}, 2);
  return post_norm->forward(interleaved.reshape(x.sizes()));
}

}  // namespace hornet
