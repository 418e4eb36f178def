// Videos in and out, through OpenCV's FFmpeg backend, without losing a frame unnoticed.
//
//   VideoSource source("street.mp4", {/*start=*/100, /*stride=*/2, /*max_frames=*/500});
//   VideoSink sink(OutputFile("out.mp4"), source.size(), source.output_fps());
//   while (std::optional<Frame> frame = source.read()) sink.write(frame->bgr);
//   sink.finish();                                    // out.mp4 appears now
//
// Source. What containers say is believed as far as it can be checked. `start` is reached by
// decoding, because seeking is exact in few formats. The frame count is a hint for progress bars;
// a file that ends well before it, or holds damaged frames, is reported by shortfall(). A rate that
// is missing or absurd becomes 25 frames per second. Timestamps that stop advancing are continued
// at the rate. The first frame is decoded on opening: a file without one is an error there and
// then.
//
// Sink. Frames go to a partial file. finish() closes it, opens it again, compares its size, rate
// and number of frames with what was written, and only then gives it its name. The extension
// chooses container and codec: .mp4 .mov .mkv (H.264, else MPEG-4), .avi (Motion JPEG, else
// MPEG-4). Frames with an odd width or height fit into .avi only.
//
// Errors are hornet::Error: kInput for sources, kOutput for sinks, kUsage for an extension that
// no container has. One object belongs to one thread at a time.
#pragma once

#include <hornet/pipelines/output_guard.h>

#include <cstdint>
#include <filesystem>
#include <opencv2/core.hpp>
#include <opencv2/videoio.hpp>
#include <optional>
#include <string>

namespace hornet {

// Stops FFmpeg, OpenCV and their codecs from writing to stderr, unless the environment sets
// OPENCV_LOG_LEVEL or OPENCV_FFMPEG_LOGLEVEL. Sources and sinks call it; programs may call it
// early, before they start threads.
void silence_codecs();

struct FrameInfo {
  int64_t index = 0;        // in the source, from 0, with skipped frames counted
  double timestamp_ms = 0;  // since the source's first frame
  int width = 0;
  int height = 0;
  double fps = 0;  // of the source
};

struct Frame {
  FrameInfo info;
  cv::Mat bgr;  // CV_8UC3, the frame's own memory
};

// Which frames of a source are wanted.
struct VideoRange {
  int64_t start = 0;                  // index of the first one
  int64_t stride = 1;                 // every stride-th from there
  std::optional<int64_t> max_frames;  // at most so many
};

class VideoSource {
 public:
  // A file, or a URL that FFmpeg understands.
  explicit VideoSource(const std::string& file, VideoRange range = {});

  // The camera with this index.
  explicit VideoSource(int camera, VideoRange range = {});

  // The next wanted frame, or nothing at the end. Throws if its size is not the first one's.
  std::optional<Frame> read();

  cv::Size size() const { return size_; }
  double fps() const { return fps_; }

  // The rate at which the frames that read() yields play at the source's speed: fps / stride.
  double output_fps() const { return fps_ / static_cast<double>(range_.stride); }

  // How many frames read() will yield, as far as the container knows.
  std::optional<int64_t> expected_frames() const;

  // A sentence if frames are missing: the file ended well before the length that its container
  // promises, or some frames before the last one read cannot be decoded. Of use once read() has
  // returned nothing.
  std::optional<std::string> shortfall() const;

  // A sentence if the frames' timestamps drift away from a constant rate by more than half a
  // second: an output of constant rate then plays at another speed.
  std::optional<std::string> uneven_timing() const;

 private:
  void start();
  bool grab();
  bool has_yielded_enough() const;
  bool is_cut_off() const;
  std::optional<Frame> retrieve();
  void update_timestamp();

  std::string name_;
  VideoRange range_;
  bool is_file_ = false;
  cv::VideoCapture capture_;
  double fps_ = 0;
  std::optional<int64_t> promised_frames_;
  cv::Size size_;
  std::optional<Frame> pending_;  // the first frame until it is read
  int64_t next_index_ = 0;        // of the frame that the next grab() finds, damaged ones counted
  int64_t damaged_ = 0;
  int64_t yielded_ = 0;
  std::optional<double> first_timestamp_ms_;
  double timestamp_ms_ = 0;
  double drift_ms_ = 0;
  bool ended_ = false;
};

// Throws hornet::Error(kUsage) that lists the known extensions if `file` has none of them.
void check_video_extension(const std::filesystem::path& file);

class VideoSink {
 public:
  VideoSink(OutputFile file, cv::Size size, double fps);

  // Appends a frame (CV_8UC3) of the sink's size.
  void write(const cv::Mat& bgr);

  // Closes the video, verifies it and gives it its name. A sink without frames leaves nothing.
  void finish();

  int64_t frames_written() const { return written_; }

  // The four letters of the codec in use, such as "avc1".
  const std::string& codec() const { return codec_; }

 private:
  OutputFile file_;
  cv::Size size_;
  double fps_;
  std::string codec_;
  cv::VideoWriter writer_;
  int64_t written_ = 0;
};

}  // namespace hornet
