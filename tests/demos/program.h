// Runs the program `hornet` as a user does: a process with arguments, and what it leaves behind.
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <string>
#include <vector>

namespace hornet::testing {

using Arguments = std::vector<std::string>;
using Environment = std::vector<std::string>;  // "NAME=value", beside what the test itself has

struct Outcome {
  int code = -1;    // exit code; 128 + signal if one ended it
  std::string out;  // all of stdout
  std::string err;  // all of stderr
};

// A running `hornet`. Its output goes to files, so that it never waits for us to read.
class Program {
 public:
  explicit Program(Arguments arguments, const Environment& environment = {});
  ~Program();  // kills it if it still runs
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void send(int signal) const;
  bool has_ended();
  Outcome wait();

 private:
  std::FILE* out_;
  std::FILE* err_;
  pid_t process_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

// Runs it to its end.
Outcome run_hornet(const Arguments& arguments);

// Runs it with each of the command lines, as many at a time as there are processors.
std::vector<Outcome> run_all(const std::vector<Arguments>& lines);

// The arguments of `line`, then `more`.
Arguments with(Arguments line, const Arguments& more);

std::vector<std::string> lines_of(const std::string& text);

// The run failed with `code`, nothing on stdout, and one error line that has all of `words`.
void expect_error(const Outcome& outcome, int code, const std::vector<std::string>& words);

// The run ended with `code`; stderr holds only the program's own lines ("hornet: ..." and
// progress), none of a library.
void expect_clean(const Outcome& outcome, int code = 0);

}  // namespace hornet::testing
