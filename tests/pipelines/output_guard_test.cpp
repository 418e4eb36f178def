#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/output_guard.h>

#include <atomic>
#include <thread>
#include <vector>

#include "temporary_folder.h"

namespace hornet {
namespace {

namespace fs = std::filesystem;

class OutputGuard : public TemporaryFolder {
 protected:
  static void expect_refused(const fs::path& target, const std::string& part, bool force = false) {
    try {
      OutputFile file(target, force);
      FAIL() << "no error, expected: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kOutput);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
};

TEST_F(OutputGuard, CommitGivesTheFileItsName) {
  OutputFile file(path("out.mp4"));
  EXPECT_EQ(file.partial().extension(), ".mp4");
  EXPECT_EQ(file.partial().parent_path(), path("out.mp4").parent_path());
  write_file(file.partial(), "video");
  EXPECT_FALSE(fs::exists(path("out.mp4")));
  file.commit();
  EXPECT_EQ(read_file(path("out.mp4")), "video");
  EXPECT_EQ(files_in_folder(), 1u);
}

TEST_F(OutputGuard, WithoutACommitNothingIsLeft) {
  {
    OutputFile file(path("out.mp4"));
    write_file(file.partial(), "half a video");
  }
  EXPECT_EQ(files_in_folder(), 0u);
}

TEST_F(OutputGuard, KeepLeavesThePartialFile) {
  { OutputFile(path("out.jsonl")).keep(); }
  EXPECT_EQ(files_in_folder(), 1u);
  EXPECT_FALSE(fs::exists(path("out.jsonl")));
}

// Each has its partial file before any of them commits.
TEST_F(OutputGuard, OfSeveralThatCommitAtOnceOneDoes) {
  constexpr int kWriters = 8, kRounds = 50;
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int> ready{0}, committed{0}, refused{0};
    std::vector<std::thread> writers;
    for (int i = 0; i < kWriters; ++i) {
      writers.emplace_back([&] {
        OutputFile file(path("out.json"));
        ++ready;
        while (ready < kWriters) std::this_thread::yield();
        try {
          file.commit();
          ++committed;
        } catch (const Error& error) {
          refused += std::string(error.what()).find("exists; pass --force") != std::string::npos;
        }
      });
    }
    for (std::thread& writer : writers) writer.join();
    ASSERT_EQ(committed, 1);
    ASSERT_EQ(refused, kWriters - 1);
    ASSERT_EQ(files_in_folder(), 1u);
    fs::remove(path("out.json"));
  }
}

TEST_F(OutputGuard, ExistingFilesNeedForce) {
  write_file(path("out.mp4"), "old");
  expect_refused(path("out.mp4"), "exists; pass --force");
  EXPECT_EQ(files_in_folder(), 1u);
  OutputFile file(path("out.mp4"), /*force=*/true);
  EXPECT_EQ(read_file(path("out.mp4")), "old");
  write_file(file.partial(), "new");
  file.commit();
  EXPECT_EQ(read_file(path("out.mp4")), "new");
}

TEST_F(OutputGuard, AFileThatAppearsMeanwhileIsKept) {
  OutputFile file(path("out.mp4"));
  write_file(path("out.mp4"), "somebody else's");
  EXPECT_THROW(file.commit(), Error);
  EXPECT_EQ(read_file(path("out.mp4")), "somebody else's");
}

// What it names may be on a disk that is not there just now.
TEST_F(OutputGuard, ADanglingLinkIsSomethingThatExists) {
  fs::create_symlink("gone", path("out.mp4"));
  expect_refused(path("out.mp4"), "exists; pass --force");
  write_text(OutputFile(path("out.mp4"), /*force=*/true), "new");
  EXPECT_FALSE(fs::is_symlink(path("out.mp4")));
  EXPECT_EQ(read_file(path("out.mp4")), "new");
}

TEST_F(OutputGuard, PublishesUnderAFreeName) {
  write_file(path("a.partial"), "a");
  publish(path("a.partial"), path("a"), /*force=*/false);
  EXPECT_EQ(read_file(path("a")), "a");
  write_file(path("b.partial"), "b");
  EXPECT_THROW(publish(path("b.partial"), path("a"), /*force=*/false), Error);
  EXPECT_EQ(read_file(path("a")), "a");
  EXPECT_EQ(read_file(path("b.partial")), "b");
  publish(path("b.partial"), path("a"), /*force=*/true);
  EXPECT_EQ(read_file(path("a")), "b");
  EXPECT_EQ(files_in_folder(), 1u);
}

TEST_F(OutputGuard, RefusesWhatCannotBeWritten) {
  expect_refused(path("no/such/out.mp4"), "there is no folder");
  fs::create_directory(path("folder"));
  expect_refused(path("folder"), "is a folder", /*force=*/true);
  expect_refused(path("folder/"), "not the name of a file");
  expect_refused("/dev/null", "not a regular file", /*force=*/true);
  expect_refused("/proc/out.mp4", "cannot write into the folder '/proc'");
  expect_refused("", "not the name of a file");
}

TEST_F(OutputGuard, TwoRunsDoNotMeet) {
  OutputFile one(path("out.mp4"));
  OutputFile two(path("out.mp4"));
  EXPECT_NE(one.partial(), two.partial());
}

TEST_F(OutputGuard, MovesWithoutRemoving) {
  OutputFile file(path("a.txt"));
  OutputFile moved(std::move(file));
  OutputFile other(path("b.txt"));
  other = std::move(moved);
  EXPECT_EQ(other.target(), path("a.txt"));
  EXPECT_TRUE(fs::exists(other.partial()));
  other.commit();
  EXPECT_TRUE(fs::exists(path("a.txt")));
}

TEST_F(OutputGuard, AFullDiskIsAnOutputError) {
  OutputFile file(path("a.txt"));
  std::ofstream full("/dev/full");
  full << std::string(100000, 'x') << std::flush;
  try {
    file.check(full);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutput);
    EXPECT_NE(std::string(error.what()).find("No space left"), std::string::npos) << error.what();
  }
}

TEST_F(OutputGuard, WritesText) {
  write_text(OutputFile(path("a.json")), "{}\n");
  EXPECT_EQ(read_file(path("a.json")), "{}\n");
}

}  // namespace
}  // namespace hornet
