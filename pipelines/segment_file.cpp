#include <hornet/backbone/error.h>
#include <hornet/pipelines/output_guard.h>
#include <hornet/pipelines/overlay.h>
#include <hornet/pipelines/resume_state.h>
#include <hornet/pipelines/segment_file.h>

#include <optional>
#include <utility>

namespace hornet {
namespace {

namespace fs = std::filesystem;

fs::path partial_path(const fs::path& output, const std::string& extension) {
  return output.parent_path() / (output.stem().string() + ".partial" + extension);
}

RasterFormat probability_format(const Palette& palette, cv::Size size) {
  RasterFormat format;
  format.size = size;
  format.bands = palette.size();
  format.depth = CV_32F;
  format.band_names = palette.names;
  return format;
}

bool is_same_name(const fs::path& a, const fs::path& b) {
  std::error_code unreachable;  // which is said when it is opened
  const fs::path first = fs::weakly_canonical(fs::absolute(a), unreachable);
  if (unreachable) return false;
  const fs::path second = fs::weakly_canonical(fs::absolute(b), unreachable);
  return !unreachable && first == second;
}

// The segmentor knows images, not files: what it says of an image gets the file's name.
template <typename Action>
auto with_image_name(const std::string& name, const Action& action) {
  try {
    return action();
  } catch (const Error& error) {
    const bool is_of_image = error.code() == ErrorCode::kInput || error.code() == ErrorCode::kUsage;
    if (!is_of_image || std::string(error.what()).rfind(name, 0) == 0) throw;
    throw Error(error.code(), name + ": " + error.what());
  }
}

// Whether no rows are left to be done.
bool is_complete(const ResumeState& state) {
  for (size_t i = 0; i < state.regions.size(); ++i) {
    if (state.rows[i] < state.regions[i].height) return false;
  }
  return true;
}

void add(SegmentReport& sum, const SegmentReport& part) {
  sum.windows += part.windows;
  sum.skipped += part.skipped;
  const auto add_time = [](StageTime& to, const StageTime& from) {
    to.total_ms += from.total_ms;
    to.count += from.count;
  };
  add_time(sum.read, part.read);
  add_time(sum.infer, part.infer);
  add_time(sum.write, part.write);
}

class FileRun {
 public:
  FileRun(Segmentor& segmentor, RasterReader& raster, const SegmentFileOptions& options)
      : segmentor_(segmentor),
        raster_(raster),
        options_(options),
        georeference_(raster.georeference()),
        state_path_(partial_path(options.labels, ".json")),
        labels_path_(partial_path(options.labels, ".tif")),
        planes_path_(options.probabilities.empty()
                         ? fs::path()
                         : partial_path(options.probabilities, ".probabilities.tif")) {
    check_label_file(options.labels, raster.size());
    if (!options.overlay.empty()) check_overlay_file(options.overlay, raster.size());
    check_partial_names();
    check_outputs();
  }

  SegmentFileReport operator()() {
    ResumeState state(
        state_path_, options_.job, [this] { return plan(); }, options_.resume, options_.force);
    int64_t ahead = 0;
    for (size_t i = 0; i < state.regions.size(); ++i) {
      const cv::Rect rest = rest_of(state, i);
      if (!rest.empty()) ahead += segmentor_.count_windows(raster_.size(), rest);
    }
    options_.begin(ahead);
    const bool complete = write_rows(state);
    if (complete) {
      const StageTimer timer(report_.finish);
      finish(state);
    }
    report_.complete = complete;
    return report_;
  }

 private:
  // What an unfinished file would replace: nothing that is read or asked for.
  void check_partial_names() const {
    std::vector<fs::path> others = options_.also_read;
    others.insert(others.end(),
                  {raster_.name(), options_.labels, options_.overlay, options_.probabilities});
    for (const fs::path& partial : {labels_path_, planes_path_, state_path_}) {
      for (const fs::path& other : others) {
        if (partial.empty() || other.empty() || !is_same_name(partial, other)) continue;
        throw Error(ErrorCode::kUsage, other.string() + ": is the name of an unfinished file of " +
                                           options_.labels.string() +
                                           ", which would replace it; name another output");
      }
    }
  }

  // Fails now, not after an hour, if one of the names cannot be written.
  void check_outputs() const {
    const std::pair<fs::path, fs::path> outputs[] = {{options_.labels, labels_path_},
                                                     {options_.probabilities, planes_path_},
                                                     {options_.overlay, fs::path()}};
    for (const auto& [output, partial] : outputs) {
      if (output.empty()) continue;
      OutputFile(output, options_.force || is_published(partial, output)).discard();
    }
  }

  // Whether a result has got its name from the run that this one continues, and which came to its
  // end before the others had theirs.
  bool is_published(const fs::path& partial, const fs::path& output) const {
    return options_.resume && !partial.empty() && fs::exists(state_path_) && !fs::exists(partial) &&
           fs::exists(output);
  }

  std::vector<cv::Rect> plan() {
    return with_image_name(raster_.name(), [this] {
      return segmentor_.regions(raster_.source(), !planes_path_.empty());
    });
  }

