#include <fcntl.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/output_guard.h>
#include <hornet/pipelines/resume_state.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace hornet {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

[[noreturn]] void is_damaged(const fs::path& file) {
  throw Error(ErrorCode::kInput, file.string() +
                                     ": is not the state of an unfinished run; remove it or pass "
                                     "--force to start over");
}

}  // namespace

void check_same_job(const fs::path& file, const ordered_json& before, const ordered_json& now) {
  for (const auto& [name, value] : now.items()) {
    const ordered_json earlier = before.value(name, ordered_json());
    if (earlier == value) continue;
    throw Error(ErrorCode::kUsage, file.string() + ": the unfinished run had " + name + " " +
                                       earlier.dump() + ", this one has " + value.dump() +
                                       "; continue with the same, or pass --force to start over");
  }
}

ResumeState::Lock::Lock(const fs::path& state)
    : path_(state.string() + ".lock"),
      file_(open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (file_ < 0) {
    throw Error(ErrorCode::kOutput,
                state.string() + ": cannot be written: " + std::strerror(errno));
  }
  if (flock(file_, LOCK_EX | LOCK_NB) == 0) return;
  close(file_);
  throw Error(ErrorCode::kOutput, state.string() + ": another run is at work on the same output");
}

ResumeState::Lock::~Lock() {
  std::error_code ignored;
  fs::remove(path_, ignored);
  close(file_);
}

ResumeState::ResumeState(const fs::path& file, const ordered_json& job,
                         const std::function<std::vector<cv::Rect>()>& plan, bool resume,
                         bool force)
    : file_(file), job_(job), lock_(file) {
  const bool exists = fs::exists(file_);
  if (exists && resume) {
    read();
    return;
  }
  if (exists && !force) {
    throw Error(ErrorCode::kOutput, file.string() +
                                        ": a run was interrupted; pass --resume to continue it or "
                                        "--force to start over");
  }
  regions = plan();
  rows.assign(regions.size(), 0);
  if (exists) drop();
}

void ResumeState::drop() const {
  std::error_code error;
  fs::remove(file_, error);
  if (error) {
    throw Error(ErrorCode::kOutput, file_.string() + ": cannot be removed: " + error.message());
  }
  // The disk forgets it before anything else is written.
  const fs::path folder = file_.has_parent_path() ? file_.parent_path() : fs::path(".");
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

void ResumeState::read() {
  std::ifstream stream(file_);
  const ordered_json state = ordered_json::parse(stream, nullptr, /*allow_exceptions=*/false);
  if (!state.is_object() || !state.contains("job") || !state["job"].is_object()) is_damaged(file_);
  check_same_job(file_, state["job"], job_);
  try {
    for (const auto& item : state.at("regions")) {
      const auto sides = item.get<std::vector<int>>();
      if (sides.size() != 4) is_damaged(file_);
      regions.emplace_back(sides[0], sides[1], sides[2], sides[3]);
    }
    rows = state.at("rows").get<std::vector<int>>();
  } catch (const ordered_json::exception&) {
    is_damaged(file_);
  }
  bool sane = !regions.empty() && rows.size() == regions.size();
  for (size_t i = 0; sane && i < rows.size(); ++i) {
    sane = rows[i] >= 0 && rows[i] <= regions[i].height;
  }
  if (!sane) is_damaged(file_);
  continued_ = true;
}

void ResumeState::save() const {
  ordered_json state;
  state["job"] = job_;
  state["regions"] = ordered_json::array();
  for (const cv::Rect& region : regions) {
    state["regions"].push_back({region.x, region.y, region.width, region.height});
  }
  state["rows"] = rows;
  write_text(OutputFile(file_, /*force=*/true), state.dump(1) + "\n");
}

void ResumeState::remove() {
  std::error_code ignored;
  fs::remove(file_, ignored);
}

}  // namespace hornet
