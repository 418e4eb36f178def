// run.json: what a run was asked to do, on what, and what came of it.
//
//   {"schema_version": 1, "status": "ok", "command": "detect", "arguments": {...},
//    "versions": {"hornet": "0.1.0", ...}, "device": "cuda:0 (...)", "seconds": 71.2,
//    "counts": {"frames_in": 795, "frames_out": 795, "objects": 9120},
//    "stages": {"decode": {"total_ms": 2210.5, "count": 795, "mean_ms": 2.78}, ...},
//    "peak_memory": {"host_bytes": 912261120, "device_bytes": null},
//    "images": null, "warnings": []}
//
// A run that fails writes no report: its one line on stderr and its exit code say why. Every key is
// always there. What does not apply or is not known is null, never 0.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hornet {

// Time spent in one stage, over `count` calls.
struct StageTime {
  std::string stage;
  double total_ms = 0;
  int64_t count = 0;
};

// Adds the time that it lives to a stage.
class StageTimer {
 public:
  explicit StageTimer(StageTime& stage, int64_t count = 1)
      : stage_(stage), count_(count), began_(std::chrono::steady_clock::now()) {}
  ~StageTimer() {
    const std::chrono::duration<double, std::milli> spent =
        std::chrono::steady_clock::now() - began_;
    stage_.total_ms += spent.count();
    stage_.count += count_;
  }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

 private:
  StageTime& stage_;
  int64_t count_;
  std::chrono::steady_clock::time_point began_;
};

struct RunReport {
  std::string status;   // "ok", "partial", "interrupted"
  std::string command;  // "detect"
  nlohmann::ordered_json arguments = nlohmann::ordered_json::object();
  std::vector<std::pair<std::string, std::string>> versions;
  std::optional<std::string> device;
  std::optional<double> seconds;
  std::vector<std::pair<std::string, std::optional<int64_t>>> counts;
  std::vector<StageTime> stages;
  std::optional<int64_t> peak_device_bytes;
  std::vector<std::string> images;  // file names; the first has image_id 1
  std::vector<std::string> warnings;
};

// The largest resident size that this process has had, in bytes, whatever memory_of() (measure.h)
// has reset in between.
std::optional<int64_t> peak_host_bytes();

// A path as JSON takes it: as it is if it is UTF-8, else with "\xNN" for every byte beyond ASCII,
// so that other files keep other names.
std::string utf8(const std::filesystem::path& path);

nlohmann::ordered_json to_json(const RunReport& report);

// Writes run.json into a folder, or run-2.json and so on where another run has left its own or is
// just leaving it; never `results`, a file of the run. With `force`, run.json in any case.
void write_report(const std::filesystem::path& folder, const RunReport& report,
                  const std::filesystem::path& results = {}, bool force = false);

}  // namespace hornet
