#include <hornet/backbone/error.h>
#include <hornet/pipelines/output_guard.h>
#include <hornet/pipelines/run_report.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cmath>

namespace hornet {
namespace {

using nlohmann::ordered_json;

constexpr int kSchemaVersion = 1;

template <typename T>
ordered_json or_null(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

double milliseconds(double value) { return std::round(value * 1e3) / 1e3; }

ordered_json stages_json(const std::vector<StageTime>& stages) {
  ordered_json object = ordered_json::object();
  for (const StageTime& time : stages) {
    std::optional<double> mean;
    if (time.count > 0) mean = milliseconds(time.total_ms / static_cast<double>(time.count));
    object[time.stage] = {{"total_ms", milliseconds(time.total_ms)},
                          {"count", time.count},
                          {"mean_ms", or_null(mean)}};
  }
  return object;
}

ordered_json images_json(const std::vector<std::string>& names) {
  if (names.empty()) return nullptr;
  ordered_json images = ordered_json::array();
  for (const std::string& name : names) {
    images.push_back({{"id", images.size() + 1}, {"file_name", name}});
  }
  return images;
}

template <typename Pairs, typename Convert>
ordered_json object_of(const Pairs& pairs, const Convert& convert) {
  ordered_json object = ordered_json::object();
  for (const auto& [key, value] : pairs) object[key] = convert(value);
  return object;
}

}  // namespace

std::optional<int64_t> peak_host_bytes() {
  rusage usage = {};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return std::nullopt;
  static std::atomic<int64_t> largest = 0;  // the system's own number can be reset
  const int64_t now = int64_t{usage.ru_maxrss} * 1024;
  int64_t before = largest;
  while (before < now && !largest.compare_exchange_weak(before, now)) {
  }
  return std::max(before, now);
}

std::string utf8(const std::filesystem::path& path) {
  const std::string bytes = path.string();
  try {
    ordered_json(bytes).dump();
    return bytes;
  } catch (const ordered_json::type_error&) {  // not UTF-8
  }
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    const auto value = static_cast<uint8_t>(byte);
    text += value < 0x80 ? std::string(1, byte)
                         : std::string("\\x") + kDigits[value / 16] + kDigits[value % 16];
  }
  return text;
}

ordered_json to_json(const RunReport& report) {
  const auto text = [](const std::string& value) { return ordered_json(value); };
  return {{"schema_version", kSchemaVersion},
          {"status", report.status},
          {"command", report.command},
          {"arguments", report.arguments},
          {"versions", object_of(report.versions, text)},
          {"device", or_null(report.device)},
          {"seconds", or_null(report.seconds)},
          {"counts", object_of(report.counts, or_null<int64_t>)},
          {"stages", stages_json(report.stages)},
          {"peak_memory",
           {{"host_bytes", or_null(peak_host_bytes())},
            {"device_bytes", or_null(report.peak_device_bytes)}}},
          {"images", images_json(report.images)},
          {"warnings", ordered_json(report.warnings)}};
}

void write_report(const std::filesystem::path& folder, const RunReport& report,
                  const std::filesystem::path& results, bool force) {
  const std::string text =
      to_json(report).dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  const auto taken = [&](const std::filesystem::path& path) {
    return path == results ||
           (!force && std::filesystem::exists(std::filesystem::symlink_status(path)));
  };
  std::filesystem::path path = folder / "run.json";
  for (int i = 2;; ++i) {
    if (!taken(path)) {
      try {
        return write_text(OutputFile(path, force), text);
      } catch (const Error&) {
        if (!taken(path)) throw;  // another run was faster
      }
    }
    path = folder / ("run-" + std::to_string(i) + ".json");
  }
}

}  // namespace hornet
