#include <hornet/backbone/error.h>
#include <hornet/pipelines/tiler.h>

#include <algorithm>
#include <cmath>

namespace hornet {
namespace {

constexpr double kPi = 3.14159265358979323846;

TileAxis make_axis(int image, const SlideOptions& options, Blend blend) {
  TileAxis axis;
  axis.length = image;
  axis.tile = static_cast<int>(std::min<int64_t>(options.tile, image));
  axis.stride = static_cast<int>(std::min<int64_t>(options.stride, axis.tile));
  axis.window.assign(axis.tile, 1.0f);
  for (int i = 0; blend == Blend::kHann && i < axis.tile; ++i) {
    const double wave = std::sin(kPi * (i + 0.5) / axis.tile);
    axis.window[i] = static_cast<float>(wave * wave);
  }
  for (int64_t start : window_starts(image, options)) {
    axis.starts.push_back(static_cast<int>(start));
  }
  return axis;
}

}  // namespace

Blend parse_blend(const std::string& text) {
  if (text == "mean") return Blend::kMean;
  if (text == "hann") return Blend::kHann;
  throw Error(ErrorCode::kUsage, "--blend " + text + ": expected mean or hann");
}

std::pair<size_t, size_t> TileAxis::touching(int begin, int end) const {
  const auto first = std::upper_bound(starts.begin(), starts.end(), begin - tile);
  const auto last = std::lower_bound(starts.begin(), starts.end(), end);
  return {first - starts.begin(), std::max(first, last) - starts.begin()};
}

int TileAxis::overlapping() const {
  std::ptrdiff_t most = 0;
  for (auto last = starts.begin(); last != starts.end(); ++last) {
    most = std::max(most, last + 1 - std::upper_bound(starts.begin(), last, *last - tile));
  }
  return static_cast<int>(most);
}

Tiling make_tiling(cv::Size image, const SlideOptions& options, Blend blend) {
  return {make_axis(image.width, options, blend), make_axis(image.height, options, blend)};
}

}  // namespace hornet
