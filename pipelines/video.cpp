#include <hornet/backbone/error.h>
#include <hornet/pipelines/video.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/videoio/registry.hpp>
#include <utility>

namespace hornet {
namespace {

namespace fs = std::filesystem;

constexpr double kFallbackFps = 25;
constexpr double kMaxFps = 1000;
constexpr double kMaxPromisedFrames = 1e9;
constexpr double kMaxDriftMs = 500;
constexpr int kMaxDamagedRun = 100;  // frames after which the rest is given up

[[noreturn]] void fail_input(const std::string& name, const std::string& what) {
  throw Error(ErrorCode::kInput, name + ": " + what);
}

// Other backends answer to damaged files with warnings of their own, or take them for patterns
// of image names.
int file_backend() {
  return cv::videoio_registry::hasBackend(cv::CAP_FFMPEG) ? cv::CAP_FFMPEG : cv::CAP_ANY;
}

bool is_url(const std::string& name) { return name.find("://") != std::string::npos; }

void check_file(const std::string& name) {
  std::error_code error;
  const fs::file_status status = fs::status(name, error);
  if (!fs::exists(status)) fail_input(name, "there is no such file");
  if (fs::is_directory(status)) fail_input(name, "expected a video, found a folder");
  if (fs::is_regular_file(status) && fs::file_size(name, error) == 0) {
    fail_input(name, "expected a video, found an empty file");
  }
}

void check_range(const VideoRange& range) {
  if (range.start >= 0 && range.stride >= 1 && range.max_frames.value_or(1) >= 1) return;
  throw Error(ErrorCode::kUsage,
              "--start must be at least 0, --stride and --max-frames at least 1");
}

// Whether the top-level boxes of an MP4 or MOV file end within it; nothing for other files.
// Their frame count includes what an edit list hides, so it cannot tell a trimmed video from one
// that is cut off. A box is: size (4 bytes, big-endian), type (4), and if size is 1, size (8).
std::optional<bool> has_whole_boxes(const std::string& name) {
  std::ifstream stream(name, std::ios::binary);
  std::error_code error;
  const uint64_t file_size = fs::file_size(name, error);
  const auto big_endian = [&stream](int bytes) {
    uint64_t value = 0;
    while (bytes-- > 0) value = value << 8 | static_cast<uint8_t>(stream.get());
    return value;
  };
  for (uint64_t begin = 0; !error && begin < file_size;) {
    stream.seekg(static_cast<std::streamoff>(begin));
    uint64_t size = big_endian(4);
    const uint64_t type = big_endian(4);
    if (size == 1) size = big_endian(8);
    if (begin == 0 && type != 0x66747970) return std::nullopt;  // "ftyp"
    if (size == 0) return true;                                 // up to the end of the file
    if (!stream || size < 8 || size > file_size - begin) return false;
    begin += size;
  }
  return true;
}

bool is_rate(double fps) { return std::isfinite(fps) && fps > 0 && fps <= kMaxFps; }

std::string number(double value, int decimals = 2) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", decimals, value);
  return text;
}

std::string size_text(cv::Size size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height);
}

}  // namespace

void silence_codecs() {
  static std::once_flag once;
  std::call_once(once, [] {
    constexpr const char* kQuiet = "-8";  // FFmpeg's AV_LOG_QUIET
    setenv("OPENCV_FFMPEG_LOGLEVEL", kQuiet, /*overwrite=*/0);
    if (std::getenv("OPENCV_LOG_LEVEL") == nullptr) {
      cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    }
  });
}

VideoSource::VideoSource(const std::string& file, VideoRange range)
    : name_(file), range_(range), is_file_(!is_url(file)) {
  silence_codecs();
  check_range(range_);
  if (is_file_) check_file(file);
  // An absolute name is never taken for one of FFmpeg's protocols ("12:30.avi").
  const std::string location = is_file_ ? fs::absolute(file).string() : file;
  if (!capture_.open(location, file_backend())) {
    fail_input(name_,
               "not a video that FFmpeg can open: it is damaged, cut off, or of a format "
               "that is not supported");
  }
  const double promised = capture_.get(cv::CAP_PROP_FRAME_COUNT);
  if (promised >= 1 && promised < kMaxPromisedFrames) {
    promised_frames_ = static_cast<int64_t>(promised);
  }
  start();
}

VideoSource::VideoSource(int camera, VideoRange range)
    : name_("camera " + std::to_string(camera)), range_(range) {
  silence_codecs();
  check_range(range_);
  if (!capture_.open(camera)) fail_input(name_, "there is no such camera, or it is in use");
  start();
}

