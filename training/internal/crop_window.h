// The part of a scaled image that a crop shows: what augmentation of every kind draws, and how
// pixels and boxes get from the one to the other.
#pragma once

#include <hornet/training/random.h>

#include <algorithm>
#include <opencv2/core.hpp>

namespace hornet::internal {

// Of what no image covers: close to 0 once normalised.
inline const cv::Scalar kMeanColour(104, 116, 124);

inline double scale_into(cv::Size image, cv::Size box) {
  const auto [image_short, image_long] = std::minmax(image.width, image.height);
  const auto [box_short, box_long] = std::minmax(box.width, box.height);
  return std::min(static_cast<double>(box_long) / image_long,
                  static_cast<double>(box_short) / image_short);
}

// The crop's offset in the scaled image; negative where the image is smaller than the crop.
inline int draw_offset(int scaled, int crop, Random& random) {
  return static_cast<int>(random.between(std::min(0, scaled - crop), std::max(0, scaled - crop)));
}

struct CropWindow {
  double x_scale = 1, y_scale = 1;  // crop pixels per image pixel
  cv::Point offset;
  cv::Size scaled;
  bool flip = false;

  // To whole pixels, with the scales that follow from them.
  void set_scales(cv::Size image, double horizontal, double vertical) {
    const auto side = [](int length, double scale) {
      return std::max(static_cast<int>(length * scale + 0.5), 1);
    };
    scaled = {side(image.width, horizontal), side(image.height, vertical)};
    x_scale = static_cast<double>(scaled.width) / image.width;
    y_scale = static_cast<double>(scaled.height) / image.height;
  }

  // From pixels of the crop to pixels of the image: centres to centres.
  cv::Matx23d to_image(int width) const {
    const double sign = flip ? -1 : 1;
    const double first = flip ? width - 1 + offset.x : offset.x;
    return {sign / x_scale,
            0,
            (first + 0.5) / x_scale - 0.5,
            0,
            1 / y_scale,
            (offset.y + 0.5) / y_scale - 0.5};
  }

  // A box of the image in the crop, beyond its borders too.
  cv::Rect2d to_crop(const cv::Rect2d& box, int width) const {
    cv::Rect2d shown(box.x * x_scale - offset.x, box.y * y_scale - offset.y, box.width * x_scale,
                     box.height * y_scale);
    if (flip) shown.x = width - (shown.x + shown.width);
    return shown;
  }

  cv::Rect covered(cv::Size crop) const {
    cv::Rect inside = cv::Rect(-offset, scaled) & cv::Rect({0, 0}, crop);
    if (flip) inside.x = crop.width - inside.br().x;
    return inside;
  }
};

}  // namespace hornet::internal
