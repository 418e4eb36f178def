// Writes detections while they are made, in bounded memory.
//
// JsonLinesWriter is for videos: one line per object.
//
//   {"frame":12,"timestamp_ms":1200.0,"category_id":1,"bbox":[41.5,60.0,22.1,70.3],
//    "score":0.91,"segmentation":{"size":[576,768],"counts":"..."}}
//
// CocoResultsWriter is for images: the COCO results array that pycocotools' loadRes() takes, with
// image_id 1, 2, ... in the order of the calls.
//
// Both write to a partial file beside the target (see OutputFile) and flush after every image, and
// give it its name in finish(), which a run that was interrupted calls as well. A run that is
// killed, or fails, never leaves half a file under the final name. JSON Lines are worth reading
// at any time, so their partial file stays once it holds a frame; a partial array is not and goes.
//
// Either may write to a stream instead, such as std::cout. Errors: hornet::Error(kOutput).
#pragma once

#include <hornet/pipelines/output_guard.h>
#include <hornet/pipelines/results.h>
#include <hornet/pipelines/video.h>

#include <cstdint>
#include <fstream>
#include <opencv2/core.hpp>
#include <optional>
#include <ostream>
#include <vector>

namespace hornet {

// The stream that a writer writes to: the partial file of an OutputFile, or one of the caller's.
class ResultStream {
 public:
  explicit ResultStream(OutputFile file);
  explicit ResultStream(std::ostream& stream);  // which must outlive this

  std::ostream& stream() { return external_ != nullptr ? *external_ : file_stream_; }
  void keep_partial();
  void flush();   // throws if anything could not be written
  void finish();  // flushes and gives the file its name

 private:
  std::optional<OutputFile> file_;
  std::ofstream file_stream_;
  std::ostream* external_ = nullptr;
};

class JsonLinesWriter {
 public:
  JsonLinesWriter(ResultStream stream, ClassTable classes);

  // One line per instance; a frame without instances has none.
  void write(const FrameInfo& frame, const std::vector<Instance>& instances);
  void finish();
  int64_t objects_written() const { return objects_; }

 private:
  ResultStream stream_;
  ClassTable classes_;
  int64_t objects_ = 0;
};

class CocoResultsWriter {
 public:
  CocoResultsWriter(ResultStream stream, ClassTable classes);

  // The next image's instances; returns its image_id. Images that could not be read should be
  // passed with no instances, so that ids keep to the order of the files.
  int64_t write(cv::Size image, const std::vector<Instance>& instances);

  // More instances of the image that the last write() began.
  void add(cv::Size image, const std::vector<Instance>& instances);
  void finish();
  int64_t objects_written() const { return objects_; }

 private:
  ResultStream stream_;
  ClassTable classes_;
  int64_t images_ = 0;
  int64_t objects_ = 0;
};

}  // namespace hornet
