// Draws instances into a frame: a translucent mask with its outline, the box, and a label with
// the score.
//
//   draw(frame, detect(frame), classes);
//
// The colour is a fixed function of the class, so that it neither flickers from frame to frame
// nor changes between runs. Neighbouring class indices lie a golden angle of hue apart and take
// turns in three levels of lightness. Lines and letters are sized by the shorter side of the
// frame: 2 pixels and 11 pixels at 480p, 7 and 48 at 4K. Labels have a filled background, black or
// white text, whichever contrasts, and are moved so that they stay inside the frame. Masks are
// drawn first and labels last; within each, higher scores cover lower ones.
#pragma once

#include <hornet/pipelines/results.h>

#include <opencv2/core.hpp>
#include <vector>

namespace hornet {

struct DrawOptions {
  double mask_opacity = 0.45;  // 0 draws no masks, 1 hides what is below
  bool outlines = true;        // of the masks
  bool boxes = true;
  bool labels = true;  // the class's name and the score in percent
};

// The colour of a class, blue, green, red, 0..255.
cv::Scalar class_color(int label);

// Draws into `bgr` (CV_8UC3). Instances may reach beyond the frame.
void draw(cv::Mat& bgr, const std::vector<Instance>& instances, const ClassTable& classes,
          const DrawOptions& options = {});

}  // namespace hornet
