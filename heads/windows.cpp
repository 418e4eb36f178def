#include <c10/util/Exception.h>
#include <hornet/heads/windows.h>

#include <algorithm>

namespace hornet {

std::vector<int64_t> window_starts(int64_t image, const SlideOptions& options) {
  TORCH_CHECK(options.tile > 0 && options.stride > 0,
              "window_starts: tile and stride must be positive, got ", options.tile, " and ",
              options.stride);
  const int64_t count =
      std::max<int64_t>(image - options.tile + options.stride - 1, 0) / options.stride + 1;
  std::vector<int64_t> starts;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t end = std::min(i * options.stride + options.tile, image);
    starts.push_back(std::max<int64_t>(end - options.tile, 0));
  }
  return starts;
}

}  // namespace hornet
