// Square windows that slide over an image, as the authors' test configurations place them: one
// every `stride` pixels, the last one shifted back inside. Where the image is smaller than a
// window, the window is the image.
//
//   window_starts(1000, {512, 341})   // 0, 341, 488
#pragma once

#include <cstdint>
#include <vector>

namespace hornet {

struct SlideOptions {
  int64_t tile = 512;
  int64_t stride = 341;
};

// First pixel of each window along one axis of an image; one window at 0 if it is smaller.
std::vector<int64_t> window_starts(int64_t image, const SlideOptions& options);

}  // namespace hornet
