#include <hornet/backbone/error.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/resume_state.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>

#include "demos/image_files.h"
#include "demos/segment_job.h"

namespace hornet::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

SegmentFileOptions file_options(const SegmentJob& job, const fs::path& labels) {
  SegmentFileOptions options;
  options.labels = labels;
  options.opacity = job.opacity;
  options.force = job.force;
  options.resume = job.resume;
  options.job = job.fingerprint;
  options.also_read = job.also_read;
  options.stop = [] { return interrupted(); };
  return options;
}

void add_stages(RunReport& report, const SegmentFileReport& run) {
  const StageTime stages[] = {run.segment.read, run.segment.infer, run.segment.write, run.finish};
  if (report.stages.empty()) return report.stages.assign(std::begin(stages), std::end(stages));
  for (size_t i = 0; i < report.stages.size(); ++i) {
    report.stages[i].total_ms += stages[i].total_ms;
    report.stages[i].count += stages[i].count;
  }
}

// What the labels that a list of classes lies beside are made with, or nothing.
ordered_json job_of(const fs::path& list) {
  std::ifstream stream(list);
  const ordered_json content = ordered_json::parse(stream, nullptr, /*allow_exceptions=*/false);
  return content.is_object() ? content.value("job", ordered_json()) : ordered_json();
}

// The images of a folder, each a share of the work.
class FolderRun {
 public:
  FolderRun(Segmentor& segmentor, const SegmentJob& job, RunReport& report)
      : segmentor_(segmentor),
        job_(job),
        report_(report),
        inputs_(images_in(job.input, ImageFiles::kRasters)),
        queue_(job.group, "segment " + job.output.string(), static_cast<int64_t>(inputs_.size())) {
    for (const fs::path& path : {job.output, job.overlay, job.probabilities}) {
      if (!path.empty()) make_folder(path);
    }
    check_names();
    if (job.group.rank == 0) skip_finished();
    queue_.start();
  }

  int run() {
    Progress progress({job_.group.rank == 0 ? job_.progress : ProgressMode::kNone, "segment",
                       static_cast<int64_t>(inputs_.size()), "images"});
    while (const auto share = queue_.next([] { return interrupted(); })) {
      const std::string result = segment(inputs_[static_cast<size_t>(*share)]);
      if (interrupted() && result != "ok") break;
      queue_.finish(*share, result);
      progress.advance();
    }
    progress.finish();
    if (interrupted()) return static_cast<int>(ErrorCode::kInterrupted);
    const int code = summary();
    if (job_.group.rank == 0) queue_.wait_for_others();
    return code;
  }

 private:
  static void make_folder(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (fs::is_directory(folder)) return;
    throw Error(ErrorCode::kOutput, folder.string() +
                                        ": the input is a folder, so this must be one"
                                        " too, and it cannot be created" +
                                        (error ? ": " + error.message() : ""));
  }

  static fs::path result(const fs::path& folder, const fs::path& input, const char* extension) {
    return folder / (input.stem().string() + extension);
  }

  // The labels that are there, or where those of most images go.
  fs::path labels_of(const fs::path& input) const {
    const fs::path png = result(job_.output, input, ".png");
    const fs::path tiff = result(job_.output, input, ".tif");
    return !fs::exists(png) && fs::exists(tiff) ? tiff : png;
  }

  void check_names() const {
    std::map<std::string, fs::path> by_stem;
    for (const fs::path& input : inputs_) {
      const auto [other, is_new] = by_stem.emplace(input.stem().string(), input);
      if (is_new) continue;
      throw Error(ErrorCode::kInput, input.string() + " and " + other->second.string() +
                                         ": would have the same output, " +
                                         labels_of(input).string() + "; rename one");
    }
  }

