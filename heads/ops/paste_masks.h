// Puts the mask head's M x M probabilities back into the image: bilinear, zero outside the M x M
// grid, and a pixel is set if its value is >= threshold. Boxes are not rounded and pixel centres
// are at x + 0.5, as in mmdet's FCNMaskHead, or boxes become whole pixels, as in torchvision's
// paste_masks_in_image. Only the box's own rectangle is computed, so memory follows the boxes and
// not the image. Dispatcher op hornet::paste_masks on CPU and CUDA; the arithmetic stands once, in
// paste_masks_sample.h.
#pragma once

#include <torch/types.h>

#include <vector>

namespace hornet::ops {

// The pasted masks of n objects, packed. Object i covers the rectangle regions[i] = (x, y, w, h),
// in pixels of the image, possibly empty; its w*h pixels (0 or 1, row by row) start at
// pixels[offsets[i]].
struct PastedMasks {
  torch::Tensor pixels;   // uint8 [total], on the CPU
  torch::Tensor regions;  // int64 [n,4], on the CPU
  torch::Tensor offsets;  // int64 [n], on the CPU
};

// What a box covers: exactly its area, or whole pixels. For these it grows by (M + 2) / M about its
// centre, corners are rounded towards zero, and the mask with a border of zeros is resized to the
// pixels from corner to corner, both included.
enum class PasteRule { kSubpixel, kWholePixels };

// probs [n,M,M] float32, boxes [n,4] (x0,y0,x1,y1) float32 in image pixels.
PastedMasks paste_masks(const torch::Tensor& probs, const torch::Tensor& boxes,
                        int64_t image_height, int64_t image_width, double threshold = 0.5,
                        PasteRule rule = PasteRule::kSubpixel);

// The same as full canvases: uint8 [n,image_height,image_width].
torch::Tensor to_canvases(const PastedMasks& masks, int64_t image_height, int64_t image_width);

}  // namespace hornet::ops
