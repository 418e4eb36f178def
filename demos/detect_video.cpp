#include <hornet/backbone/error.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/video_detection.h>

#include <iostream>

#include "demos/detect_job.h"

namespace hornet::cli {
namespace {

VideoSource open_source(const DetectJob& job) {
  if (input_kind(job.input) == InputKind::kCamera) {
    return VideoSource(std::stoi(job.input), job.range);
  }
  return VideoSource(job.input, job.range);
}

}  // namespace

int detect_in_video(Detector& detector, const DetectJob& job, RunReport& report) {
  const InterruptGuard guard;
  VideoSource source = open_source(job);
  std::optional<VideoSink> sink;
  std::optional<JsonLinesWriter> json;
  if (!job.output.empty()) {
    sink.emplace(OutputFile(job.output, job.force), source.size(), source.output_fps());
  }
  if (!job.json.empty()) json.emplace(result_stream(job), detector.classes());

  Progress progress({job.progress, "detect", source.expected_frames(), "frames"});
  const VideoReport run =
      detect_video(detector, source, {sink ? &*sink : nullptr, json ? &*json : nullptr},
                   job.batch_size, progress);
  progress.finish();

  const bool stopped = interrupted();
  const std::optional<std::string> shortfall = stopped ? std::nullopt : source.shortfall();
  if (shortfall && !job.allow_truncated) {
    throw Error(ErrorCode::kInput, *shortfall + "; --allow-truncated keeps what could be read");
  }
  if (run.frames_in != run.frames_out) {
    throw Error(ErrorCode::kRuntime, job.input + ": " + std::to_string(run.frames_in) +
                                         " frames were decoded, but " +
                                         std::to_string(run.frames_out) + " written");
  }
  if (sink) sink->finish();
  if (json) json->finish();
  if (shortfall) report.warnings.push_back(*shortfall);
  if (const auto uneven = source.uneven_timing()) report.warnings.push_back(*uneven);
  report.counts = {
      {"frames_in", run.frames_in}, {"frames_out", run.frames_out}, {"objects", run.objects}};
  report.stages = run.stages;
  if (stopped) return static_cast<int>(ErrorCode::kInterrupted);
  return 0;
}

}  // namespace hornet::cli
