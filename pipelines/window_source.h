// Images that are read by windows, and label maps that are written by blocks: what segmentation and
// tiled detection see of files. Both are plain structs of functions, so that a program can hand in
// a camera, a database or a file of its own format.
//
//   RasterReader raster("scene.tif", {});    // or an image in memory:
//   WindowSource source = raster.source();   // window_source(cv::imread("street.jpg"))
//   WindowPixels part = source.read({0, 0, 512, 512});
#pragma once

#include <functional>
#include <opencv2/core.hpp>

namespace hornet {

struct WindowPixels {
  cv::Mat bgr;    // CV_8UC3, of the window's size
  cv::Mat valid;  // CV_8UC1: 255, or 0 where the image has no data; empty: data everywhere
};

struct WindowSource {
  cv::Size size;
  // A window inside the image. Calls come from one thread at a time.
  std::function<WindowPixels(const cv::Rect& window)> read;
};

// An image in memory: 8 bits, gray, BGR or BGRA (pixels of alpha 0 have no data). Keeps a
// reference to its pixels.
WindowSource window_source(const cv::Mat& image);

}  // namespace hornet