  // The list of classes says from the start what the results are made with, so that a run that goes
  // on does not mix two jobs. Results that are there are an error, unless this run is to go on with
  // them or to replace them.
  void skip_finished() {
    const fs::path list = job_.output / "classes.json";
    const ordered_json before = job_of(list), job = folder_job();
    const bool starts_over = job_.force && !job_.group.restarted;
    const bool goes_on = job_.resume && !starts_over && before.is_object();
    if (goes_on) check_same_job(list, before, job);
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const fs::path labels = labels_of(inputs_[i]);
      if (goes_on && is_finished(inputs_[i], fs::last_write_time(list))) {
        queue_.skip(static_cast<int64_t>(i), "ok");
      } else if (!goes_on && !job_.force) {
        // An unfinished image belongs to the job that the list tells of, too.
        const fs::path unfinished = result(job_.output, inputs_[i], ".partial.json");
        for (const fs::path& file : {labels, unfinished}) {
          if (fs::exists(file)) fail_existing(file, list);
        }
      }
    }
    if (!goes_on) write_class_list(list, segmentor_.palette(), job);
  }

  [[noreturn]] void fail_existing(const fs::path& labels, const fs::path& list) const {
    throw Error(ErrorCode::kOutput,
                labels.string() + (job_.resume ? ": exists, and " + list.string() +
                                                     " does not say with which options it was made"
                                                     "; pass --force to overwrite"
                                               : ": exists; pass --resume to do the missing images "
                                                 "or --force to overwrite"));
  }

  // With the overlays, which are not made again for the images that are finished.
  ordered_json folder_job() const {
    ordered_json job = job_.fingerprint;
    job["--overlay"] = utf8(job_.overlay);
    job["--opacity"] = job_.opacity;
    return job;
  }

  // Whether all that is asked for is there, and no older than the job: --force leaves what an
  // earlier one has made until its successor is complete.
  bool is_finished(const fs::path& input, fs::file_time_type begun) const {
    const auto has = [&](const fs::path& folder, const char* extension) {
      std::error_code missing;
      const auto time = fs::last_write_time(result(folder, input, extension), missing);
      return !missing && time >= begun;
    };
    return (has(job_.output, ".png") || has(job_.output, ".tif")) &&
           (job_.overlay.empty() || has(job_.overlay, ".jpg") || has(job_.overlay, ".tif")) &&
           (job_.probabilities.empty() || has(job_.probabilities, ".tif"));
  }

  // Formats follow the image's size: what is too large for one gets a GeoTIFF.
  SegmentFileOptions image_options(const fs::path& input, cv::Size size) const {
    const bool huge = int64_t{1} * size.width * size.height > kLargestPng;
    SegmentFileOptions options =
        file_options(job_, result(job_.output, input, huge ? ".tif" : ".png"));
    options.class_list = false;
    options.job["--input"] = identity_of(input);
    if (!job_.overlay.empty()) {
      options.overlay = result(job_.overlay, input, ".jpg");
      const bool fits = std::max(size.width, size.height) <= largest_side(options.overlay);
      if (huge || !fits) options.overlay.replace_extension(".tif");
    }
    if (!job_.probabilities.empty()) {
      options.probabilities = result(job_.probabilities, input, ".tif");
    }
    // Results that a run finds when it goes on are of the same job, and lack another one.
    for (const fs::path& file : {options.labels, options.overlay, options.probabilities}) {
      options.force = options.force || (job_.resume && !file.empty() && fs::exists(file));
    }
    return options;
  }

  // "ok", or what went wrong.
  std::string segment(const fs::path& input) {
    try {
      RasterReader raster(input, job_.raster);
      const SegmentFileReport run =
          segment_file(segmentor_, raster, image_options(input, raster.size()));
      add_stages(report_, run);
      for (const std::string& warning : raster.warnings()) report_.warnings.push_back(warning);
      return run.complete ? "ok" : "interrupted";
    } catch (const Error& error) {
      if (inputs_.size() == 1 || error.code() != ErrorCode::kInput) throw;
      return error.what();
    }
  }

  int summary() {
    const std::vector<std::string> results = queue_.results();
    int64_t done = 0;
    for (const std::string& result : results) {
      if (result == "ok") {
        ++done;
      } else {
        report_.warnings.push_back(result);
      }
    }
    for (const fs::path& input : inputs_) report_.images.push_back(input.filename().string());
    report_.counts = {{"images_in", static_cast<int64_t>(inputs_.size())}, {"images_out", done}};
    const bool all = done == static_cast<int64_t>(inputs_.size());
    return all ? 0 : static_cast<int>(ErrorCode::kPartial);
  }

  Segmentor& segmentor_;
  const SegmentJob& job_;
  RunReport& report_;
  const std::vector<fs::path> inputs_;
  WorkQueue queue_;
};

}  // namespace

int segment_one(Segmentor& segmentor, const SegmentJob& job, RunReport& report) {
  RasterReader raster(job.input, job.raster);
  SegmentFileOptions options = file_options(job, job.output);
  options.overlay = job.overlay;
  options.probabilities = job.probabilities;
  std::optional<Progress> progress;
  options.begin = [&](int64_t windows) {
    progress.emplace(ProgressOptions{job.progress, "segment", windows, "tiles"});
  };
  options.progress = [&](int64_t windows) { progress->advance(windows); };
  const SegmentFileReport run = segment_file(segmentor, raster, options);
  progress->finish();
  report.counts = {{"width", raster.size().width},
                   {"height", raster.size().height},
                   {"tiles", run.segment.windows},
                   {"tiles_without_data", run.segment.skipped}};
  add_stages(report, run);
  report.warnings = raster.warnings();
  if (run.complete) return 0;
  report.warnings.push_back("interrupted; the finished rows are kept beside " +
                            job.output.string() + ": the same command with --resume goes on");
  return static_cast<int>(ErrorCode::kInterrupted);
}

int segment_folder(Segmentor& segmentor, const SegmentJob& job, RunReport& report) {
  return FolderRun(segmentor, job, report).run();
}

}  // namespace hornet::cli
