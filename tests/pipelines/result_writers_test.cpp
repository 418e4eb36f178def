#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/coco_results.h>
#include <hornet/pipelines/result_writers.h>
#include <hornet/pipelines/run_report.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "temporary_folder.h"

namespace hornet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ResultWriters : public TemporaryFolder {
 protected:
  static Instance instance(int label) {
    Instance instance;
    instance.box = {1, 2, 3, 4};
    instance.score = 0.5f;
    instance.label = label;
    instance.mask = {{1, 0, 1, 2}, cv::Mat::ones(2, 1, CV_8UC1)};
    return instance;
  }

  static FrameInfo frame(int64_t index) {
    return {index, 40.12345 * static_cast<double>(index), 2, 2, 25};
  }

  const ClassTable classes_ = ClassTable::from_names({}, 80);
};

const char* const kFrame2 =
    R"({"frame":2,"timestamp_ms":80.247,"category_id":1,"bbox":[1.0,2.0,3.0,4.0],"score":0.5,)"
    R"("segmentation":{"size":[2,2],"counts":"22"}})"
    "\n";

TEST_F(ResultWriters, JsonLinesHaveOneObjectALine) {
  std::ostringstream text;
  JsonLinesWriter writer(ResultStream(text), classes_);
  writer.write(frame(2), {instance(0)});
  writer.write(frame(3), {});
  EXPECT_EQ(text.str(), kFrame2);
  writer.write(frame(4), {instance(1), instance(2)});
  writer.finish();
  EXPECT_EQ(writer.objects_written(), 3);
  std::istringstream lines(text.str());
  std::vector<int> categories;
  for (std::string line; std::getline(lines, line);) {
    categories.push_back(json::parse(line).at("category_id"));
  }
  EXPECT_EQ(categories, (std::vector<int>{1, 2, 3}));
}

TEST_F(ResultWriters, JsonLinesAreReadableAllTheTime) {
  OutputFile file(path("r.jsonl"));
  const fs::path partial = file.partial();
  {
    JsonLinesWriter writer(ResultStream(std::move(file)), classes_);
    writer.write(frame(2), {instance(0)});
    EXPECT_EQ(read_file(partial), kFrame2);
    EXPECT_FALSE(fs::exists(path("r.jsonl")));
  }
  EXPECT_EQ(read_file(partial), kFrame2);
  EXPECT_FALSE(fs::exists(path("r.jsonl")));
}

TEST_F(ResultWriters, FinishedJsonLinesHaveTheirName) {
  JsonLinesWriter writer(ResultStream(OutputFile(path("r.jsonl"))), classes_);
  writer.write(frame(2), {instance(0)});
  writer.finish();
  EXPECT_EQ(read_file(path("r.jsonl")), kFrame2);
  EXPECT_EQ(files_in_folder(), 1u);
}

TEST_F(ResultWriters, ARunWithoutFramesLeavesNoPartialFile) {
  { JsonLinesWriter writer(ResultStream(OutputFile(path("r.jsonl"))), classes_); }
  EXPECT_EQ(files_in_folder(), 0u);
}

TEST_F(ResultWriters, CocoResultsAreAnArrayWithRunningIds) {
  CocoResultsWriter writer(ResultStream(OutputFile(path("r.json"))), classes_);
  EXPECT_EQ(writer.write({2, 2}, {instance(0), instance(11)}), 1);
  EXPECT_EQ(writer.write({2, 2}, {}), 2);
  EXPECT_EQ(writer.write({2, 2}, {instance(79)}), 3);
  EXPECT_FALSE(fs::exists(path("r.json")));
  writer.finish();
  const auto results = read_coco_results(read_file(path("r.json")));
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[1].image_id, 1);
  EXPECT_EQ(results[1].category_id, 13);
  EXPECT_EQ(results[2].image_id, 3);
  EXPECT_EQ(results[2].category_id, 90);
  EXPECT_EQ(writer.objects_written(), 3);
}

TEST_F(ResultWriters, CocoResultsOfOneImageMayComeInParts) {
  std::ostringstream text;
  CocoResultsWriter writer(ResultStream(text), classes_);
  writer.write({2, 2}, {});
  writer.add({2, 2}, {instance(0), instance(1)});
  writer.add({2, 2}, {});
  writer.add({2, 2}, {instance(2)});
  EXPECT_EQ(writer.write({2, 2}, {instance(3)}), 2);
  writer.finish();
  const auto results = read_coco_results(text.str());
  ASSERT_EQ(results.size(), 4u);
  EXPECT_EQ(results[2].image_id, 1);
  EXPECT_EQ(results[2].category_id, 3);
  EXPECT_EQ(results[3].image_id, 2);
}

