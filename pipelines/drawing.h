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

#include <hornet/pipelines/merge_detections.h>
#include <hornet/pipelines/results.h>
#include <hornet/pipelines/window_source.h>

#include <functional>
#include <opencv2/core.hpp>
#include <vector>

namespace hornet {

struct DrawOptions {
  double mask_opacity = 0.45;  // 0 draws no masks, 1 hides what is below
  bool outlines = true;        // of the masks
  bool boxes = true;
  bool labels = true;      // the class's name and the score in percent
  int reference_side = 0;  // what lines and letters are sized by; 0: the frame's shorter side
};

// The colour of a class, blue, green, red, 0..255.
cv::Scalar class_color(int label);

// Draws into `bgr` (CV_8UC3). Instances may reach beyond the frame.
void draw(cv::Mat& bgr, const std::vector<Instance>& instances, const ClassTable& classes,
          const DrawOptions& options = {});

// Draws into an image that does not fit into memory: strip by strip, with the same pixels as
// draw() would make of the whole image. Each strip is painted once all objects that reach it are
// known, and keeps a margin around it for labels that cross its borders.
class StripPainter {
 public:
  // Takes the strips from top to bottom: full rows of the image, `where` and their pixels.
  using Write = std::function<void(const cv::Rect& where, const cv::Mat& bgr)>;

  // `strip` is the number of rows of all strips but the last, and even.
  StripPainter(WindowSource source, ClassTable classes, const DrawOptions& options, int strip,
               Write write);

  // More objects. None that comes later reaches above `final_row`; with the image's height, the
  // rest of the image is painted.
  void add(const std::vector<Instance>& found, int final_row);

 private:
  void paint(int from, int to);

  WindowSource source_;
  ClassTable classes_;
  DrawOptions options_;
  int strip_;
  int margin_;
  int painted_ = 0;  // rows
  Write write_;
  std::vector<PackedInstance> reaching_;  // what is still to be drawn
};

}  // namespace hornet
