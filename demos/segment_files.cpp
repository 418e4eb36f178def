#include <hornet/backbone/error.h>
#include <hornet/pipelines/interrupt.h>

#include <fstream>
#include <iostream>
#include <optional>

#include "demos/image_files.h"
#include "demos/segment_job.h"

namespace hornet::cli {
namespace {

namespace fs = std::filesystem;

SegmentFileOptions file_options(const SegmentJob& job, const fs::path& labels) {
  SegmentFileOptions options;
  options.labels = labels;
  options.opacity = job.opacity;
  options.force = job.force;
  options.resume = job.resume;
  options.job = job.fingerprint;
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
    if (job.group.rank == 0) skip_existing();
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

  fs::path labels_of(const fs::path& input) const {
    return job_.output / (input.stem().string() + ".png");
  }

  void check_names() const {
    for (size_t i = 1; i < inputs_.size(); ++i) {
      for (size_t k = 0; k < i; ++k) {
        if (inputs_[i].stem() != inputs_[k].stem()) continue;
        throw Error(ErrorCode::kInput, inputs_[i].string() + " and " + inputs_[k].string() +
                                           ": would have the same output, " +
                                           labels_of(inputs_[i]).string() + "; rename one");
      }
    }
  }

  // Results that are there: an error, unless this run is to go on with or to replace them.
  void skip_existing() {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      fs::path labels = labels_of(inputs_[i]);
      if (!fs::exists(labels)) labels.replace_extension(".tif");
      if (!fs::exists(labels) || job_.force) continue;
      if (!job_.resume) {
        throw Error(ErrorCode::kOutput, labels.string() +
                                            ": exists; pass --resume to do the missing images or "
                                            "--force to overwrite");
      }
      queue_.skip(static_cast<int64_t>(i), "ok");
    }
  }

  // "ok", or what went wrong.
  std::string segment(const fs::path& input) {
    try {
      RasterReader raster(input, job_.raster);
      const int64_t pixels = int64_t{1} * raster.size().width * raster.size().height;
      fs::path labels = labels_of(input);
      if (pixels > kLargestPng) labels.replace_extension(".tif");
      SegmentFileOptions options = file_options(job_, labels);
      options.class_list = false;
      options.job["--input"] = input.string();
      const std::string picture = pixels > kLargestPng ? ".tif" : ".jpg";
      if (!job_.overlay.empty()) options.overlay = job_.overlay / (input.stem().string() + picture);
      if (!job_.probabilities.empty()) {
        options.probabilities = job_.probabilities / (input.stem().string() + ".tif");
      }
      const SegmentFileReport run = segment_file(segmentor_, raster, options);
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
    if (job_.group.rank == 0) {
      write_class_list(job_.output / "classes.json", segmentor_.palette());
    }
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
