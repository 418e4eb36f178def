// The subcommands of `hornet`, one file each. Arguments are those after the subcommand's name;
// the result is the program's exit code. Errors are thrown and end in main().
#pragma once

namespace hornet::cli {

int run_bench(int argc, char** argv);
int run_detect(int argc, char** argv);
int run_eval(int argc, char** argv);
int run_export(int argc, char** argv);
int run_forward(int argc, char** argv);
int run_info(int argc, char** argv);
int run_segment(int argc, char** argv);
int run_train(int argc, char** argv);

}  // namespace hornet::cli
