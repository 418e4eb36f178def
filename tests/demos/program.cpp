#include "tests/demos/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <sstream>
#include <thread>

namespace hornet::testing {
namespace {

std::string contents(std::FILE* file) {
  std::string text;
  std::rewind(file);
  char buffer[4096];
  for (size_t size; (size = std::fread(buffer, 1, sizeof buffer, file)) > 0;) {
    text.append(buffer, size);
  }
  return text;
}

bool starts_with(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

// "hornet: MODEL, loaded N/N tensors, DEVICE"
bool is_model_line(const std::string& line) { return line.find(", loaded ") != std::string::npos; }
bool is_progress(const std::string& line) {
  const std::vector<std::string> verbs = {"bench ", "detect ", "eval ", "segment ", "train "};
  return std::any_of(verbs.begin(), verbs.end(),
                     [&](const std::string& verb) { return starts_with(line, verb); });
}

// Settings for small models on the CPU, where the environment has none of its own: threads that
// wait for each other cost more than they gain, and without the second line the program starts
// itself anew to set it. The CPU is what the expected numbers are from.
void set_environment() {
  setenv("OMP_NUM_THREADS", "1", /*overwrite=*/0);
  setenv("GOMP_SPINCOUNT", "1000", /*overwrite=*/0);
  setenv("CUDA_VISIBLE_DEVICES", "", /*overwrite=*/0);
}

}  // namespace

Program::Program(Arguments arguments, const Environment& environment)
    : out_(std::tmpfile()), err_(std::tmpfile()) {
  set_environment();
  arguments.insert(arguments.begin(), HORNET_PROGRAM);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<char*> variables;
  for (const std::string& variable : environment) {  // the first of a name counts
    variables.push_back(const_cast<char*>(variable.c_str()));
  }
  for (char** variable = environ; *variable != nullptr; ++variable) variables.push_back(*variable);
  variables.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, fileno(out_), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, fileno(err_), STDERR_FILENO);
  const int failed =
      posix_spawn(&process_, argv[0], &actions, nullptr, argv.data(), variables.data());
  posix_spawn_file_actions_destroy(&actions);
  EXPECT_EQ(failed, 0) << "cannot start " << argv[0];
  ended_ = failed != 0;
  if (ended_) status_ = W_EXITCODE(127, 0);
}

Program::~Program() {
  if (!ended_) {
    send(SIGKILL);
    wait();
  }
  std::fclose(out_);
  std::fclose(err_);
}

void Program::send(int signal) const { kill(process_, signal); }

bool Program::has_ended() {
  if (!ended_) ended_ = waitpid(process_, &status_, WNOHANG) == process_;
  return ended_;
}

Outcome Program::wait() {
  if (!ended_) ended_ = waitpid(process_, &status_, 0) == process_;
  const int code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  return {code, contents(out_), contents(err_)};
}

Outcome run_hornet(const Arguments& arguments) { return Program(arguments).wait(); }

std::vector<Outcome> run_all(const std::vector<Arguments>& lines) {
  const size_t at_once = std::max(1u, std::thread::hardware_concurrency());
  std::deque<std::unique_ptr<Program>> running;
  std::vector<Outcome> outcomes;
  for (size_t next = 0; outcomes.size() < lines.size();) {
    while (next < lines.size() && running.size() < at_once) {
      running.push_back(std::make_unique<Program>(lines[next++]));
    }
    outcomes.push_back(running.front()->wait());
    running.pop_front();
  }
  return outcomes;
}

Arguments with(Arguments line, const Arguments& more) {
  line.insert(line.end(), more.begin(), more.end());
  return line;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

void expect_error(const Outcome& outcome, int code, const std::vector<std::string>& words) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  std::vector<std::string> lines = lines_of(outcome.err);
  lines.erase(
      std::remove_if(lines.begin(), lines.end(),
                     [](const auto& line) { return is_model_line(line) || is_progress(line); }),
      lines.end());
  ASSERT_EQ(lines.size(), 1u) << outcome.err;
  EXPECT_TRUE(starts_with(lines[0], "hornet: ")) << lines[0];
  for (const std::string& word : words) {
    EXPECT_NE(lines[0].find(word), std::string::npos) << lines[0] << "\nlacks: " << word;
  }
}

void expect_clean(const Outcome& outcome, int code) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  for (const std::string& line : lines_of(outcome.err)) {
    EXPECT_TRUE(starts_with(line, "hornet: ") || is_progress(line)) << line;
  }
}

}  // namespace hornet::testing
