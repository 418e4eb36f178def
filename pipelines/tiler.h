// Windows of one size over an image, and how much each of them counts at every pixel. A tiler knows
// rectangles and weights, and no model.
//
//   const Tiling tiling = make_tiling({20000, 20000}, {512, 341}, Blend::kHann);
//   for (int y : tiling.y.starts)
//     for (int x : tiling.x.starts) ...            // a window of tiling.x.tile x tiling.y.tile
//
// The grid is a product of two axes and so are the weights: a window counts
// y.window[i] * x.window[j] at its pixel (i, j). No map of weights is ever needed.
#pragma once

#include <hornet/heads/windows.h>

#include <opencv2/core.hpp>
#include <string>
#include <utility>
#include <vector>

namespace hornet {

// kMean: every window counts the same, as in the authors' slide mode. kHann: sin^2, which falls to
// zero towards a window's border, so that no seam shows.
enum class Blend { kMean, kHann };

// "mean" or "hann"; Error(kUsage) for anything else.
Blend parse_blend(const std::string& text);

struct TileAxis {
  int length = 0;             // of the image
  int tile = 0;               // a window's length: the image's, where that is shorter
  int stride = 0;             // from one window to the next; less before the last
  std::vector<int> starts;    // first pixel of each window
  std::vector<float> window;  // weight of each pixel of a window

  // The windows that touch the pixels [begin, end): indices [first, last) of `starts`.
  std::pair<size_t, size_t> touching(int begin, int end) const;

  // The most windows of which one begins before the others have ended.
  int overlapping() const;
};

struct Tiling {
  TileAxis x, y;
  cv::Size tile() const { return {x.tile, y.tile}; }
};

Tiling make_tiling(cv::Size image, const SlideOptions& options, Blend blend);

}  // namespace hornet
