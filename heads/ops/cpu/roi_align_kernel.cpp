#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <hornet/heads/ops/checks.h>
#include <hornet/heads/ops/roi_align_sample.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

namespace hornet::ops {
namespace {

template <typename T>
int64_t image_of(const T* roi, int64_t images) {
  TORCH_CHECK(roi[0] >= 0 && roi[0] < images, "hornet::roi_align: a RoI is of image ", roi[0],
              ", but the features have ", images, " images");
  return static_cast<int64_t>(roi[0]);
}

// A rectangle of a feature map, of kLanes channels at a time, with a pixel's channels side by side:
// then every step of pooling is a few vector instructions.
constexpr int kLanes = 32;

// One image's features, in any order of memory.
template <typename scalar_t>
struct FeatureMap {
  const scalar_t* data;
  int64_t channel_step, row_step, column_step;
};

template <typename T>
struct Window {
  int top = 0, left = 0, height = 0, width = 0;
  std::vector<T> pixels;

  template <typename scalar_t>
  void load(const FeatureMap<scalar_t>& map, int64_t first_channel, int64_t lanes) {
    pixels.resize(int64_t{height} * width * kLanes);
    const scalar_t* corner =
        map.data + first_channel * map.channel_step + top * map.row_step + left * map.column_step;
    if (map.channel_step == 1) {
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          const scalar_t* from = corner + y * map.row_step + x * map.column_step;
          T* to = pixels.data() + (int64_t{y} * width + x) * kLanes;
          for (int64_t lane = 0; lane < lanes; ++lane) to[lane] = static_cast<T>(from[lane]);
        }
      }
      return;
    }
    for (int64_t lane = 0; lane < lanes; ++lane) {
      T* to = pixels.data() + lane;
      for (int y = 0; y < height; ++y) {
        const scalar_t* from = corner + lane * map.channel_step + y * map.row_step;
        for (int x = 0; x < width; ++x, to += kLanes) {
          *to = static_cast<T>(from[x * map.column_step]);
        }
      }
    }
  }
};

// The samples of one RoI, bin by bin: found once, then used for every channel.
template <typename T>
class RoiSamples {
 public:
  explicit RoiSamples(const RoiAlignShape<T>& shape)
      : shape_(shape), bin_ends_(shape.pooled * shape.pooled) {}

  void find(const T* roi) {
    const RoiGrid<T> grid = roi_grid(roi, shape_);
    count_ = grid.count();
    samples_.clear();
    for (size_t bin = 0; bin < bin_ends_.size(); ++bin) {
      for_each_sample(grid, bin / shape_.pooled, bin % shape_.pooled, shape_,
                      [&](const RoiSample<T>& sample) { samples_.push_back(sample); });
      bin_ends_[bin] = samples_.size();
    }
  }

  // Shrinks the window to the pixels that the samples read, and makes their offsets relative to it.
  void move_to(Window<T>& window) {
    window.top = window.left = window.height = window.width = 0;
    if (samples_.empty()) return;
    // Samples come in rows from the top left to the bottom right.
    const int first = samples_.front().offsets[0], last = samples_.back().offsets[3];
    window.top = first / shape_.width;
    window.left = first % shape_.width;
    window.height = last / shape_.width - window.top + 1;
    window.width = last % shape_.width - window.left + 1;
    for (auto& sample : samples_) {
      for (int& offset : sample.offsets) {
        offset = (offset / shape_.width - window.top) * window.width + offset % shape_.width -
                 window.left;
      }
    }
  }

  // The averages over the bins: output is [lanes, pooled, pooled].
  template <typename scalar_t>
  void pool(const Window<T>& window, int64_t lanes, scalar_t* output) const {
    size_t i = 0;
    for (size_t bin = 0; bin < bin_ends_.size(); ++bin) {
      T sums[kLanes] = {};
      for (; i < bin_ends_[bin]; ++i) {
        const RoiSample<T> sample = samples_[i];
        const T* pixels = window.pixels.data();
        for (int lane = 0; lane < kLanes; ++lane) sums[lane] += sample.read(pixels + lane, kLanes);
      }
      for (int64_t lane = 0; lane < lanes; ++lane) {
        output[lane * bin_ends_.size() + bin] = static_cast<scalar_t>(sums[lane] / count_);
      }
    }
  }

  // The transpose of pooling, for one channel: adds the bins' gradients to its plane.
  void spread(const T* grad, T* plane) const {
    size_t i = 0;
    for (const size_t end : bin_ends_) {
      const T share = *grad++ / count_;
      for (; i < end; ++i) {
        for (int tap = 0; tap < 4; ++tap) {
          plane[samples_[i].offsets[tap]] += samples_[i].weights[tap] * share;
        }
      }
    }
  }

