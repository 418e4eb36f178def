#include <hornet/backbone/error.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/label_reader.h>
#include <hornet/pipelines/output_guard.h>
#include <hornet/pipelines/overlay.h>
#include <hornet/pipelines/resume_state.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "demos/segment_job.h"

namespace hornet::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// Where the parts go: not where those of an earlier result lie, which stays as it is until this one
// is complete.
fs::path parts_folder(const fs::path& output, bool second) {
  return output.parent_path() / (output.stem().string() + (second ? ".parts-2" : ".parts"));
}

bool has_first_parts(fs::path output) {
  std::ifstream vrt(output.replace_extension(".vrt"));
  const std::string text{std::istreambuf_iterator<char>(vrt), {}};
  return text.find(".parts/part-") != std::string::npos;
}

// Column blocks cut into bands of rows: several for each process, so that all end at about the same
// time, but high enough that the windows over their borders, which are run twice, do not weigh.
std::vector<cv::Rect> make_shares(const std::vector<cv::Rect>& blocks, int64_t tile,
                                  int processes) {
  constexpr int kSharesEach = 4, kTilesHigh = 6;
  std::vector<cv::Rect> shares;
  for (const cv::Rect& block : blocks) {
    const int64_t even = block.height / (int64_t{kSharesEach} * processes) + 1;
    const int64_t rows = std::max(even, kTilesHigh * tile);
    const int step = static_cast<int>((rows + kLabelBlock - 1) / kLabelBlock * kLabelBlock);
    for (int y = 0; y < block.height; y += step) {
      shares.emplace_back(block.x, y, block.width, std::min(step, block.height - y));
    }
  }
  return shares;
}

class SharedRun {
 public:
  SharedRun(Segmentor& segmentor, const SegmentJob& job, RunReport& report)
      : segmentor_(segmentor),
        job_(job),
        report_(report),
        raster_(job.input, job.raster),
        format_(label_format(segmentor.palette(), raster_.size())),
        second_(has_first_parts(job.output)),
        folder_(parts_folder(job.output, second_)) {
    check();
  }

  int run() {
    const Plan mine = leads() ? make_plan() : Plan{};
    WorkQueue queue(job_.group, "segment " + fs::absolute(job_.output).string(),
                    leads() ? static_cast<int64_t>(mine.finished.size()) : WorkQueue::kAsRankZero);
    for (size_t i = 0; i < mine.finished.size(); ++i) {
      if (mine.finished[i]) queue.skip(static_cast<int64_t>(i), "ok");
    }
    if (leads()) queue.start(mine.text);
    const auto plan = queue.plan([] { return interrupted(); });
    if (!plan) return static_cast<int>(ErrorCode::kInterrupted);
    read_plan(*plan);
    Progress progress({leads() ? job_.progress : ProgressMode::kNone, "segment",
                       static_cast<int64_t>(shares_.size()), "shares"});
    while (const auto share = queue.next([] { return interrupted(); })) {
      const auto stop = [&] { return interrupted() || queue.is_done(*share); };
      if (segment(static_cast<size_t>(*share), stop)) queue.finish(*share, "ok");
      progress.update(finished());
      if (interrupted()) break;
    }
    progress.finish();
    if (interrupted()) {
      report_.warnings.push_back("interrupted; finished parts are kept in " + folder_.string() +
                                 ": the same command with --resume goes on");
      return static_cast<int>(ErrorCode::kInterrupted);
    }
    if (leads()) {
      assemble();
      queue.wait_for_others();
    }
    report_.counts = {
        {"width", raster_.size().width}, {"height", raster_.size().height},
        {"processes", job_.group.size},  {"shares", static_cast<int64_t>(shares_.size())},
        {"tiles", segment_.windows},     {"tiles_without_data", segment_.skipped}};
    report_.stages = {segment_.read, segment_.infer, segment_.write};
    report_.warnings = raster_.warnings();
    return 0;
  }

 private:
  bool leads() const { return job_.group.rank == 0; }

  void check() const {
    if (!job_.probabilities.empty()) {
      throw Error(ErrorCode::kUsage, "--probabilities: goes with one process and one file");
    }
    const bool vrt = job_.output.extension() == ".vrt";
    if (vrt == job_.merge_output) {
      throw Error(ErrorCode::kUsage,
                  "--output " + job_.output.string() + ": " +
                      (vrt ? "--merge-output writes one file; name a .tif"
                           : "several processes write parts; name a .vrt over them, or pass "
                             "--merge-output for one file"));
    }
    if (!vrt && !is_tiff(job_.output)) {
      throw Error(ErrorCode::kUsage,
                  "--output " + job_.output.string() + ": --merge-output writes a .tif");
    }
    if (!job_.overlay.empty()) check_overlay_file(job_.overlay, raster_.size());
    for (const fs::path& path : {job_.output, job_.overlay}) {
      if (leads() && !path.empty()) OutputFile(path, job_.force).discard();
    }
  }

  fs::path plan_path() const { return folder_ / "plan.json"; }
  fs::path part(size_t share) const {
    std::string number = std::to_string(share);
    number.insert(0, number.size() < 6 ? 6 - number.size() : 0, '0');
    return folder_ / ("part-" + number + ".tif");
  }

  struct Plan {
    std::string text;
    std::vector<bool> finished;  // by an earlier run
  };

