// The program `hornet`: finds the subcommand, runs it, and turns errors into one line and an exit
// code (listed in the README).

#include <hornet/backbone/error.h>
#include <hornet/pipelines/memory.h>
#include <hornet/pipelines/runtime.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <vector>

#include "demos/commands.h"

namespace {

struct Subcommand {
  const char* name;
  const char* summary;
  int (*run)(int argc, char** argv);
  bool computes;  // for longer than it takes to start
};

constexpr Subcommand kSubcommands[] = {
    {"bench", "time a network, and list parameters and FLOPs of the published ones",
     hornet::cli::run_bench, true},
    {"detect", "find objects with masks in a video, in images or from a camera",
     hornet::cli::run_detect, true},
    {"eval", "measure a model or its results: COCO's AP, mIoU, top-1", hornet::cli::run_eval, true},
    {"export", "write a network as an ONNX file for other runtimes", hornet::cli::run_export,
     false},
    {"forward", "write every tensor between an input and the result, by name",
     hornet::cli::run_forward, true},
    {"info", "say what a checkpoint holds: model, parameters, FLOPs, classes",
     hornet::cli::run_info, false},
    {"segment", "give every pixel of images and rasters of any size its class",
     hornet::cli::run_segment, true},
    {"train", "train a model on images of your own, from nothing or from a checkpoint",
     hornet::cli::run_train, true},
};

bool computes(const char* name) {
  for (const Subcommand& command : kSubcommands) {
    if (std::strcmp(name, command.name) == 0) return command.computes;
  }
  return false;
}

// OpenMP's threads spin while they wait for each other. With decoding and encoding on the same
// cores that costs more than the work itself (ten times on a busy two-core machine), and libgomp
// reads the setting only when it is loaded: set it and start over, once.
void limit_spinning(int argc, char** argv, char** environment) {
  if (argc < 2 || !computes(argv[1])) return;
  int count = 0;
  for (; environment[count]; ++count) {
    for (const char* name : {"GOMP_SPINCOUNT=", "OMP_WAIT_POLICY="}) {
      if (std::strncmp(environment[count], name, std::strlen(name)) == 0) return;
    }
  }
  char setting[] = "GOMP_SPINCOUNT=1000", self[PATH_MAX] = "";
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return;
  std::vector<char*> changed(environment, environment + count);
  changed.insert(changed.end(), {setting, nullptr});
  execve(self, argv, changed.data());  // returns only if it fails: then we spin
}

// Called before the libraries initialise themselves, which takes LibTorch a third of a second: that
// is spent once. Nothing but C's functions and malloc may be used there, no std::getenv either.
__attribute__((section(".preinit_array"),
               used)) void (*const kBeforeLibraries)(int, char**, char**) = limit_spinning;

void print_help(std::ostream& out) {
  out << "HorNet " HORNET_VERSION
         ": backbones, instance and semantic segmentation in C++\n\n"
         "Usage: hornet COMMAND [options]\n\nCommands:\n";
  for (const Subcommand& command : kSubcommands) {
    out << "  " << command.name << std::string(10 - std::strlen(command.name), ' ')
        << command.summary << '\n';
  }
  out << "\n`hornet COMMAND --help` lists a command's options, with examples.\n";
}

// "bench, detect, ... or train".
std::string command_names() {
  constexpr size_t kCount = std::size(kSubcommands);
  std::string names;
  for (size_t i = 0; i < kCount; ++i) {
    names += std::string(i == 0 ? "" : i + 1 < kCount ? ", " : " or ") + kSubcommands[i].name;
  }
  return names;
}

int run(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "--help" || name == "-h" || name == "help") {
    print_help(std::cout);
    return 0;
  }
  if (name == "--version") {
    std::cout << "hornet " HORNET_VERSION "\n";
    return 0;
  }
  for (const Subcommand& command : kSubcommands) {
    if (name != command.name) continue;
    if (command.computes) hornet::keep_freed_memory();
    int code = 0;
    hornet::translate_errors([&] { code = command.run(argc - 1, argv + 1); });
    return code;
  }
  throw hornet::Error(hornet::ErrorCode::kUsage,
                      (name.empty() ? "no command given" : "there is no command '" + name + "'") +
                          "; expected " + command_names() + ", see `hornet --help`");
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away is a failed write, with its own message
  try {
    const int code = run(argc, argv);
    if (std::fflush(stdout) != 0 || !std::cout.flush()) {
      throw hornet::Error(hornet::ErrorCode::kOutput, "cannot write the results to stdout");
    }
    return code;
  } catch (const hornet::Error& error) {
    std::cerr << "hornet: " << error.what() << '\n';
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    std::cerr << "hornet: " << error.what() << '\n';
    return static_cast<int>(hornet::ErrorCode::kRuntime);
  }
}
