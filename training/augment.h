// What keeps a network from learning its training images by heart: each time that one is shown, it
// is scaled, cropped, mirrored and recoloured at random.
//
//   Random random(derive_seed(seed, draw));
//   LabelledImage crop = augment(sample, options, rules.ignore, random);
//
// All of it follows from the generator that is passed in. The steps are those of the authors'
// pipelines (mmseg): scale within a range, a crop in which no class takes more than its share, a
// flip, brightness / contrast / saturation / hue; what the image does not cover is the mean colour
// and has no class.
#pragma once

#include <hornet/training/random.h>
#include <hornet/training/samples.h>

namespace hornet {

struct AugmentOptions {
  cv::Size crop{512, 512};
  std::optional<cv::Size> box;            // images are scaled into this box first
  double min_scale = 0.5, max_scale = 2;  // of the image, or of what fits the box
  double max_class_share = 0.75;          // a crop with more of one class is drawn again, ten times
  bool flip = true;
  bool recolour = true;
};

// Image and labels of the crop's size.
LabelledImage augment(const LabelledImage& sample, const AugmentOptions& options, int ignore,
                      Random& random);

// For classification: a part of 8 to 100 % of the image with an aspect of 3:4 to 4:3, scaled to
// the crop's size; flip and colours as above.
cv::Mat augment_for_classification(const cv::Mat& bgr, const AugmentOptions& options,
                                   Random& random);

// Each with probability 1/2: brightness +-32, contrast x 0.5 to 1.5 (before or after the others),
// saturation x 0.5 to 1.5, hue +-36 degrees. CV_8UC3.
cv::Mat recolour(const cv::Mat& bgr, Random& random);

}  // namespace hornet
