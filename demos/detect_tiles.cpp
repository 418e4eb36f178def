#include <hornet/backbone/error.h>
#include <hornet/pipelines/drawing.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/raster_writer.h>

#include <algorithm>
#include <limits>

#include "demos/detect_job.h"

namespace hornet::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLargestInMemory = int64_t{1} << 28;

int64_t pixels_of(cv::Size size) { return int64_t{size.width} * size.height; }

std::string text_of(cv::Size size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height);
}

// The annotated image: a GeoTIFF that is written strip by strip, or any other format in memory.
class AnnotatedImage {
 public:
  static constexpr int kStrip = 2 * RasterWriter::kBlock;

  AnnotatedImage(OutputFile file, const RasterReader& input) : file_(std::move(file)) {
    if (is_tiff(file_.target())) {
      RasterFormat format;
      format.size = input.size();
      format.bands = 3;
      writer_.emplace(file_.partial(), format, input.georeference());
    } else {
      image_.create(input.size(), CV_8UC3);
    }
  }

  void write(const cv::Rect& where, const cv::Mat& bgr) {
    if (!writer_) return bgr.copyTo(image_(where));
    std::vector<cv::Mat> planes;
    cv::split(bgr, planes);
    std::reverse(planes.begin(), planes.end());
    writer_->write(where, planes);
  }

  void finish() {
    if (!writer_) return write_image(std::move(file_), image_);
    writer_->build_overviews();
    writer_->close();
    file_.commit();
  }

 private:
  OutputFile file_;
  std::optional<RasterWriter> writer_;
  cv::Mat image_;
};

// Detection in the tiles of one image after the other.
class TileRun {
 public:
  TileRun(Detector& detector, const DetectJob& job)
      : detector_(detector), job_(job), paths_(list_images(job)) {
    if (!job.json.empty()) json_.emplace(result_stream(job), detector.classes());
    prepare_outputs(job, paths_);
  }

  int run(RunReport& report) {
    std::optional<Progress> progress;
    if (paths_.size() > 1) {
      const auto images = static_cast<int64_t>(paths_.size());
      progress.emplace(ProgressOptions{job_.progress, "detect", images, "images"});
    }
    for (size_t i = 0; i < paths_.size() && !interrupted(); ++i) {
      detect_or_note(paths_[i]);
      if (progress) progress->advance();
    }
    if (progress) progress->finish();
    if (json_) json_->finish();
    fill_in(report);
    if (interrupted()) return static_cast<int>(ErrorCode::kInterrupted);
    return failures_ == 0 ? 0 : static_cast<int>(ErrorCode::kPartial);
  }

 private:
  // Of several images, one that cannot be read does not end the run.
  void detect_or_note(const fs::path& path) {
    listed_ = false;
    const int64_t before = json_ ? json_->objects_written() : 0;
    try {
      detect(path);
    } catch (const Error& error) {
      if (paths_.size() == 1 || error.code() != ErrorCode::kInput) throw;
      warnings_.emplace_back(error.what());
      // They are written as they are found, so that memory does not grow with the image.
      const int64_t found = json_ ? json_->objects_written() - before : 0;
      if (found > 0) {
        warnings_.back() += "; " + std::to_string(found) + " objects found above are in --json";
      }
      ++failures_;
    }
    if (json_ && !listed_) json_->write({1, 1}, {});
  }

  void detect(const fs::path& path) {
    RasterReader raster(path, job_.raster);
    check_size(path, raster.size());
    warnings_.insert(warnings_.end(), raster.warnings().begin(), raster.warnings().end());
    std::optional<RasterReader> again;  // the painter's: a reader belongs to one thread
    std::optional<AnnotatedImage> annotated;
    std::optional<StripPainter> painter;
    if (!job_.output.empty()) {
      again.emplace(path, job_.raster);
      annotated.emplace(OutputFile(output_path(job_, path), job_.force), raster);
      painter.emplace(
          again->source(), detector_.classes(), draw_options(raster.size()), AnnotatedImage::kStrip,
          [&](const cv::Rect& where, const cv::Mat& bgr) { annotated->write(where, bgr); });
    }
    if (json_) json_->write(raster.size(), {});
    listed_ = true;
    search(path, raster, painter ? &*painter : nullptr);
    if (interrupted()) return;  // what is half annotated goes
    const StageTimer timer(write_time_, 0);
    if (annotated) annotated->finish();
    ++done_;
  }

