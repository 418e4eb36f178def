#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/stages.h>
#include <hornet/pipelines/video_detection.h>

namespace hornet {
namespace {

struct FrameInput {
  Frame frame;
  Preprocessed input;  // of the network
};

struct FrameResult {
  Frame frame;
  std::vector<Instance> instances;
};

class VideoRun {
 public:
  VideoRun(Detector& detector, VideoSource& source, const VideoOutputs& outputs, int batch_size,
           Progress& progress)
      : detector_(detector),
        source_(source),
        outputs_(outputs),
        progress_(progress),
        batch_size_(static_cast<size_t>(batch_size)),
        decoded_(batch_size_ + 2),
        finished_(batch_size_ + 2) {}

  VideoReport run() {
    run_stages(
        decoded_, finished_, [this] { decode(); }, [this] { infer(); },
        [this](FrameResult& result) { write(result); });
    report_.stages = {decode_time_, preprocess_time_, infer_time_, write_time_};
    return report_;
  }

 private:
  void decode() {
    while (!interrupted()) {
      std::optional<Frame> frame;
      {
        const StageTimer timer(decode_time_, 1);
        frame = source_.read();
      }
      if (!frame) {
        --decode_time_.count;
        return;
      }
      ++report_.frames_in;
      if (!decoded_.push(preprocess(std::move(*frame)))) return;
    }
  }

  FrameInput preprocess(Frame frame) {
    const StageTimer timer(preprocess_time_, 1);
    Preprocessed input = detector_.preprocess(frame.bgr);
    input.resized_rgb.release();  // which no detector reads
    return {std::move(frame), std::move(input)};
  }

  void infer() {
    std::vector<FrameInput> batch;
    while (std::optional<FrameInput> frame = decoded_.pop()) {
      batch.push_back(std::move(*frame));
      if (batch.size() == batch_size_ && !infer_batch(batch)) return;
    }
    if (!batch.empty()) infer_batch(batch);
  }

  // False if nobody takes results any more.
  bool infer_batch(std::vector<FrameInput>& batch) {
    std::vector<Preprocessed> inputs;
    for (FrameInput& frame : batch) inputs.push_back(std::move(frame.input));
    std::vector<std::vector<Instance>> found;
    {
      const StageTimer timer(infer_time_, static_cast<int64_t>(batch.size()));
      found = detector_.run(inputs);
    }
    for (size_t i = 0; i < batch.size(); ++i) {
      if (!finished_.push({std::move(batch[i].frame), std::move(found[i])})) return false;
    }
    batch.clear();
    return true;
  }

  void write(FrameResult& result) {
    const StageTimer timer(write_time_, 1);
    if (outputs_.json != nullptr) outputs_.json->write(result.frame.info, result.instances);
    if (outputs_.video != nullptr) {
      draw(result.frame.bgr, result.instances, detector_.classes());
      outputs_.video->write(result.frame.bgr);
    }
    report_.objects += static_cast<int64_t>(result.instances.size());
    ++report_.frames_out;
    progress_.advance();
  }

  Detector& detector_;
  VideoSource& source_;
  const VideoOutputs& outputs_;
  Progress& progress_;
  const size_t batch_size_;
  BoundedQueue<FrameInput> decoded_;
  BoundedQueue<FrameResult> finished_;
  StageTime decode_time_{"decode"}, preprocess_time_{"preprocess"}, infer_time_{"infer"},
      write_time_{"draw_encode"};
  VideoReport report_;
};

}  // namespace

VideoReport detect_video(Detector& detector, VideoSource& source, const VideoOutputs& outputs,
                         int batch_size, Progress& progress) {
  return VideoRun(detector, source, outputs, batch_size, progress).run();
}

}  // namespace hornet
