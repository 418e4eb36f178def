#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/video.h>

#include <functional>

#include "temporary_folder.h"

namespace hornet {
namespace {

namespace fs = std::filesystem;

class Video : public TemporaryFolder {
 protected:
  // A frame that tells its number in binary, in black and white blocks that survive any codec.
  static cv::Rect block(int bit) { return {16 * (bit % 4), 16 * (bit / 4), 16, 16}; }

  static cv::Mat numbered_frame(int number, cv::Size size) {
    cv::Mat frame(size, CV_8UC3, cv::Scalar::all(0));
    for (int bit = 0; bit < 8; ++bit) {
      const cv::Rect inside = block(bit) & cv::Rect({}, size);
      if (number >> bit & 1) frame(inside).setTo(cv::Scalar::all(255));
    }
    return frame;
  }

  static int number_of(const cv::Mat& frame) {
    int number = 0;
    for (int bit = 0; bit < 8; ++bit) number |= (cv::mean(frame(block(bit)))[1] > 127) << bit;
    return number;
  }

  fs::path make_video(const std::string& name, int frames, cv::Size size = {64, 48},
                      double fps = 12.5) {
    VideoSink sink(OutputFile(path(name)), size, fps);
    for (int i = 0; i < frames; ++i) sink.write(numbered_frame(i, size));
    sink.finish();
    return path(name);
  }

  static std::optional<std::string> shortfall_after_reading(const fs::path& file) {
    VideoSource source(file.string());
    while (source.read()) {
    }
    return source.shortfall();
  }

