#include <hornet/training/augment.h>
#include <hornet/training/detection_augment.h>
#include <hornet/training/internal/crop_window.h>

#include <algorithm>
#include <cmath>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

namespace hornet {
namespace {

using internal::CropWindow;
using internal::kMeanColour;

constexpr double kLeastScale = 0.1, kMostScale = 4;
constexpr double kLeastSide = 2, kLeastArea = 8;  // pixels of an object that can still be learned

double draw_log_uniform(const std::pair<double, double>& range, Random& random) {
  return std::exp(random.uniform(std::log(range.first), std::log(range.second)));
}

cv::Rect whole(cv::Size size) { return {{0, 0}, size}; }

// The pixels that a box touches.
cv::Rect pixels_around(const cv::Rect2d& box) {
  const cv::Point first(cvFloor(box.x), cvFloor(box.y));
  return {first, cv::Point(cvCeil(box.x + box.width), cvCeil(box.y + box.height))};
}

// `part` of the crop, from an image whose first pixel is `origin` of the image that is scaled.
cv::Mat warp_part(const cv::Mat& image, cv::Point origin, const CropWindow& window, int crop_width,
                  const cv::Rect& part, int border) {
  cv::Matx23d map = window.to_image(crop_width);
  map(0, 2) += map(0, 0) * part.x - origin.x;
  map(1, 2) += map(1, 1) * part.y - origin.y;
  cv::Mat out;
  cv::warpAffine(image, out, map, part.size(), cv::INTER_LINEAR | cv::WARP_INVERSE_MAP, border);
  return out;
}

// 0 to 255 in `part` of the crop.
cv::Mat warp_alpha(const MaskCrop& mask, const CropWindow& window, int crop_width,
                   const cv::Rect& part) {
  return warp_part(mask.pixels * 255, mask.region.tl(), window, crop_width, part,
                   cv::BORDER_CONSTANT);
}

MaskCrop warp_mask(const MaskCrop& mask, const CropWindow& window, cv::Size crop) {
  MaskCrop out;
  out.region = pixels_around(window.to_crop(mask.region, crop.width)) & whole(crop);
  if (out.region.empty()) return out;
  const cv::Mat alpha = warp_alpha(mask, window, crop.width, out.region);
  cv::threshold(alpha, out.pixels, 127, 1, cv::THRESH_BINARY);
  return out;
}

int count_pixels(const MaskCrop& mask) {
  return mask.region.empty() ? 0 : cv::countNonZero(mask.pixels);
}

bool too_small(const AnnotatedObject& object) {
  const double area = object.mask ? count_pixels(*object.mask) : object.box.area();
  return std::min(object.box.width, object.box.height) < kLeastSide || area < kLeastArea;
}

// The object in the crop; nothing if none of its box is.
std::optional<AnnotatedObject> show(const AnnotatedObject& object, const CropWindow& window,
                                    cv::Size crop, double least_visible) {
  const cv::Rect2d box = window.to_crop(object.box, crop.width);
  AnnotatedObject shown = object;
  shown.box = box & cv::Rect2d(whole(crop));
  if (shown.box.empty()) return std::nullopt;
  double visible = shown.box.area() / box.area();
  if (object.mask) {
    shown.mask = warp_mask(*object.mask, window, crop);
    const double all = count_pixels(*object.mask) * window.x_scale * window.y_scale;
    visible = count_pixels(*shown.mask) / std::max(all, 1e-9);
  }
  if (visible < least_visible || too_small(shown)) shown.ignored = true;
  return shown;
}

void forget_masks_of_ignored(std::vector<AnnotatedObject>& objects) {
  for (AnnotatedObject& object : objects) {
    if (object.ignored) object.mask.reset();
  }
}

// An object that is worth looking at, if there is one.
const AnnotatedObject* draw_object(const AnnotatedImage& image, bool with_mask, Random& random) {
  std::vector<const AnnotatedObject*> objects;
  for (const AnnotatedObject& object : image.objects) {
    const bool fits = !object.ignored && !object.box.empty() && (object.mask || !with_mask);
    if (fits) objects.push_back(&object);
  }
  if (objects.empty()) return nullptr;
  return objects[static_cast<size_t>(random.below(static_cast<int64_t>(objects.size())))];
}

double draw_scale(cv::Size image, const AnnotatedObject* shown, const DetectionAugment& options,
                  Random& random) {
  if (shown) {
    const double height = draw_log_uniform(*options.object_height, random);
    const double scale = std::clamp(height / shown->box.height, kLeastScale, kMostScale);
    const double fits = std::min(static_cast<double>(options.crop.width) / image.width,
                                 static_cast<double>(options.crop.height) / image.height);
    return std::max(scale, options.least_side * fits);
  }
  const double base = options.box ? internal::scale_into(image, *options.box) : 1;
  return base * random.uniform(options.min_scale, options.max_scale);
}

// An offset at which the crop holds [first, last) of the scaled image, or lies within it.
int draw_offset_around(double first, double last, int scaled, int crop, Random& random) {
  const int least = std::min(0, scaled - crop), most = std::max(0, scaled - crop);
  const auto [low, high] = std::minmax({first, last - crop});
  const int from = std::max(least, cvCeil(low)), to = std::min(most, cvFloor(high));
  if (from > to) return std::clamp(cvRound((low + high) / 2), least, most);
  return static_cast<int>(random.between(from, to));
}

CropWindow draw_window(const AnnotatedImage& image, const DetectionAugment& options,
                       Random& random) {
  const AnnotatedObject* shown =
      options.object_height ? draw_object(image, /*with_mask=*/false, random) : nullptr;
  const double scale = draw_scale(image.bgr.size(), shown, options, random);
  CropWindow window;
  window.set_scales(image.bgr.size(), scale * (1 + random.uniform(-options.aspect, options.aspect)),
                    scale);
  window.flip = options.flip && random.chance(0.5);
  const cv::Size crop = options.crop, scaled = window.scaled;
  if (shown) {
    const cv::Rect2d& box = shown->box;
    window.offset = {
        draw_offset_around(box.x * window.x_scale, (box.x + box.width) * window.x_scale,
                           scaled.width, crop.width, random),
        draw_offset_around(box.y * window.y_scale, (box.y + box.height) * window.y_scale,
                           scaled.height, crop.height, random)};
  } else {
    window.offset = {internal::draw_offset(scaled.width, crop.width, random),
                     internal::draw_offset(scaled.height, crop.height, random)};
  }
  return window;
}

// Sets the pixels of an object: those of its mask, or its box.
void mark(const AnnotatedObject& object, uint8_t value, cv::Mat& marks) {
  if (!object.mask) {
    marks(pixels_around(object.box) & whole(marks.size())) = value;
  } else if (!object.mask->region.empty()) {
    marks(object.mask->region).setTo(value, object.mask->pixels);
  }
}

// Where the crop shows nothing: outside of the image, and where crowds are but no object.
cv::Mat blank_pixels(const cv::Rect& covered, const std::vector<AnnotatedObject>& crowds,
                     const std::vector<AnnotatedObject>& objects, cv::Size crop) {
  cv::Mat blank = cv::Mat::zeros(crop, CV_8UC1);
  for (const AnnotatedObject& crowd : crowds) mark(crowd, 255, blank);
  for (const AnnotatedObject& object : objects) {
    if (!object.ignored) mark(object, 0, blank);
  }
  cv::Mat outside(crop, CV_8UC1, cv::Scalar(255));
  outside(covered) = 0;
  return blank | outside;
}

cv::Mat add_noise(const cv::Mat& bgr, Random& random) {
  cv::Mat noise(bgr.size(), CV_16SC3), out;
  const double deviation = random.uniform(2, 12);
  cv::RNG(random.next()).fill(noise, cv::RNG::NORMAL, 0, deviation);
  cv::add(bgr, noise, out, cv::noArray(), CV_8U);
  return out;
}

cv::Mat compress(const cv::Mat& bgr, Random& random) {
  std::vector<uint8_t> bytes;
  cv::imencode(".jpg", bgr, bytes,
               {cv::IMWRITE_JPEG_QUALITY, static_cast<int>(random.between(25, 90))});
  return cv::imdecode(bytes, cv::IMREAD_COLOR);
}

cv::Mat degrade(cv::Mat bgr, Random& random) {
  constexpr double kChance = 0.2;
  if (random.chance(kChance)) cv::GaussianBlur(bgr, bgr, {}, random.uniform(0.4, 1.6));
  if (random.chance(kChance)) bgr = add_noise(bgr, random);
  if (random.chance(kChance)) bgr = compress(bgr, random);
  return bgr;
}

// Where an object of another image goes: its height, and how far it is beyond the border.
CropWindow draw_place(const AnnotatedObject& object, cv::Size crop, const DetectionAugment& options,
                      Random& random) {
  constexpr double kBeyond = 0.3;
  const double height = draw_log_uniform(options.pasted_height, random);
  const double wanted = std::clamp(height / object.box.height, kLeastScale, kMostScale);
  const double scale =
      std::min({wanted, crop.width / object.box.width, crop.height / object.box.height});
  CropWindow window;
  window.x_scale = window.y_scale = scale;
  window.flip = options.flip && random.chance(0.5);
  const cv::Rect2d shown = window.to_crop(object.box, crop.width);
  const auto first = [&](double side, int border) {
    return random.uniform(-kBeyond * side, border - (1 - kBeyond) * side);
  };
  const int right = cvRound(first(shown.width, crop.width) - shown.x);
  const int down = cvRound(first(shown.height, crop.height) - shown.y);
  window.offset = {window.flip ? right : -right, -down};
  return window;
}

void blend(const cv::Mat& above, const cv::Mat& alpha, cv::Mat below) {
  for (int y = 0; y < below.rows; ++y) {
    const cv::Vec3b* from = above.ptr<cv::Vec3b>(y);
    const uint8_t* weights = alpha.ptr<uint8_t>(y);
    cv::Vec3b* to = below.ptr<cv::Vec3b>(y);
    for (int x = 0; x < below.cols; ++x) {
      for (int c = 0; c < 3; ++c) {
        const int sum = weights[x] * from[x][c] + (255 - weights[x]) * to[x][c];
        to[x][c] = static_cast<uint8_t>((sum + 127) / 255);
      }
    }
  }
}

void paint(const cv::Mat& donor, const MaskCrop& mask, const CropWindow& window, bool relight,
           cv::Mat& onto, Random& random) {
  constexpr int kSoftEdge = 2;
  const cv::Rect2d shown = window.to_crop(mask.region, onto.cols);
  cv::Rect part = pixels_around(shown);
  part -= cv::Point(kSoftEdge, kSoftEdge);
  part += cv::Size(2 * kSoftEdge, 2 * kSoftEdge);
  part &= whole(onto.size());
  cv::Mat pixels = warp_part(donor, {0, 0}, window, onto.cols, part, cv::BORDER_REPLICATE);
  cv::Mat alpha = warp_alpha(mask, window, onto.cols, part);
  cv::GaussianBlur(alpha, alpha, {3, 3}, 0);
  if (relight) {
    const double contrast = random.uniform(0.7, 1.3), brightness = random.uniform(-30, 30);
    pixels.convertTo(pixels, -1, contrast, brightness);
  }
  blend(pixels, alpha, onto(part));
}

// Takes the pixels of `mask` from another one.
void hide(const MaskCrop& mask, MaskCrop& hidden) {
  const cv::Rect common = mask.region & hidden.region;
  if (common.empty()) return;
  hidden.pixels(common - hidden.region.tl()).setTo(0, mask.pixels(common - mask.region.tl()));
}

cv::Rect tight_box(const MaskCrop& mask) {
  return cv::boundingRect(mask.pixels) + mask.region.tl();
}

// What becomes of an object that showed `before` pixels of its mask.
void settle_mask(AnnotatedObject& object, int before) {
  constexpr double kTighten = 0.5, kIgnore = 0.8;
  const int left = count_pixels(*object.mask);
  if (left == before) return;
  const double hidden = 1 - static_cast<double>(left) / before;
  if (hidden > kTighten && left > 0) object.box = tight_box(*object.mask);
  if (hidden > kIgnore || too_small(object)) object.ignored = true;
}

void settle_box(AnnotatedObject& object, const cv::Mat& pasted) {
  constexpr double kIgnore = 0.6;
  const cv::Mat under = pasted(pixels_around(object.box) & whole(pasted.size()));
  if (cv::countNonZero(under) > kIgnore * static_cast<double>(under.total())) object.ignored = true;
}

// The image that objects are pasted on, and what it showed of each object before others hid it.
class Collage {
 public:
  explicit Collage(AnnotatedImage& image)
      : image_(image), pasted_(cv::Mat::zeros(image.bgr.size(), CV_8UC1)) {
    for (const AnnotatedObject& object : image.objects) {
      before_.push_back(object.mask ? count_pixels(*object.mask) : 0);
    }
  }

