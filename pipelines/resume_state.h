// How far a long run has got, kept beside its unfinished results so that a later run can go on.
//
//   const auto plan = [&] { return segmentor.regions(source, false); };
//   ResumeState state("labels.partial.json", {{"input", ...}}, plan, resume, force);
//   while (state.rows[i] < state.regions[i].height) { ...; state.rows[i] = done; state.save(); }
//   state.remove();
//
// The file is written whole or not at all, so that a run that is killed can be continued as well as
// one that was interrupted. While the object lives no other process can have the same state.
//
// Errors: hornet::Error(kOutput) if there is a state already and `resume` is not set, if another
// process has it, or if it cannot be written; kUsage, naming what differs, if it was made of other
// input or with other options; kInput if it is no such file.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <opencv2/core.hpp>
#include <vector>

namespace hornet {

// Error(kUsage), naming the file and what differs, unless both jobs have the same values.
void check_same_job(const std::filesystem::path& file, const nlohmann::ordered_json& before,
                    const nlohmann::ordered_json& now);

class ResumeState {
 public:
  // A new state has the regions that `plan` makes and no rows. `job` is what two runs must have in
  // common: names and values. `resume` takes an existing state, `force` drops it: from the disk,
  // once there is a plan, so that it never stands beside the files of the run that starts over.
  ResumeState(const std::filesystem::path& file, const nlohmann::ordered_json& job,
              const std::function<std::vector<cv::Rect>()>& plan, bool resume, bool force);

  std::vector<cv::Rect> regions;
  std::vector<int> rows;  // finished, of each region

  bool is_continued() const { return continued_; }
  void save() const;
  void remove();

 private:
  // Held by one process at a time; a file of its own, since the state is replaced when it is saved.
  class Lock {
   public:
    explicit Lock(const std::filesystem::path& state);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    std::filesystem::path path_;
    int file_;
  };

  void read();
  void drop() const;

  std::filesystem::path file_;
  nlohmann::ordered_json job_;
  Lock lock_;
  bool continued_ = false;
};

}  // namespace hornet
