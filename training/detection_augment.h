// What keeps a detector from learning its training images by heart: each time that one is shown, it
// is scaled, cropped, mirrored and recoloured at random, and its objects with it; objects cut out
// of other images are pasted on it.
//
//   DetectionAugment options;
//   options.object_height = {24, 300};
//   Random random(derive_seed(seed, draw));
//   AnnotatedImage crop = augment(images.read(i), options, random);
//
// All of it follows from the generator that is passed in. Boxes are clipped to the crop, masks are
// warped by the image's own map. What is hardly to be seen becomes an ignored box without a mask:
// an object with less than `least_visible` of its area in the crop, one smaller than 2 pixels
// across or 8 in all, one that pasted objects hide. What the image does not cover has the mean
// colour.
//
// Pasting needs images with masks, which the caller chooses; reading them should be cheap:
//
//   options.paste = 0.5;
//   crop = augment(image, options, random,
//                  [&](Random& r) { return images.read(donors[r.below(donors.size())]); });
#pragma once

#include <hornet/training/annotated_images.h>
#include <hornet/training/random.h>

#include <functional>
#include <utility>

namespace hornet {

struct DetectionAugment {
  cv::Size crop{512, 512};
  std::optional<cv::Size> box;            // images are scaled into this box first
  double min_scale = 0.5, max_scale = 2;  // of the image, or of what fits the box

  // The crop shows an object, drawn at random, at a height within this range of pixels (uniform in
  // its logarithm, as far as scales of 0.1 to 4 reach). For images without objects, and if this is
  // not given, the scales above hold.
  std::optional<std::pair<double, double>> object_height;
  double least_side = 0;  // but the image is no smaller than what fits into this share of the crop

  double aspect = 0;            // widths are scaled by up to this share more or less than heights
  double least_visible = 0.25;  // an object with less of its area in the crop is ignored
  bool flip = true;
  bool recolour = true;      // augment.h
  bool degrade = false;      // blur, noise, JPEG's artefacts: each one time in five
  bool grey_crowds = false;  // crowds get the mean colour and are background then

  double paste = 0;                                  // probability that objects are pasted
  int most_pasted = 6;                               // how many: 1 to this number
  std::pair<double, double> pasted_height{28, 260};  // in pixels, uniform in its logarithm
};

// An image that objects may be cut out of.
using Donor = std::function<AnnotatedImage(Random&)>;

// Image and objects of the crop's size. Without `donor` nothing is pasted.
AnnotatedImage augment(const AnnotatedImage& image, const DetectionAugment& options, Random& random,
                       const Donor& donor = nullptr);

// Pastes 1 to `most_pasted` objects at random places, up to 30 % of their width and height beyond
// the border, with soft edges and, to `recolour`, another brightness and contrast. Masks lose the
// pixels that are hidden. A box stays as it is until more than half of its object is hidden; then
// it is the box of what is left of the mask. Hidden to more than 80 %, or 60 % if there is no mask,
// an object is ignored. Writes to `onto`, whose pixels and masks must not be shared, and returns
// where it did: CV_8UC1, 255 on pasted objects.
cv::Mat paste(AnnotatedImage& onto, const Donor& donor, const DetectionAugment& options,
              Random& random);

}  // namespace hornet
