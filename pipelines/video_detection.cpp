#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/stages.h>
#include <hornet/pipelines/video_detection.h>

namespace hornet {
namespace {

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
    report_.stages = {decode_time_, infer_time_, write_time_};
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
      if (!decoded_.push(std::move(*frame))) return;
    }
  }

  void infer() {
    std::vector<Frame> batch;
    while (std::optional<Frame> frame = decoded_.pop()) {
      batch.push_back(std::move(*frame));
      if (batch.size() == batch_size_ && !infer_batch(batch)) return;
    }
    if (!batch.empty()) infer_batch(batch);
  }

  // False if nobody takes results any more.
  bool infer_batch(std::vector<Frame>& batch) {
    std::vector<cv::Mat> images;
    for (const Frame& frame : batch) images.push_back(frame.bgr);
    std::vector<std::vector<Instance>> found;
    {
      const StageTimer timer(infer_time_, static_cast<int64_t>(batch.size()));
      found = detector_(images);
    }
    for (size_t i = 0; i < batch.size(); ++i) {
      if (!finished_.push({std::move(batch[i]), std::move(found[i])})) return false;
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
  BoundedQueue<Frame> decoded_;
  BoundedQueue<FrameResult> finished_;
  StageTime decode_time_{"decode"}, infer_time_{"infer"}, write_time_{"draw_encode"};
  VideoReport report_;
};

}  // namespace

VideoReport detect_video(Detector& detector, VideoSource& source, const VideoOutputs& outputs,
                         int batch_size, Progress& progress) {
  return VideoRun(detector, source, outputs, batch_size, progress).run();
}

}  // namespace hornet