TEST_F(ResultWriters, CocoResultsOfNothingAreAnEmptyArray) {
  std::ostringstream text;
  CocoResultsWriter writer(ResultStream(text), classes_);
  writer.finish();
  EXPECT_TRUE(read_coco_results(text.str()).empty());
}

TEST_F(ResultWriters, AClosedStreamIsAnOutputError) {
  std::ofstream full("/dev/full");
  JsonLinesWriter writer(ResultStream(full), classes_);
  try {
    writer.write(frame(0), {instance(0)});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutput);
  }
}

TEST_F(ResultWriters, PathsThatAreNotUtf8KeepTheirDifference) {
  EXPECT_EQ(utf8("photos/\xc3\x9f.jpg"), "photos/\xc3\x9f.jpg");
  EXPECT_EQ(utf8("photos/\xdf.jpg"), "photos/\\xdf.jpg");
  EXPECT_NE(utf8("\xe4.jpg"), utf8("\xf6.jpg"));
}

TEST_F(ResultWriters, AReportSaysNullForWhatIsAbsent) {
  RunReport report;
  report.status = "ok";
  report.command = "detect";
  report.counts = {{"frames_in", 3}, {"frames_out", std::nullopt}};
  const json written = json::parse(to_json(report).dump());
  EXPECT_EQ(written.at("schema_version"), 1);
  EXPECT_EQ(written.at("arguments"), json::object());
  EXPECT_EQ(written.at("counts"), (json{{"frames_in", 3}, {"frames_out", nullptr}}));
  for (const char* key : {"device", "seconds", "images"}) {
    EXPECT_TRUE(written.at(key).is_null()) << key;
  }
  EXPECT_TRUE(written.at("peak_memory").at("device_bytes").is_null());
  EXPECT_GT(written.at("peak_memory").at("host_bytes"), 1 << 20);
}

TEST_F(ResultWriters, AReportHoldsWhatIsKnown) {
  RunReport report;
  report.status = "ok";
  report.arguments = {{"score_thr", 0.3}, {"input", "a.mp4"}};
  report.versions = {{"hornet", "0.1.0"}};
  report.device = "cpu";
  report.stages = {{"decode", 10.0, 4}, {"encode", 0.0, 0}};
  report.images = {"a.jpg", "b\xff.jpg"};
  write_report(path(""), report);
  const json written = json::parse(read_file(path("run.json")));
  EXPECT_EQ(written.at("arguments").at("score_thr"), 0.3);
  EXPECT_EQ(written.at("versions").at("hornet"), "0.1.0");
  EXPECT_EQ(written.at("stages").at("decode").at("mean_ms"), 2.5);
  EXPECT_TRUE(written.at("stages").at("encode").at("mean_ms").is_null());
  EXPECT_EQ(written.at("images").at(0), (json{{"id", 1}, {"file_name", "a.jpg"}}));
  EXPECT_EQ(written.at("images").at(1).at("id"), 2);
}

TEST_F(ResultWriters, ReportsOfRunsThatEndAtOnceAreAllKept) {
  constexpr int kRuns = 16;
  std::atomic<int> ready{0};
  std::vector<std::thread> runs;
  for (int i = 0; i < kRuns; ++i) {
    runs.emplace_back([&, i] {
      RunReport report;
      report.command = "run " + std::to_string(i);
      ++ready;
      while (ready < kRuns) std::this_thread::yield();
      write_report(path(""), report);
    });
  }
  for (std::thread& run : runs) run.join();
  std::set<std::string> found;
  for (int i = 1; i <= kRuns; ++i) {
    const std::string name = i == 1 ? "run.json" : "run-" + std::to_string(i) + ".json";
    found.insert(json::parse(read_file(path(name))).at("command"));
  }
  EXPECT_EQ(found.size(), kRuns);
}

TEST_F(ResultWriters, AReportIsNeverTheResults) {
  RunReport report;
  write_file(path("run.json"), "results");
  write_report(path(""), report, path("run.json"), /*force=*/true);
  EXPECT_EQ(read_file(path("run.json")), "results");
  EXPECT_EQ(json::parse(read_file(path("run-2.json"))).at("schema_version"), 1);
  write_report(path(""), report, path("other.json"), /*force=*/true);
  EXPECT_EQ(json::parse(read_file(path("run.json"))).at("schema_version"), 1);
  EXPECT_THROW(write_report(path("missing"), report), Error);
}

}  // namespace
}  // namespace hornet
