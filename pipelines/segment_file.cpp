#include <hornet/backbone/error.h>
#include <hornet/pipelines/output_guard.h>
#include <hornet/pipelines/overlay.h>
#include <hornet/pipelines/resume_state.h>
#include <hornet/pipelines/segment_file.h>

#include <optional>

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

// A GeoTIFF under its partial name, new or to be continued.
RasterWriter open_partial(const fs::path& path, const RasterFormat& format,
                          const Georeference& georeference, bool continued) {
  return continued ? RasterWriter::reopen(path, format) : RasterWriter(path, format, georeference);
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
        labels_path_(partial_path(options.labels, ".tif")),
        planes_path_(options.probabilities.empty() ? fs::path()
                                                   : partial_path(options.probabilities, ".tif")) {
    check_label_file(options.labels, raster.size());
    // Fails now, not after an hour, if one of the names cannot be written.
    for (const fs::path& path : {options.labels, options.overlay, options.probabilities}) {
      if (!path.empty()) OutputFile(path, options.force).discard();
    }
  }

  SegmentFileReport operator()() {
    ResumeState state(
        partial_path(options_.labels, ".json"), options_.job,
        [this] { return segmentor_.regions(raster_.source(), !planes_path_.empty()); },
        options_.resume, options_.force);
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
  // The rows of a region that are still to be done.
  static cv::Rect rest_of(const ResumeState& state, size_t i) {
    const cv::Rect& region = state.regions[i];
    const int done = state.rows[i];
    return {region.x, region.y + done, region.width, region.height - done};
  }

  bool write_rows(ResumeState& state) {
    RasterWriter labels =
        open_partial(labels_path_, label_format(segmentor_.palette(), raster_.size()),
                     georeference_, state.is_continued());
    std::optional<RasterWriter> planes;
    if (!planes_path_.empty()) {
      planes = open_partial(planes_path_, probability_format(segmentor_.palette(), raster_.size()),
                            georeference_, state.is_continued());
    }
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
        labels.write(where, {values});
        labels.flush();
        state.rows[i] = where.y + where.height - region.y;
        state.save();
      };
      const cv::Rect rest = rest_of(state, i);
      if (rest.empty()) continue;
      add(report_.segment,
          segmentor_(raster_.source(), sink, rest, {1, options_.progress, options_.stop}));
      if (state.rows[i] < region.height) {
        state.save();  // also if not a single row was finished
        labels.close();
        if (planes) planes->close();
        return false;
      }
    }
    labels.close();
    if (planes) planes->close();
    return true;
  }

  void finish(ResumeState& state) {
    if (!options_.overlay.empty()) {
      OutputFile overlay(options_.overlay, options_.force);
      write_overlay(raster_, labels_path_, segmentor_.palette(), overlay.partial(),
                    overlay.target(), georeference_, {options_.opacity});
      overlay.commit();
    }
    if (options_.class_list) {
      write_class_list(class_list_path(options_.labels), segmentor_.palette());
    }
    if (!planes_path_.empty()) {
      publish(planes_path_, options_.probabilities, options_.force);
    }
    if (options_.labels.extension() == ".png") {
      OutputFile png(options_.labels, options_.force);
      convert_to_png(labels_path_, png.partial());
      png.commit();
      fs::remove(labels_path_);
    } else {
      publish(labels_path_, options_.labels, options_.force);
    }
    state.remove();
  }

  Segmentor& segmentor_;
  RasterReader& raster_;
  const SegmentFileOptions& options_;
  const Georeference georeference_;
  const fs::path labels_path_, planes_path_;
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

void write_class_list(const fs::path& file, const Palette& palette) {
  // Names are a checkpoint's, and may be no UTF-8.
  constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;
  write_text(OutputFile(file, /*force=*/true),
             to_json(palette).dump(1, ' ', /*ensure_ascii=*/false, kReplace) + "\n");
}

}  // namespace hornet