  static void expect_error(ErrorCode code, const std::string& part,
                           const std::function<void()>& action) {
    try {
      action();
      FAIL() << "no error, expected: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
};

TEST_F(Video, RoundTripsInEveryContainer) {
  for (const char* name : {"a.avi", "a.mp4", "a.mov", "a.mkv"}) {
    const fs::path file = make_video(name, 40);
    VideoSource source(file.string());
    EXPECT_EQ(source.size(), cv::Size(64, 48)) << name;
    EXPECT_NEAR(source.fps(), 12.5, 0.01) << name;
    EXPECT_EQ(source.expected_frames(), 40) << name;
    int frames = 0;
    while (std::optional<Frame> frame = source.read()) {
      EXPECT_EQ(frame->info.index, frames) << name;
      EXPECT_NEAR(frame->info.timestamp_ms, frames * 80.0, 1) << name;
      EXPECT_EQ(number_of(frame->bgr), frames) << name;
      ++frames;
    }
    EXPECT_EQ(frames, 40) << name;
    EXPECT_FALSE(source.read()) << name;
    EXPECT_FALSE(source.shortfall()) << name;
    EXPECT_FALSE(source.uneven_timing()) << name;
  }
}

TEST_F(Video, KeepsFractionalRates) {
  VideoSource source(make_video("ntsc.mp4", 30, {64, 48}, 30000.0 / 1001).string());
  EXPECT_NEAR(source.fps(), 29.97, 0.001);
}

TEST_F(Video, KeepsOddSizesAndRatesInAvi) {
  VideoSource source(make_video("odd.avi", 9, {33, 21}, 30000.0 / 1001).string());
  EXPECT_EQ(source.size(), cv::Size(33, 21));
  EXPECT_NEAR(source.fps(), 29.97, 0.001);
  expect_error(ErrorCode::kOutput, "write an .avi", [&] { make_video("odd.mp4", 9, {33, 21}); });
}

TEST_F(Video, StartStrideAndMaxFramesPickFrames) {
  const std::string file = make_video("a.avi", 40).string();
  VideoSource source(file, {/*start=*/5, /*stride=*/3, /*max_frames=*/4});
  EXPECT_EQ(source.expected_frames(), 4);
  EXPECT_NEAR(source.output_fps(), 12.5 / 3, 1e-6);
  std::vector<int64_t> indices;
  while (std::optional<Frame> frame = source.read()) {
    indices.push_back(frame->info.index);
    EXPECT_EQ(number_of(frame->bgr), frame->info.index);
    EXPECT_NEAR(frame->info.timestamp_ms, static_cast<double>(frame->info.index) * 80, 1);
  }
  EXPECT_EQ(indices, (std::vector<int64_t>{5, 8, 11, 14}));
  EXPECT_FALSE(source.shortfall());
  EXPECT_EQ(VideoSource(file, {/*start=*/38, /*stride=*/4, {}}).expected_frames(), 1);
}

TEST_F(Video, RejectsRangesThatHoldNothing) {
  const std::string file = make_video("a.avi", 10).string();
  expect_error(ErrorCode::kInput, "it has 10 frames", [&] {
    VideoSource(file, {/*start=*/10, 1, {}});
  });
  expect_error(ErrorCode::kUsage, "--stride", [&] { VideoSource(file, {0, /*stride=*/0, {}}); });
  expect_error(ErrorCode::kUsage, "--start", [&] { VideoSource(file, {-1, 1, {}}); });
}

TEST_F(Video, FramesOwnTheirMemory) {
  VideoSource source(make_video("a.avi", 10).string());
  const std::optional<Frame> first = source.read();
  while (source.read()) {
  }
  EXPECT_EQ(number_of(first->bgr), 0);
}

TEST_F(Video, ReportsATruncatedFile) {
  const fs::path file = make_video("a.avi", 40);
  fs::resize_file(file, fs::file_size(file) * 6 / 10);
  VideoSource source(file.string());
  EXPECT_FALSE(source.shortfall());
  int frames = 0;
  while (source.read()) ++frames;
  EXPECT_LT(frames, 35);
  ASSERT_TRUE(source.shortfall());
  EXPECT_NE(source.shortfall()->find("expected 40 frames"), std::string::npos);
}

TEST_F(Video, UnreadableFilesAreInputErrors) {
  const auto open = [&](const std::string& name) {
    return [file = path(name).string()] { VideoSource source(file); };
  };
  expect_error(ErrorCode::kInput, "no such file", open("missing.mp4"));
  expect_error(ErrorCode::kInput, "found a folder", open("."));
  write_file(path("empty.mp4"), "");
  expect_error(ErrorCode::kInput, "found an empty file", open("empty.mp4"));
  write_file(path("text.mp4"), std::string(5000, 'x'));
  expect_error(ErrorCode::kInput, "not a video", open("text.mp4"));
  fs::resize_file(make_video("cut.mp4", 40), 700);
  expect_error(ErrorCode::kInput, "cut.mp4", open("cut.mp4"));
  const fs::path avi = make_video("cut.avi", 40);
  fs::resize_file(avi, read_file(avi).find("movi") + 20);
  expect_error(ErrorCode::kInput, "cut.avi", open("cut.avi"));
}

// FFmpeg repeats the frame before, or leaves the damaged one out.
TEST_F(Video, DamagedFramesDoNotEndTheVideo) {
  const fs::path file = make_video("a.avi", 40);
  std::string bytes = read_file(file);
  size_t position = bytes.find("movi");
  for (int frame = 0; frame < 20; ++frame) position = bytes.find("00dc", position + 4);
  bytes.replace(position + 8, 150, 150, 'x');
  write_file(file, bytes);
  VideoSource source(file.string());
  int64_t frames = 0;
  int64_t last = -1;
  while (std::optional<Frame> frame = source.read()) {
    ++frames;
    EXPECT_GT(frame->info.index, last);
    last = frame->info.index;
    EXPECT_TRUE(last == 19 || number_of(frame->bgr) == last) << last;
  }
  EXPECT_EQ(last, 39);
  EXPECT_EQ(frames < 40, source.shortfall().has_value());
}

TEST_F(Video, ReportsATruncatedMp4ByItsBoxes) {
  const fs::path file = make_video("a.mp4", 40);
  const std::string bytes = read_file(file);
  EXPECT_FALSE(shortfall_after_reading(file));
  const std::string junk("\0\0\0\x40mdat", 8);
  write_file(file, bytes + junk + "cut off");
  EXPECT_TRUE(shortfall_after_reading(file));
  write_file(file, bytes + junk + std::string(0x40 - 8, 'x'));
  EXPECT_FALSE(shortfall_after_reading(file));
}

TEST_F(Video, DamageWritesNothingToStderr) {
  const fs::path file = make_video("a.avi", 40);
  std::string bytes = read_file(file).substr(0, fs::file_size(file) * 3 / 4);
  bytes.replace(bytes.size() * 3 / 4, 300, 300, 'x');
  write_file(file, bytes);
  write_file(path("text.mp4"), std::string(5000, 'x'));
  ::testing::internal::CaptureStderr();
  EXPECT_THROW(VideoSource(path("text.mp4").string()), Error);
  VideoSource source(file.string());
  while (source.read()) {
  }
  EXPECT_TRUE(source.shortfall());
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST_F(Video, AnUnknownExtensionIsAUsageError) {
  expect_error(ErrorCode::kUsage, "use one of .mp4", [&] {
    VideoSink(OutputFile(path("a.webp")), {64, 48}, 25);
  });
  EXPECT_NO_THROW(check_video_extension("B.MP4"));
  EXPECT_EQ(files_in_folder(), 0u);
}

TEST_F(Video, AFrameOfAnotherSizeIsAnOutputError) {
  VideoSink sink(OutputFile(path("a.avi")), {64, 48}, 25);
  expect_error(ErrorCode::kOutput, "expected frames of 64x48, found 32x48", [&] {
    sink.write(numbered_frame(0, {32, 48}));
  });
}

TEST_F(Video, AppearsOnlyWhenFinished) {
  {
    VideoSink sink(OutputFile(path("a.mp4")), {64, 48}, 25);
    sink.write(numbered_frame(0, {64, 48}));
    EXPECT_FALSE(fs::exists(path("a.mp4")));
  }
  EXPECT_EQ(files_in_folder(), 0u);
  VideoSink(OutputFile(path("a.mp4")), {64, 48}, 25).finish();
  EXPECT_EQ(files_in_folder(), 0u);
  make_video("a.mp4", 1);
  EXPECT_EQ(files_in_folder(), 1u);
}

// A disk that fills up loses data behind the sink's back.
TEST_F(Video, LostFramesAreNoticed) {
  OutputFile file(path("a.avi"));
  const fs::path partial = file.partial();
  VideoSink sink(std::move(file), {64, 48}, 25);
  for (int i = 0; i < 20; ++i) sink.write(numbered_frame(i, {64, 48}));
  make_video("other.avi", 12, {64, 48}, 25);
  fs::rename(path("other.avi"), partial);
  expect_error(ErrorCode::kOutput, "expected 20 frames, found 12", [&] { sink.finish(); });
  EXPECT_FALSE(fs::exists(path("a.avi")));
}

}  // namespace
}  // namespace hornet
