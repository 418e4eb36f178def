#include <hornet/backbone/error.h>
#include <hornet/pipelines/drawing.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/result_writers.h>

#include <algorithm>
#include <iostream>
#include <opencv2/imgcodecs.hpp>

#include "demos/detect_job.h"
#include "demos/image_files.h"

namespace hornet::cli {
namespace {

namespace fs = std::filesystem;

// Detection in a list of images, in batches, with results in the order of the list.
class ImageRun {
 public:
  ImageRun(Detector& detector, const DetectJob& job)
      : detector_(detector),
        job_(job),
        paths_(list_images(job)),
        progress_({job.progress, "detect", static_cast<int64_t>(paths_.size()), "images"}) {
    if (!job.json.empty()) json_.emplace(result_stream(job), detector.classes());
    prepare_outputs(job, paths_);
  }

  int run(RunReport& report) {
    for (size_t begin = 0; begin < paths_.size() && !interrupted();) {
      const size_t end = std::min(paths_.size(), begin + static_cast<size_t>(job_.batch_size));
      run_batch({paths_.begin() + static_cast<std::ptrdiff_t>(begin),
                 paths_.begin() + static_cast<std::ptrdiff_t>(end)});
      begin = end;
    }
    progress_.finish();
    if (json_) json_->finish();
    for (const fs::path& path : paths_) report.images.push_back(path.filename().string());
    report.counts = {{"images_in", static_cast<int64_t>(paths_.size())},
                     {"images_out", done_},
                     {"objects", objects_}};
    report.stages = {load_time_, infer_time_, write_time_};
    report.warnings = failures_;
    if (interrupted()) return static_cast<int>(ErrorCode::kInterrupted);
    return failures_.empty() ? 0 : static_cast<int>(ErrorCode::kPartial);
  }

 private:
  void run_batch(const std::vector<fs::path>& paths) {
    std::vector<cv::Mat> images;
    for (const fs::path& path : paths) images.push_back(load(path));
    std::vector<cv::Mat> readable;
    for (const cv::Mat& image : images) {
      if (!image.empty()) readable.push_back(image);
    }
    const auto found = infer(readable);
    size_t next = 0;
    for (size_t i = 0; i < paths.size(); ++i) {
      if (images[i].empty()) {
        if (json_) json_->write({1, 1}, {});
      } else {
        write(paths[i], images[i], found[next++]);
      }
      progress_.advance();
    }
  }

  std::vector<std::vector<Instance>> infer(const std::vector<cv::Mat>& images) {
    const StageTimer timer(infer_time_, static_cast<int64_t>(images.size()));
    return detector_(images);
  }

  // An empty image if it cannot be read and is one of several.
  cv::Mat load(const fs::path& path) {
    const StageTimer timer(load_time_);
    try {
      return load_image(path);
    } catch (const Error& error) {
      if (paths_.size() == 1) throw;
      failures_.emplace_back(error.what());
      return {};
    }
  }

  void write(const fs::path& path, cv::Mat& image, const std::vector<Instance>& found) {
    const StageTimer timer(write_time_);
    if (json_) json_->write(image.size(), found);
    if (!job_.output.empty()) {
      draw(image, found, detector_.classes());
      write_image(OutputFile(output_path(job_, path), job_.force), image);
    }
    ++done_;
    objects_ += static_cast<int64_t>(found.size());
  }

  Detector& detector_;
  const DetectJob& job_;
  std::vector<fs::path> paths_;
  Progress progress_;
  std::optional<CocoResultsWriter> json_;
  std::vector<std::string> failures_;
  StageTime load_time_{"load"}, infer_time_{"infer"}, write_time_{"draw_write"};
  int64_t done_ = 0, objects_ = 0;
};

}  // namespace

InputKind input_kind(const std::string& input) {
  std::error_code ignored;  // of a name that cannot exist: opening it will say so
  if (fs::is_directory(input, ignored)) return InputKind::kFolder;
  if (has_image_extension(input)) return InputKind::kImage;
  const bool number =
      !input.empty() && input.size() <= 3 &&
      std::all_of(input.begin(), input.end(), [](unsigned char c) { return std::isdigit(c); });
  if (number && !fs::exists(input, ignored)) return InputKind::kCamera;
  return InputKind::kVideo;
}

ResultStream result_stream(const DetectJob& job) {
  if (job.json == "-") return ResultStream(std::cout);
  return ResultStream(OutputFile(job.json, job.force));
}

std::vector<fs::path> list_images(const DetectJob& job) {
  if (input_kind(job.input) != InputKind::kFolder) return {job.input};
  return images_in(job.input, job.tiles ? ImageFiles::kRasters : ImageFiles::kImages);
}

fs::path output_path(const DetectJob& job, const fs::path& input) {
  if (job.output.empty() || input_kind(job.input) != InputKind::kFolder) return job.output;
  fs::path name = input.filename();
  if (!has_image_extension(name)) name += ".tif";  // a raster's format that is only read
  return job.output / name;
}

void prepare_outputs(const DetectJob& job, const std::vector<fs::path>& inputs) {
  if (job.output.empty()) return;
  std::error_code error;
  const bool folder = input_kind(job.input) == InputKind::kFolder;
  if (folder) fs::create_directories(job.output, error);
  if (folder && !fs::is_directory(job.output)) {
    throw Error(ErrorCode::kOutput,
                job.output.string() + ": cannot create this folder (" + error.message() + ")");
  }
  if (!folder && !has_image_extension(job.output)) {
    throw Error(ErrorCode::kUsage, job.output.string() + ": '" + job.output.extension().string() +
                                       "' is not an image that can be written; use .jpg, .png, "
                                       ".bmp, .tif or .webp");
  }
  for (const fs::path& input : inputs) OutputFile(output_path(job, input), job.force);
}

void write_image(OutputFile file, const cv::Mat& image) {
  bool written = false;
  try {
    written = cv::imwrite(file.partial().string(), image);
  } catch (const cv::Exception& error) {
    file.fail(error.err);
  }
  if (!written) file.fail("OpenCV could not encode it; use .jpg or .png");
  file.commit();
}

int detect_in_images(Detector& detector, const DetectJob& job, RunReport& report) {
  const InterruptGuard guard;
  return ImageRun(detector, job).run(report);
}

}  // namespace hornet::cli