  void search(const fs::path& path, RasterReader& raster, StripPainter* painter) {
    std::optional<Progress> progress;
    if (paths_.size() == 1) {
      progress.emplace(ProgressOptions{job_.progress, "detect",
                                       count_tiles(raster.size(), *job_.tiles), "tiles"});
    }
    const TiledDetectionReport report =
        detect_tiled([&](const std::vector<cv::Mat>& tiles) { return detector_(tiles); },
                     raster.source(), *job_.tiles,
                     [&](const std::vector<Instance>& found, int final_row) {
                       const StageTimer timer(write_time_);
                       if (json_) json_->add(raster.size(), found);
                       if (painter != nullptr && !interrupted()) painter->add(found, final_row);
                     },
                     progress ? &*progress : nullptr);
    add(report);
    if (report.without_mask > 0) {
      warnings_.push_back(path.string() + ": " + std::to_string(report.without_mask) +
                          " objects of more than 2^28 pixels have no mask");
    }
  }

  // Before the work: results that could not be written.
  void check_size(const fs::path& path, cv::Size size) const {
    const fs::path output = output_path(job_, path);
    if (!output.empty() && !is_tiff(output) && pixels_of(size) > kLargestInMemory) {
      throw Error(ErrorCode::kInput,
                  path.string() + ": has " + text_of(size) + " pixels, and an annotated " +
                      output.extension().string() + " can have 2^28; write a .tif");
    }
    if (!output.empty() && std::max(size.width, size.height) > largest_side(output)) {
      throw Error(ErrorCode::kInput, path.string() + ": has " + text_of(size) +
                                         " pixels, and the sides of an " + "annotated " +
                                         output.extension().string() + " end at " +
                                         std::to_string(largest_side(output)) + "; write a .tif");
    }
    if (json_ && pixels_of(size) > std::numeric_limits<uint32_t>::max()) {
      throw Error(ErrorCode::kInput, path.string() + ": has " + text_of(size) +
                                         " pixels, and the run lengths of --json count 2^32 - 1; "
                                         "split the image or leave out --json");
    }
  }

  // Letters go by what a tile shows, not by the size of the image.
  DrawOptions draw_options(cv::Size image) const {
    DrawOptions options;
    options.reference_side = std::min({image.width, image.height, job_.tiles->tile});
    return options;
  }

  void add(const TiledDetectionReport& report) {
    tiles_ += report.tiles;
    skipped_ += report.skipped;
    objects_ += report.objects;
    const StageTime* const more[] = {&report.read, &report.infer, &report.merge};
    for (size_t i = 0; i < stages_.size(); ++i) {
      stages_[i].total_ms += more[i]->total_ms;
      stages_[i].count += more[i]->count;
    }
  }

  void fill_in(RunReport& report) const {
    for (const fs::path& path : paths_) report.images.push_back(path.filename().string());
    report.counts = {{"images_in", static_cast<int64_t>(paths_.size())},
                     {"images_out", done_},
                     {"tiles", tiles_},
                     {"tiles_skipped", skipped_},
                     {"objects", objects_}};
    report.stages = stages_;
    report.stages.push_back(write_time_);
    report.warnings = warnings_;
  }

  Detector& detector_;
  const DetectJob& job_;
  std::vector<fs::path> paths_;
  std::optional<CocoResultsWriter> json_;
  bool listed_ = false;  // the current image has its id in json_
  std::vector<std::string> warnings_;
  std::vector<StageTime> stages_ = {{"read"}, {"infer"}, {"merge"}};
  StageTime write_time_{"draw_write"};
  int64_t done_ = 0, failures_ = 0, tiles_ = 0, skipped_ = 0, objects_ = 0;
};

}  // namespace

int detect_in_tiles(Detector& detector, const DetectJob& job, RunReport& report) {
  const InterruptGuard guard;
  return TileRun(detector, job).run(report);
}

}  // namespace hornet::cli
