// Masks as run lengths (cocoapi's RLE, which pycocotools reads), as crops of pixels, and as
// polygons.
//
// A mask of pixels is kept as the rectangle of the image that it can touch, never as a full canvas:
// a thousand masks in a gigapixel image cost what the objects cover. Run lengths are computed from
// and back to that rectangle. They count pixels column by column over the whole image, zeros
// first, so the mask
//
//   0 1
//   1 1      is   1 3   and in cocoapi's text "13".
//
// The text form stores every count from the fourth on as its difference from the count two places
// before, in base 32 digits of which the lowest comes first. Polygons are filled as cocoapi fills
// them, pixel for pixel. Everything here is safe on any input: sums are checked, and nothing is
// allocated that the image's size (at most 2^30 pixels) does not allow. Errors:
// hornet::Error(kInput).
#pragma once

#include <cstdint>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

namespace hornet {

// A binary mask that covers a rectangle of an image; all pixels outside of it are 0.
struct MaskCrop {
  cv::Rect region;  // in image pixels, inside the image, possibly empty
  cv::Mat pixels;   // CV_8UC1, region.size(), values 0 or 1
};

// Run lengths together with the size of the image that they cover.
struct RunLengthMask {
  cv::Size size;
  std::vector<uint32_t> counts;
};

// Corners in image pixels; the last one is joined to the first.
using Polygon = std::vector<cv::Point2d>;

// Run lengths of a mask in column-major order over the whole image, first the run of zeros
// (which may be 0).
std::vector<uint32_t> run_lengths(const MaskCrop& mask, cv::Size image);

// The smallest crop that holds the mask. Error unless the counts add up to the image's pixels.
MaskCrop from_run_lengths(const std::vector<uint32_t>& counts, cv::Size image);

// cocoapi's text form of run lengths ("counts" in JSON), and back. Error for text that is not one.
std::string encode_counts(const std::vector<uint32_t>& counts);
std::vector<uint32_t> decode_counts(const std::string& text);

// The pixels that any of the polygons covers. Corners may lie outside the image, up to 10^8 pixels.
RunLengthMask fill_polygons(const std::vector<Polygon>& polygons, cv::Size image);

// Pixels of a mask; pixels that two masks of one size have in common.
int64_t area(const RunLengthMask& mask);
int64_t common_area(const RunLengthMask& a, const RunLengthMask& b);

// The smallest rectangle around a mask. Error unless the counts add up to the image's pixels.
cv::Rect bounding_box(const RunLengthMask& mask);

}  // namespace hornet
