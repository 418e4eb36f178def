// Detection on a whole video: decoding with preprocessing, inference, and drawing with encoding run
// at the same time, each in its own thread, connected by short queues, so that the slowest of them
// sets the pace and memory does not grow with the video. Frames come out in the order in which they
// went in.
//
//   VideoReport report = detect_video(detector, source, {&sink, &json}, /*batch_size=*/1,
//   progress);
//
// Ctrl-C (see interrupt.h) ends decoding; what was decoded is still finished. The caller finishes
// the sink and the writer. An error in any of the stages stops all three and is thrown once.
#pragma once

#include <hornet/pipelines/detector.h>
#include <hornet/pipelines/drawing.h>
#include <hornet/pipelines/progress.h>
#include <hornet/pipelines/result_writers.h>
#include <hornet/pipelines/run_report.h>
#include <hornet/pipelines/video.h>

#include <vector>

namespace hornet {

// Where results go; either may be null.
struct VideoOutputs {
  VideoSink* video = nullptr;
  JsonLinesWriter* json = nullptr;
};

struct VideoReport {
  int64_t frames_in = 0;   // decoded
  int64_t frames_out = 0;  // drawn or written
  int64_t objects = 0;
  std::vector<StageTime> stages;  // decode, preprocess, infer, draw and encode
};

VideoReport detect_video(Detector& detector, VideoSource& source, const VideoOutputs& outputs,
                         int batch_size, Progress& progress);

}  // namespace hornet
