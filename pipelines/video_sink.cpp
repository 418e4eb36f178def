#include <hornet/backbone/error.h>
#include <hornet/pipelines/video.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <opencv2/videoio/registry.hpp>
#include <sstream>
#include <utility>
#include <vector>

namespace hornet {
namespace {

namespace fs = std::filesystem;

struct Container {
  const char* extension;
  std::vector<std::string> codecs;  // the best first
};

const std::vector<Container>& containers() {
  static const std::vector<Container> kContainers = {{".mp4", {"avc1", "mp4v"}},
                                                     {".mov", {"avc1", "mp4v"}},
                                                     {".mkv", {"H264", "FMP4"}},
                                                     {".avi", {"MJPG", "XVID"}}};
  return kContainers;
}

std::string lower_extension(const fs::path& file) {
  std::string extension = file.extension().string();
  for (char& letter : extension) {
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  return extension;
}

const Container* find_container(const fs::path& file) {
  const std::string extension = lower_extension(file);
  for (const Container& container : containers()) {
    if (extension == container.extension) return &container;
  }
  return nullptr;
}

bool is_odd(cv::Size size) { return size.width % 2 != 0 || size.height % 2 != 0; }

int fourcc(const std::string& codec) {
  return cv::VideoWriter::fourcc(codec[0], codec[1], codec[2], codec[3]);
}

std::string describe(cv::Size size, double fps) {
  std::ostringstream text;
  text << size.width << "x" << size.height << " at " << fps << " frames per second";
  return text.str();
}

// OpenCV's own AVI writer rounds the rate to whole frames per second. The header (the chunk
// "strh" of the video stream) can say it exactly: rate / scale, both little-endian.
void set_avi_rate(const fs::path& file, double fps) {
  constexpr size_t kHeaderSize = 1024;
  constexpr size_t kScaleOffset = 28;  // from the start of "strh": tag, size, then 20 bytes
  constexpr uint32_t kScale = 100000;
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  std::string header(kHeaderSize, '\0');
  stream.read(header.data(), kHeaderSize);
  header.resize(stream.gcount());
  stream.clear();
  const size_t chunk = header.find("strh");
  if (chunk == std::string::npos) return;
  stream.seekp(static_cast<std::streamoff>(chunk + kScaleOffset));
  for (const uint32_t value : {kScale, static_cast<uint32_t>(std::lround(fps * kScale))}) {
    for (int byte = 0; byte < 4; ++byte) stream.put(static_cast<char>(value >> (8 * byte)));
  }
}

// The number of frames in a file that we wrote. The container's count is believed if its last
// frame can be decoded and none follows: on a full disk the header may promise more than there is.
int64_t count_frames(const fs::path& file, cv::VideoCapture& capture) {
  const double promised = capture.get(cv::CAP_PROP_FRAME_COUNT);
  if (promised >= 1 && capture.set(cv::CAP_PROP_POS_FRAMES, promised - 1) && capture.grab() &&
      !capture.grab()) {
    return static_cast<int64_t>(promised);
  }
  capture.open(file.string(), cv::CAP_ANY);
  int64_t frames = 0;
  while (capture.grab()) ++frames;
  return frames;
}

void verify(const OutputFile& file, cv::Size size, double fps, int64_t frames) {
  constexpr double kRateTolerance = 2e-3;  // OpenCV keeps three decimals, Matroska milliseconds
  const fs::path partial = fs::absolute(file.partial());
  cv::VideoCapture capture(partial.string(), cv::CAP_ANY);
  if (!capture.isOpened()) file.fail("the video just written cannot be opened");
  const cv::Size found_size(static_cast<int>(capture.get(cv::CAP_PROP_FRAME_WIDTH)),
                            static_cast<int>(capture.get(cv::CAP_PROP_FRAME_HEIGHT)));
  const double found_fps = capture.get(cv::CAP_PROP_FPS);
  const bool same_rate =
      std::abs(found_fps - fps) <= std::max(kRateTolerance, kRateTolerance * fps);
  if (found_size != size || (frames > 1 && !same_rate)) {
    file.fail("expected " + describe(size, fps) + ", found " + describe(found_size, found_fps));
  }
  const int64_t found = count_frames(partial, capture);
  if (found != frames) {
    file.fail("expected " + std::to_string(frames) + " frames, found " + std::to_string(found));
  }
}

}  // namespace

void check_video_extension(const fs::path& file) {
  if (find_container(file) != nullptr) return;
  std::string known;
  for (const Container& container : containers()) known += std::string(" ") + container.extension;
  throw Error(ErrorCode::kUsage, file.string() + ": '" + file.extension().string() +
                                     "' is not a video that can be written; use one of" + known);
}

VideoSink::VideoSink(OutputFile file, cv::Size size, double fps)
    : file_(std::move(file)), size_(size), fps_(fps) {
  silence_codecs();
  check_video_extension(file_.target());
  const Container& container = *find_container(file_.target());
  const bool odd = is_odd(size);
  if (odd && std::string(container.extension) != ".avi") {
    throw Error(ErrorCode::kOutput, file_.target().string() + ": " + container.extension +
                                        " cannot hold frames of " + std::to_string(size.width) +
                                        "x" + std::to_string(size.height) +
                                        ", an odd size; write an .avi instead");
  }
  // FFmpeg's writers in OpenCV drop the last column or row of odd sizes; its own does not.
  const int backend = odd                                                ? cv::CAP_OPENCV_MJPEG
                      : cv::videoio_registry::hasBackend(cv::CAP_FFMPEG) ? cv::CAP_FFMPEG
                                                                         : cv::CAP_ANY;
  for (const std::string& codec : container.codecs) {
    const std::string name = fs::absolute(file_.partial()).string();
    if (!writer_.open(name, backend, fourcc(codec), fps, size)) continue;
    codec_ = codec;
    return;
  }
  file_.fail("OpenCV has no encoder for " + describe(size, fps) + " in " + container.extension);
}

void VideoSink::write(const cv::Mat& bgr) {
  if (bgr.size() != size_ || bgr.type() != CV_8UC3) {
    file_.fail("expected frames of " + std::to_string(size_.width) + "x" +
               std::to_string(size_.height) + ", found " + std::to_string(bgr.cols) + "x" +
               std::to_string(bgr.rows));
  }
  writer_.write(bgr);
  ++written_;
}

void VideoSink::finish() {
  writer_.release();
  if (written_ == 0) {
    file_.discard();
    return;
  }
  if (is_odd(size_)) set_avi_rate(file_.partial(), fps_);
  verify(file_, size_, fps_, written_);
  file_.commit();
}

}  // namespace hornet