 private:
  RoiAlignShape<T> shape_;
  std::vector<RoiSample<T>> samples_;
  std::vector<size_t> bin_ends_;
  T count_ = 1;
};

template <typename scalar_t, typename T>
void pool_rois(const at::Tensor& features, const at::Tensor& rois, const RoiAlignShape<T>& shape,
               at::Tensor& output) {
  const auto map_of = [&](int64_t image) {
    return FeatureMap<scalar_t>{features.const_data_ptr<scalar_t>() + image * features.stride(0),
                                features.stride(1), features.stride(2), features.stride(3)};
  };
  const T* roi_data = rois.const_data_ptr<T>();
  auto* output_data = output.mutable_data_ptr<scalar_t>();
  const int64_t bins = int64_t{shape.pooled} * shape.pooled;
  at::parallel_for(0, rois.size(0), 1, [&](int64_t begin, int64_t end) {
    RoiSamples<T> samples(shape);
    Window<T> window;
    for (int64_t k = begin; k < end; ++k) {
      const T* roi = roi_data + k * 5;
      const FeatureMap<scalar_t> map = map_of(image_of(roi, features.size(0)));
      samples.find(roi);
      samples.move_to(window);
      for (int64_t c = 0; c < shape.channels; c += kLanes) {
        const int64_t lanes = std::min<int64_t>(kLanes, shape.channels - c);
        window.load(map, c, lanes);
        samples.pool(window, lanes, output_data + (k * shape.channels + c) * bins);
      }
    }
  });
}

// Parallel over channels and not over RoIs, which overlap: no two threads add to one plane, and
// the order of the additions is always the same.
template <typename T>
void spread_rois(const at::Tensor& grad, const at::Tensor& rois, const RoiAlignShape<T>& shape,
                 at::Tensor& features_grad) {
  const T* grad_data = grad.const_data_ptr<T>();
  const T* roi_data = rois.const_data_ptr<T>();
  T* features_data = features_grad.mutable_data_ptr<T>();
  const int64_t plane = int64_t{shape.height} * shape.width;
  const int64_t bins = int64_t{shape.pooled} * shape.pooled;
  constexpr int64_t kGrain = 16;  // channels that are worth finding the samples once more
  at::parallel_for(0, shape.channels, kGrain, [&](int64_t begin, int64_t end) {
    RoiSamples<T> samples(shape);
    for (int64_t k = 0; k < rois.size(0); ++k) {
      const T* roi = roi_data + k * 5;
      const int64_t first = image_of(roi, features_grad.size(0)) * shape.channels;
      samples.find(roi);
      for (int64_t c = begin; c < end; ++c) {
        samples.spread(grad_data + (k * shape.channels + c) * bins,
                       features_data + (first + c) * plane);
      }
    }
  });
}

at::Tensor roi_align_cpu(const at::Tensor& features, const at::Tensor& rois, double spatial_scale,
                         int64_t pooled, int64_t sampling_ratio, bool aligned) {
  check_roi_align(features, rois, features.sizes(), pooled, sampling_ratio);
  at::Tensor output = at::empty({rois.size(0), features.size(1), pooled, pooled},
                                features.options().memory_format(at::MemoryFormat::Contiguous));
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, features.scalar_type(), "hornet::roi_align", [&] {
        using T = at::opmath_type<scalar_t>;
        const at::Tensor corners = rois.to(c10::CppTypeToScalarType<T>::value).contiguous();
        const auto shape =
            roi_align_shape<T>(features.sizes(), spatial_scale, pooled, sampling_ratio, aligned);
        pool_rois<scalar_t, T>(features, corners, shape, output);
      });
  return output;
}

at::Tensor roi_align_backward_cpu(const at::Tensor& grad, const at::Tensor& rois,
                                  double spatial_scale, int64_t pooled, int64_t sampling_ratio,
                                  bool aligned, at::IntArrayRef feature_size) {
  check_roi_align_backward(grad, rois, feature_size, pooled, sampling_ratio);
  const auto type = at::toOpMathType(grad.scalar_type());
  at::Tensor features_grad = at::zeros(feature_size, grad.options().dtype(type));
  AT_DISPATCH_FLOATING_TYPES(type, "hornet::_roi_align_backward", [&] {
    const auto shape =
        roi_align_shape<scalar_t>(feature_size, spatial_scale, pooled, sampling_ratio, aligned);
    spread_rois<scalar_t>(grad.to(type).contiguous(), rois.to(type).contiguous(), shape,
                          features_grad);
  });
  return features_grad.to(grad.scalar_type());
}

TORCH_LIBRARY_IMPL(hornet, CPU, m) {
  m.impl("roi_align", roi_align_cpu);
  m.impl("_roi_align_backward", roi_align_backward_cpu);
}

}  // namespace
}  // namespace hornet::ops