  void add(const AnnotatedImage& donor, const DetectionAugment& options, Random& random) {
    const AnnotatedObject* object = draw_object(donor, /*with_mask=*/true, random);
    if (!object) return;
    const cv::Size crop = image_.bgr.size();
    const CropWindow window = draw_place(*object, crop, options, random);
    auto shown = show(*object, window, crop, options.least_visible);
    if (!shown || shown->mask->region.empty()) return;
    paint(donor.bgr, *object->mask, window, options.recolour, image_.bgr, random);
    for (AnnotatedObject& other : image_.objects) {
      if (other.mask) hide(*shown->mask, *other.mask);
    }
    mark(*shown, 255, pasted_);
    before_.push_back(count_pixels(*shown->mask));
    image_.objects.push_back(std::move(*shown));
  }

  cv::Mat finish() {
    for (size_t i = 0; i < before_.size(); ++i) {
      AnnotatedObject& object = image_.objects[i];
      object.mask ? settle_mask(object, before_[i]) : settle_box(object, pasted_);
    }
    forget_masks_of_ignored(image_.objects);
    return pasted_;
  }

 private:
  AnnotatedImage& image_;
  cv::Mat pasted_;
  std::vector<int> before_;
};

}  // namespace

cv::Mat paste(AnnotatedImage& onto, const Donor& donor, const DetectionAugment& options,
              Random& random) {
  Collage collage(onto);
  const int64_t count = random.between(1, std::max(1, options.most_pasted));
  for (int64_t i = 0; i < count; ++i) collage.add(donor(random), options, random);
  return collage.finish();
}

AnnotatedImage augment(const AnnotatedImage& image, const DetectionAugment& options, Random& random,
                       const Donor& donor) {
  const cv::Size crop = options.crop;
  const CropWindow window = draw_window(image, options, random);
  AnnotatedImage out;
  std::vector<AnnotatedObject> crowds;
  for (const AnnotatedObject& object : image.objects) {
    const auto shown = show(object, window, crop, options.least_visible);
    if (shown) (object.ignored && options.grey_crowds ? crowds : out.objects).push_back(*shown);
  }
  out.bgr = warp_part(image.bgr, {0, 0}, window, crop.width, whole(crop), cv::BORDER_REPLICATE);
  cv::Mat blank = blank_pixels(window.covered(crop), crowds, out.objects, crop);
  forget_masks_of_ignored(out.objects);
  out.bgr.setTo(kMeanColour, blank);
  if (donor && random.chance(options.paste)) {
    blank.setTo(0, paste(out, donor, options, random));
  }
  if (options.recolour) out.bgr = recolour(out.bgr, random);
  if (options.degrade) out.bgr = degrade(out.bgr, random);
  out.bgr.setTo(kMeanColour, blank);
  return out;
}

}  // namespace hornet
