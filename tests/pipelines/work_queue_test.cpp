// Starts itself again as the processes of a group: work_queue_tests --worker FOLDER SHARES WHAT.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/work_queue.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "temporary_folder.h"

namespace hornet {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Environment = std::map<std::string, std::string>;
using std::chrono::milliseconds;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool wait_until(const std::function<bool()>& condition, double seconds) {
  for (const auto start = Clock::now(); seconds_since(start) < seconds;) {
    if (condition()) return true;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return false;
}

void append(const fs::path& file, const std::string& line) {
  std::ofstream(file, std::ios::app) << line << std::endl;
}

// ---- A process of a group

// What the worker does with the first share that it gets: "die", "stop", or "dawdle" until someone
// else has done it. Others are "plain", or "skip" the even shares first.
void do_share(WorkQueue& queue, int64_t share, const std::string& what, bool first) {
  if (first && what == "die") raise(SIGKILL);
  if (first && what == "stop") raise(SIGSTOP);
  if (first && what == "dawdle") {
    const bool done = wait_until([&] { return queue.is_done(share); }, 30);
    std::cerr << (done ? "gave up" : "waited in vain") << std::endl;
  }
  std::this_thread::sleep_for(milliseconds(50));
}

void work(const fs::path& folder, int64_t shares, const std::string& what) {
  const ProcessGroup group = ProcessGroup::from_environment();
  WorkQueue queue(group, "test", shares, what == "impatient" ? 3 : 30);
  if (what == "skip") {
    for (int64_t share = 0; share < shares; share += 2) queue.skip(share, "skipped");
  }
  const std::string rank = std::to_string(group.rank);
  append(folder / ("ready." + rank), "");
  for (int i = 0; i < group.size; ++i) {
    wait_until([&] { return fs::exists(folder / ("ready." + std::to_string(i))); }, 30);
  }
  bool first = true;
  while (const auto share = queue.next()) {
    append(folder / "begun", std::to_string(*share) + " " + rank);
    do_share(queue, *share, what, first);
    queue.finish(*share, rank);
    first = false;
  }
  if (group.rank != 0) return;
  for (const std::string& result : queue.results()) append(folder / "results", result);
  queue.wait_for_others();
}

int worker(char** arguments) {
  try {
    work(arguments[0], std::stoll(arguments[1]), arguments[2]);
    return 0;
  } catch (const Error& error) {
    std::cerr << error.what() << std::endl;
    return static_cast<int>(error.code());
  }
}

// ---- A group of processes

int free_port() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  bind(listener, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  close(listener);
  return ntohs(address.sin_port);
}

pid_t start(const std::vector<std::string>& arguments, const Environment& environment,
            const fs::path& messages) {
  const pid_t process = fork();
  if (process != 0) return process;
  for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
  const int file = open(messages.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
  dup2(file, STDERR_FILENO);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv("/proc/self/exe", argv.data());
  _exit(127);
}

class Group : public TemporaryFolder {
 protected:
  ~Group() override {
    for (const pid_t process : processes_) {
      if (process == 0) continue;
      kill(process, SIGKILL);
      waitpid(process, nullptr, 0);
    }
  }

  void start_all(int shares, const std::vector<std::string>& behaviours,
                 const Environment& more = {}) {
    for (size_t rank = 0; rank < behaviours.size(); ++rank) {
      Environment environment = {{"RANK", std::to_string(rank)},
                                 {"WORLD_SIZE", std::to_string(behaviours.size())},
                                 {"MASTER_ADDR", "127.0.0.1"},
                                 {"MASTER_PORT", std::to_string(port_)}};
      environment.insert(more.begin(), more.end());
      processes_.push_back(start({"work_queue_tests", "--worker", path("").string(),
                                  std::to_string(shares), behaviours[rank]},
                                 environment, path("messages." + std::to_string(rank))));
    }
  }

  // The exit code of a process; minus the signal that ended it.
  int end_of(int rank, double seconds = 30) {
    int status = 0;
    const bool ended = wait_until(
        [&] { return waitpid(processes_[rank], &status, WNOHANG) == processes_[rank]; }, seconds);
    EXPECT_TRUE(ended) << "rank " << rank << ": " << messages(rank);
    if (!ended) return -1000;
    processes_[rank] = 0;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }

  std::string messages(int rank) const {
    return read_file(path("messages." + std::to_string(rank)));
  }

  std::vector<std::string> lines(const std::string& name) const {
    std::istringstream text(read_file(path(name)));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }

  // How often each share was begun.
  std::map<std::string, int> begun() const {
    std::map<std::string, int> times;
    for (const std::string& line : lines("begun")) ++times[line.substr(0, line.find(' '))];
    return times;
  }

  int port_ = free_port();
  std::vector<pid_t> processes_;
};

TEST_F(Group, DoesEachShareOnce) {
  start_all(30, {"plain", "plain", "plain"});
  for (const int rank : {0, 1, 2}) EXPECT_EQ(end_of(rank), 0) << messages(rank);
  EXPECT_EQ(begun().size(), 30u);
  for (const auto& [share, times] : begun()) EXPECT_EQ(times, 1) << "share " << share;
  const std::vector<std::string> results = lines("results");
  EXPECT_EQ(results.size(), 30u);
  EXPECT_EQ(std::set<std::string>(results.begin(), results.end()).size(), 3u) << "all took part";
}

TEST_F(Group, DoesTheShareOfAProcessThatWasKilled) {
  start_all(30, {"plain", "die", "plain"});
  EXPECT_EQ(end_of(1), -SIGKILL);
  EXPECT_EQ(end_of(2), 0) << messages(2);
  const auto others_ended = Clock::now();
  EXPECT_EQ(end_of(0), 0) << messages(0);
  EXPECT_LT(seconds_since(others_ended), 20) << "rank 0 waits for the dead";
  EXPECT_EQ(begun().size(), 30u);
  EXPECT_EQ(lines("begun").size(), 31u) << "only the dead one's share is done again";
  const std::vector<std::string> results = lines("results");
  EXPECT_EQ(results.size(), 30u);
  EXPECT_EQ(std::count(results.begin(), results.end(), "1"), 0);
}

TEST_F(Group, DoesTheShareOfASlowProcess) {
  start_all(20, {"plain", "dawdle"});
  EXPECT_EQ(end_of(1), 0) << messages(1);
  EXPECT_EQ(end_of(0), 0) << messages(0);
  EXPECT_NE(messages(1).find("gave up"), std::string::npos) << messages(1);
  EXPECT_EQ(lines("results"), std::vector<std::string>(20, "0")) << "the first result counts";
  EXPECT_EQ(lines("begun").size(), 21u);
}

TEST_F(Group, SkipsWhatAnEarlierRunHasDone) {
  start_all(9, {"skip", "plain"});
  for (const int rank : {0, 1}) EXPECT_EQ(end_of(rank), 0) << messages(rank);
  const std::map<std::string, int> expected = {{"1", 1}, {"3", 1}, {"5", 1}, {"7", 1}};
  EXPECT_EQ(begun(), expected);
  const std::vector<std::string> results = lines("results");
  ASSERT_EQ(results.size(), 9u);
  for (size_t i = 0; i < 9; i += 2) EXPECT_EQ(results[i], "skipped");
}

TEST_F(Group, EndsWithoutRank0) {
  start_all(1000, {"die", "plain", "plain"});
  EXPECT_EQ(end_of(0), -SIGKILL);
  const auto died = Clock::now();
  for (const int rank : {1, 2}) {
    EXPECT_EQ(end_of(rank), 1);
    const std::string address = "127.0.0.1:" + std::to_string(port_);
    EXPECT_NE(messages(rank).find(address + ": the work queue of rank 0 is gone"),
              std::string::npos)
        << messages(rank);
    EXPECT_EQ(messages(rank).find("frame #"), std::string::npos) << messages(rank);
  }
  EXPECT_LT(seconds_since(died), 20);
}

TEST_F(Group, EndsWhenRank0AnswersNoMore) {
  start_all(1000, {"stop", "impatient"});
  EXPECT_EQ(end_of(1), 1);
  EXPECT_NE(messages(1).find("is gone: no answer within 3 s"), std::string::npos) << messages(1);
}

TEST_F(Group, OfTorchrunUsesTheStoreOfItsAgent) {
  ProcessGroup agent;
  agent.size = 2;
  agent.port = port_;
  const WorkQueue store(agent, "agent", 0);
  Environment environment = {{"TORCHELASTIC_USE_AGENT_STORE", "True"},
                             {"TORCHELASTIC_RESTART_COUNT", "0"}};
  for (const std::string restart : {"0", "1"}) {
    environment["TORCHELASTIC_RESTART_COUNT"] = restart;
    processes_.clear();
    fs::remove(path("begun"));
    start_all(6, {"plain", "plain"}, environment);
    for (const int rank : {0, 1}) EXPECT_EQ(end_of(rank), 0) << messages(rank);
    EXPECT_EQ(begun().size(), 6u) << "after " << restart << " restarts";
  }
}

void expect_error(const std::function<void()>& action, ErrorCode code, const std::string& part) {
  try {
    action();
    FAIL() << "no error with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
  }
}

TEST(WorkQueue, OnAPortThatIsTakenIsAnError) {
  ProcessGroup group;
  group.size = 2;
  group.port = free_port();
  const WorkQueue holder(group, "test", 3);
  expect_error([&] { WorkQueue(group, "test", 3); }, ErrorCode::kRuntime,
               "127.0.0.1:" + std::to_string(group.port) + ": rank 0 cannot hold the work queue");
  expect_error([&] { WorkQueue(group, "test", 3); }, ErrorCode::kRuntime, "set MASTER_PORT");
}

TEST(WorkQueue, ThatNobodyHoldsIsAnError) {
  ProcessGroup group;
  group.rank = 1;
  group.size = 2;
  group.port = free_port();
  const auto start = Clock::now();
  expect_error([&] { WorkQueue(group, "test", 3, 1); }, ErrorCode::kRuntime, "cannot be reached");
  EXPECT_LT(seconds_since(start), 10);
}

TEST(WorkQueue, OfOtherInputsIsAnError) {
  ProcessGroup group;
  group.size = 2;
  group.port = free_port();
  WorkQueue first(group, "test", 3);
  first.start();
  group.rank = 1;
  WorkQueue second(group, "test", 4);
  expect_error([&] { second.next(); }, ErrorCode::kRuntime, "rank 0 has 3 shares to do");
}

TEST(WorkQueue, StopsWaitingWhenAsked) {
  ProcessGroup group;
  group.size = 2;
  group.port = free_port();
  WorkQueue first(group, "test", 1);
  group.rank = 1;
  WorkQueue second(group, "test", 1);
  int asked = 0;
  EXPECT_FALSE(second.next([&] { return ++asked > 2; })) << "rank 0 has not started";
  EXPECT_EQ(first.next(), 0);
  asked = 0;
  EXPECT_FALSE(second.next([&] { return ++asked > 2; })) << "rank 0 has not finished";
  EXPECT_FALSE(second.is_done(0));
  first.finish(0, "");
  EXPECT_TRUE(second.is_done(0));
  EXPECT_FALSE(second.next());
  EXPECT_EQ(first.results(), std::vector<std::string>{""});
}

TEST(WorkQueue, OfOneProcessNeedsNoStore) {
  WorkQueue queue(ProcessGroup{}, "test", 5);
  queue.skip(3, "was there");
  for (const int64_t share : {0, 1, 2, 4}) {
    EXPECT_EQ(queue.next(), share);
    EXPECT_FALSE(queue.is_done(share));
    queue.finish(share, "=" + std::to_string(share));
    EXPECT_TRUE(queue.is_done(share));
  }
  EXPECT_FALSE(queue.next());
  queue.finish(0, "again");
  EXPECT_EQ(queue.results(), (std::vector<std::string>{"=0", "=1", "=2", "was there", "=4"}));
  queue.wait_for_others();
}

TEST(WorkQueue, MayBeEmptyOrLong) {
  EXPECT_FALSE(WorkQueue(ProcessGroup{}, "test", 0).next());
  WorkQueue queue(ProcessGroup{}, "test", 5000);
  for (int64_t share = 0; share < 5000; ++share) queue.skip(share, "");
  EXPECT_FALSE(queue.next());
  EXPECT_EQ(queue.results().size(), 5000u);
}

}  // namespace
}  // namespace hornet

int main(int argc, char** argv) {
  if (argc == 5 && std::string(argv[1]) == "--worker") return hornet::worker(argv + 2);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