  // A GeoTIFF under its partial name, new or to be continued; none if it has been published.
  std::optional<RasterWriter> open_partial(const fs::path& partial, const fs::path& output,
                                           const RasterFormat& format,
                                           const ResumeState& state) const {
    if (partial.empty() || (is_complete(state) && is_published(partial, output))) return {};
    return state.is_continued() ? RasterWriter::reopen(partial, format)
                                : RasterWriter(partial, format, georeference_);
  }

  // The rows of a region that are still to be done.
  static cv::Rect rest_of(const ResumeState& state, size_t i) {
    const cv::Rect& region = state.regions[i];
    const int done = state.rows[i];
    return {region.x, region.y + done, region.width, region.height - done};
  }

  bool write_rows(ResumeState& state) {
    const Palette& palette = segmentor_.palette();
    std::optional<RasterWriter> labels =
        open_partial(labels_path_, options_.labels, label_format(palette, raster_.size()), state);
    std::optional<RasterWriter> planes = open_partial(
        planes_path_, options_.probabilities, probability_format(palette, raster_.size()), state);
    for (size_t i = 0; i < state.regions.size(); ++i) {
      const cv::Rect& region = state.regions[i];
      LabelSink sink;
      if (planes) {
        sink.probabilities = [&](const cv::Rect& where, const std::vector<cv::Mat>& values) {
          planes->write(where, values);
          planes->flush();
        };
      }
      sink.labels = [&](const cv::Rect& where, const cv::Mat& values) {
        labels->write(where, {values});
        labels->flush();
        state.rows[i] = where.y + where.height - region.y;
        state.save();
      };
      const cv::Rect rest = rest_of(state, i);
      if (rest.empty()) continue;
      add(report_.segment, with_image_name(raster_.name(), [&] {
            return segmentor_(raster_.source(), sink, rest, {1, options_.progress, options_.stop});
          }));
      if (state.rows[i] < region.height) {
        state.save();  // also if not a single row was finished
        break;
      }
    }
    if (labels) labels->close();
    if (planes) planes->close();
    return is_complete(state);
  }

  // All files are made before the first gets its name, the overlay last, since it can be made
  // again: where a run fails or is killed in here, another one goes on without loss.
  void finish(ResumeState& state) {
    const bool published = is_published(labels_path_, options_.labels);
    std::optional<OutputFile> overlay, png;
    if (!options_.overlay.empty()) {
      overlay.emplace(options_.overlay, options_.force);
      write_overlay(raster_, published ? options_.labels : labels_path_, segmentor_.palette(),
                    overlay->partial(), overlay->target(), georeference_, {options_.opacity});
    }
    if (!published && !is_tiff(options_.labels)) {
      png.emplace(options_.labels, options_.force);
      convert_to_png(labels_path_, png->partial());
    }
    if (options_.class_list) {
      write_class_list(class_list_path(options_.labels), segmentor_.palette());
    }
    if (!planes_path_.empty() && !is_published(planes_path_, options_.probabilities)) {
      publish(planes_path_, options_.probabilities, options_.force);
    }
    if (png) {
      png->commit();
      fs::remove(labels_path_);
    } else if (!published) {
      publish(labels_path_, options_.labels, options_.force);
    }
    if (overlay) overlay->commit();
    state.remove();
  }

  Segmentor& segmentor_;
  RasterReader& raster_;
  const SegmentFileOptions& options_;
  const Georeference georeference_;
  const fs::path state_path_, labels_path_, planes_path_;
  SegmentFileReport report_;
};

}  // namespace

SegmentFileReport segment_file(Segmentor& segmentor, RasterReader& raster,
                               const SegmentFileOptions& options) {
  return FileRun(segmentor, raster, options)();
}

RasterFormat label_format(const Palette& palette, cv::Size size) {
  RasterFormat format;
  format.size = size;
  format.depth = palette.wide() ? CV_16U : CV_8U;
  format.nodata = palette.nodata();
  if (!palette.wide()) format.colors = palette.colors;
  return format;
}

void check_label_file(const fs::path& labels, cv::Size size) {
  const std::string extension = labels.extension().string();
  if (is_tiff(labels)) return;
  if (extension != ".png") {
    throw Error(ErrorCode::kUsage, labels.string() + ": labels are written as .png or .tif");
  }
  if (int64_t{1} * size.width * size.height > kLargestPng) {
    throw Error(ErrorCode::kUsage, labels.string() + ": " + std::to_string(size.width) + "x" +
                                       std::to_string(size.height) +
                                       " pixels are more than a .png is good for (2^28); name a "
                                       ".tif, which is tiled");
  }
}

fs::path class_list_path(const fs::path& labels) {
  return labels.parent_path() / (labels.stem().string() + ".classes.json");
}

void write_class_list(const fs::path& file, const Palette& palette,
                      const nlohmann::ordered_json& job) {
  // Names are a checkpoint's, and may be no UTF-8.
  constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;
  nlohmann::ordered_json list = to_json(palette);
  if (!job.empty()) list["job"] = job;
  write_text(OutputFile(file, /*force=*/true),
             list.dump(1, ' ', /*ensure_ascii=*/false, kReplace) + "\n");
}

}  // namespace hornet