  // Rank 0 makes the plan of shares, or takes that of the run that it continues.
  Plan make_plan() {
    const bool exists = fs::exists(plan_path());
    if (!exists || !job_.resume) start_over();
    const ordered_json state = read_state();
    Plan plan{state["shares"].dump(), {}};
    for (size_t i = 0; i < state["shares"].size(); ++i) {
      plan.finished.push_back(fs::exists(part(i)));
    }
    return plan;
  }

  void start_over() {
    if (fs::exists(folder_) && !job_.force) {
      throw Error(ErrorCode::kOutput, folder_.string() +
                                          ": exists; pass --resume to go on with it or --force to "
                                          "start over");
    }
    ordered_json state = {{"job", job_.fingerprint}, {"shares", ordered_json::array()}};
    const bool whole = segmentor_.takes_whole_images();
    const auto blocks = segmentor_.regions(raster_.source(), false);
    const int64_t tile = whole ? raster_.size().height : segmentor_.slide().tile;
    for (const cv::Rect& share : make_shares(blocks, tile, job_.group.size)) {
      state["shares"].push_back({share.x, share.y, share.width, share.height});
    }
    remove_parts(folder_);
    std::error_code error;
    fs::create_directories(folder_, error);
    if (error) {
      throw Error(ErrorCode::kOutput, folder_.string() + ": cannot be created: " + error.message());
    }
    write_text(OutputFile(plan_path(), /*force=*/true), state.dump(1) + "\n");
  }

  ordered_json read_state() const {
    std::ifstream stream(plan_path());
    const ordered_json state = ordered_json::parse(stream, nullptr, /*allow_exceptions=*/false);
    if (!state.is_object() || !state.contains("job") || !state.contains("shares")) {
      throw Error(ErrorCode::kInput, plan_path().string() +
                                         ": is not the plan of an unfinished run; pass --force to "
                                         "start over");
    }
    check_same_job(plan_path(), state["job"], job_.fingerprint);
    return state;
  }

  void read_plan(const std::string& text) {
    const cv::Rect all({0, 0}, raster_.size());
    for (const auto& item : ordered_json::parse(text, nullptr, false)) {
      const auto sides = item.get<std::vector<int>>();
      const cv::Rect share =
          sides.size() == 4 ? cv::Rect(sides[0], sides[1], sides[2], sides[3]) : cv::Rect();
      if (share.empty() || (share & all) != share || share.y % kLabelBlock != 0) {
        throw Error(ErrorCode::kInput, plan_path().string() + ": does not fit " +
                                           job_.input.string() + "; pass --force to start over");
      }
      shares_.push_back(share);
    }
  }

  // False if somebody else was faster, or after Ctrl-C.
  bool segment(size_t share, const std::function<bool()>& stop) {
    const cv::Rect where = shares_[share];
    RasterFormat format = format_;
    format.size = where.size();
    OutputFile file(part(share), /*force=*/true);
    RasterWriter writer(file.partial(), format, {});
    LabelSink sink;
    sink.labels = [&](const cv::Rect& block, const cv::Mat& labels) {
      writer.write(block - where.tl(), {labels});
    };
    const SegmentReport run = segmentor_(raster_.source(), sink, where, {1, [](int64_t) {}, stop});
    segment_.windows += run.windows;
    segment_.skipped += run.skipped;
    if (run.rows < where.height) return false;
    writer.close();
    file.commit();
    return true;
  }

  int64_t finished() const {
    int64_t count = 0;
    for (size_t i = 0; i < shares_.size(); ++i) count += fs::exists(part(i)) ? 1 : 0;
    return count;
  }

  // What the user asked for, over the parts.
  void assemble() {
    std::vector<RasterPart> parts;
    for (size_t i = 0; i < shares_.size(); ++i) parts.push_back({part(i), shares_[i]});
    OutputFile whole(job_.output, job_.force);
    if (job_.merge_output) {
      merge_labels(whole.partial(), format_, raster_.georeference(), parts);
    } else {
      write_vrt(whole.partial(), format_, raster_.georeference(), parts);
    }
    if (!job_.overlay.empty()) {
      OutputFile overlay(job_.overlay, job_.force);
      write_overlay(raster_, whole.partial(), segmentor_.palette(), overlay.partial(),
                    overlay.target(), raster_.georeference(), {job_.opacity});
      overlay.commit();
    }
    write_class_list(class_list_path(job_.output), segmentor_.palette());
    whole.commit();
    std::error_code ignored;
    fs::remove(plan_path(), ignored);
    // The parts that are in the one file now, or those of the earlier result.
    remove_parts(job_.merge_output ? folder_ : parts_folder(job_.output, !second_));
  }

  static void remove_parts(const fs::path& folder) {
    if (!fs::exists(folder)) return;
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (name.rfind("part-", 0) == 0 || name == "plan.json") fs::remove(entry.path());
    }
    std::error_code ignored;  // something of the user's is in it
    fs::remove(folder, ignored);
  }

  Segmentor& segmentor_;
  const SegmentJob& job_;
  RunReport& report_;
  RasterReader raster_;
  const RasterFormat format_;
  const bool second_;
  const fs::path folder_;
  std::vector<cv::Rect> shares_;
  SegmentReport segment_;
};

}  // namespace

int segment_shared(Segmentor& segmentor, const SegmentJob& job, RunReport& report) {
  return SharedRun(segmentor, job, report).run();
}

}  // namespace hornet::cli