void VideoSource::start() {
  fps_ = capture_.get(cv::CAP_PROP_FPS);
  if (!is_rate(fps_)) fps_ = kFallbackFps;
  while (next_index_ <= range_.start && grab()) {
  }
  if (next_index_ == 0) fail_input(name_, "it has no frame that can be decoded");
  if (next_index_ <= range_.start) {
    fail_input(name_, "it has " + std::to_string(next_index_) + " frames, so --start " +
                          std::to_string(range_.start) + " is behind its end");
  }
  pending_ = retrieve();
  if (!pending_) fail_input(name_, "its first frame cannot be decoded");
}

// A frame that cannot be decoded looks like the end of the file, but others may follow.
bool VideoSource::grab() {
  for (int failed = 0; !ended_ && failed < kMaxDamagedRun; ++failed) {
    if (capture_.grab()) {
      damaged_ += failed;
      next_index_ += failed + 1;
      update_timestamp();
      return true;
    }
    if (!is_file_) break;
  }
  ended_ = true;
  return false;
}

void VideoSource::update_timestamp() {
  const double reported = capture_.get(cv::CAP_PROP_POS_MSEC);
  if (!first_timestamp_ms_) {
    // Where B-frames come first, OpenCV reports the first frame's negative decoding time.
    first_timestamp_ms_ = std::isfinite(reported) ? std::max(0.0, reported) : 0;
    return;
  }
  const double since_first = reported - *first_timestamp_ms_;
  const bool advances = std::isfinite(since_first) && since_first > timestamp_ms_;
  timestamp_ms_ = advances ? since_first : timestamp_ms_ + 1000 / fps_;
  const double even = static_cast<double>(next_index_ - 1) * 1000 / fps_;
  drift_ms_ = std::max(drift_ms_, std::abs(timestamp_ms_ - even));
}

bool VideoSource::has_yielded_enough() const {
  return range_.max_frames && yielded_ >= *range_.max_frames;
}

std::optional<Frame> VideoSource::retrieve() {
  Frame frame;
  if (!capture_.retrieve(frame.bgr) || frame.bgr.empty()) {
    ended_ = true;
    return std::nullopt;
  }
  const cv::Size size = frame.bgr.size();
  if (size_.empty()) size_ = size;
  frame.info = {next_index_ - 1, timestamp_ms_, size.width, size.height, fps_};
  if (size != size_) {
    fail_input(name_, "the frames change from " + size_text(size_) + " to " + size_text(size) +
                          " at frame " + std::to_string(next_index_ - 1) + "; cut the video there");
  }
  return frame;
}

std::optional<Frame> VideoSource::read() {
  if (has_yielded_enough()) return std::nullopt;
  std::optional<Frame> frame = std::exchange(pending_, std::nullopt);
  if (!frame) {
    for (int64_t skipped = 0; skipped < range_.stride; ++skipped) {
      if (!grab()) return std::nullopt;
    }
    frame = retrieve();
  }
  if (frame) ++yielded_;
  return frame;
}

std::optional<int64_t> VideoSource::expected_frames() const {
  std::optional<int64_t> frames = range_.max_frames;
  if (promised_frames_) {
    const int64_t rest = std::max<int64_t>(1, *promised_frames_ - range_.start);
    const int64_t strided = (rest + range_.stride - 1) / range_.stride;
    frames = std::min(strided, frames.value_or(strided));
  }
  return frames;
}

std::optional<std::string> VideoSource::shortfall() const {
  if (!is_file_) return std::nullopt;
  if (ended_ && is_cut_off()) {
    const int64_t found = next_index_ - damaged_;
    if (found >= promised_frames_.value_or(found)) {
      return name_ + ": the file is cut off within its last frames";
    }
    return name_ + ": expected " + std::to_string(*promised_frames_) +
           " frames as its container says, found " + std::to_string(found) +
           "; the video is cut off or damaged";
  }
  if (damaged_ == 0) return std::nullopt;
  return name_ + ": damaged; " + std::to_string(damaged_) + " of its first " +
         std::to_string(next_index_) + " frames cannot be decoded";
}

// A promise may be computed from a duration and a guessed rate, so time must be missing too.
bool VideoSource::is_cut_off() const {
  if (const std::optional<bool> whole = has_whole_boxes(name_)) return !*whole;
  const int64_t promised = promised_frames_.value_or(0);
  const int64_t tolerance = std::max<int64_t>(2, promised / 200);
  const double frame_ms = 1000 / fps_;
  const double missing_ms = static_cast<double>(promised - 1) * frame_ms - timestamp_ms_;
  return promised - next_index_ > tolerance &&
         missing_ms > static_cast<double>(tolerance) * frame_ms;
}

std::optional<std::string> VideoSource::uneven_timing() const {
  if (!is_file_ || drift_ms_ <= kMaxDriftMs) return std::nullopt;
  return name_ + ": its frame rate varies (up to " + number(drift_ms_ / 1000) + " s away from " +
         number(fps_, 3) + " frames per second); an output video plays at a constant rate";
}

}  // namespace hornet
