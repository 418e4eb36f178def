// Help, versions, and command lines that cannot be right.
#include "tests/demos/program.h"

#include <gtest/gtest.h>

namespace hornet::testing {
namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Program, PrintsItsHelpOnStdout) {
  const auto outcomes = run_all({{"--help"}, {"help"}});
  for (const Outcome& outcome : outcomes) {
    expect_clean(outcome);
    for (const char* command :
         {"bench", "detect", "eval", "export", "forward", "info", "segment", "train"}) {
      EXPECT_TRUE(has(outcome.out, std::string("\n  ") + command)) << outcome.out;
    }
    EXPECT_EQ(outcome.err, "");
  }
}

TEST(Program, PrintsItsVersion) {
  const Outcome outcome = run_hornet({"--version"});
  expect_clean(outcome);
  EXPECT_EQ(outcome.out.find("hornet "), 0u);
  EXPECT_EQ(lines_of(outcome.out).size(), 1u);
}

TEST(Program, EachCommandHasHelpWithExamples) {
  const Arguments commands = {"bench",   "detect", "eval",    "export",
                              "forward", "info",   "segment", "train"};
  std::vector<Arguments> lines;
  for (const std::string& command : commands) lines.push_back({command, "--help"});
  const auto outcomes = run_all(lines);
  for (size_t i = 0; i < commands.size(); ++i) {
    expect_clean(outcomes[i]);
    EXPECT_EQ(outcomes[i].err, "");
    EXPECT_TRUE(has(outcomes[i].out, "Usage: hornet " + commands[i] + " "));
    EXPECT_TRUE(has(outcomes[i].out, "\nExamples:\n  hornet " + commands[i] + " "));
    const std::string file = commands[i] == "train" ? "--pretrained FILE" : "--weights FILE";
    EXPECT_TRUE(has(outcomes[i].out, file)) << commands[i];
  }
}

struct BadLine {
  Arguments arguments;
  std::vector<std::string> words;  // of the one line on stderr
  int code = 2;
};

void expect_refused(const std::vector<BadLine>& lines) {
  std::vector<Arguments> arguments;
  for (const BadLine& line : lines) arguments.push_back(line.arguments);
  const auto outcomes = run_all(arguments);
  for (size_t i = 0; i < lines.size(); ++i) {
    expect_error(outcomes[i], lines[i].code, lines[i].words);
  }
}

// fp16 would need its losses scaled.
TEST(Program, HelpNamesTheTypesThatACommandTakes) {
  const auto outcomes = run_all({{"train", "--help"}, {"detect", "--help"}});
  EXPECT_EQ(outcomes[0].out.find("bf16 or fp16"), std::string::npos) << outcomes[0].out;
  EXPECT_NE(outcomes[0].out.find("fp32, tf32 (on GPUs) or bf16"), std::string::npos);
  EXPECT_NE(outcomes[1].out.find("fp32, tf32 (on GPUs), bf16 or fp16"), std::string::npos);
}

TEST(Program, RefusesCommandLinesThatAreIncomplete) {
  const Arguments detect = {"detect", "--weights", "w.pth", "--input", "in.avi"};
  const Arguments forward = {"forward", "--weights", "w.pth", "--output", "o.safetensors"};
  expect_refused({
      {{},
       {"no command", "bench, detect, eval, export, forward, info, segment or train", "--help"}},
      {{"detcet"}, {"'detcet'", "bench, detect, eval, export, forward, info, segment or train"}},
      {{"detect"}, {"--input", "required", "hornet detect --help"}},
      {{"detect", "--weights"}, {"--weights", "missing"}},
      {detect, {"--output", "--json"}},
      {with(detect, {"--colour", "red"}), {"--colour", "hornet detect --help"}},
      {with(detect, {"--output", "o.avi", "surplus"}), {"'surplus'"}},
      {with(detect, {"--output", "o.avi", "--json", "o.avi"}), {"o.avi", "both"}},
      {forward, {"--input", "--image"}},
      {with(forward, {"--input", "i", "--image", "j"}), {"either --input or --image"}},
      {with(forward, {"--input", "i", "--size", "64"}), {"--size", "--image"}},
      {{"info"}, {"--weights", "--list"}},
  });
}

TEST(Program, RefusesValuesOutOfRange) {
  const Arguments detect = {"detect", "--weights", "w.pth",  "--input",
                            "in.avi", "--output",  "out.avi"};
  const auto option = [&](const char* name, const char* value) {
    return with(detect, {name, value});
  };
  const Arguments forward = {"forward", "--weights", "w.pth", "--image", "i.jpg", "--output", "o"};
  expect_refused({
      {option("--size", "0x9"), {"--size 0x9", "WIDTHxHEIGHT", "32 to 65536"}},
      {option("--size", "abc"), {"--size abc", "WIDTHxHEIGHT"}},
      {option("--size", "16"), {"--size 16", "32"}},
      {option("--score-thr", "2"), {"--score-thr 2", "from 0 to 1"}},
      {option("--score-thr", "-0.1"), {"--score-thr -0.1", "from 0 to 1"}},
      {option("--score-thr", "high"), {"--score-thr", "'high'", "expected a number"}},
      {option("--score-thr", "nan"), {"--score-thr nan", "from 0 to 1"}},
      {option("--batch-size", "0"), {"--batch-size 0", "from 1"}},
      {option("--batch-size", "two"), {"--batch-size", "'two'", "expected a whole number"}},
      {option("--start", "-1"), {"--start -1", "from 0"}},
      {option("--stride", "0"), {"--stride 0", "from 1"}},
      {option("--progress", "loud"), {"--progress", "auto, plain or none", "loud"}},
      {option("--dtype", "fp7"), {"--dtype fp7", "fp32, tf32, bf16 or fp16"}},
      {option("--device", "gpu"), {"--device gpu", "auto, cpu, cuda or cuda:N"}},
      {option("--device", "cuda:9"), {"--device cuda:9", "CUDA devices", "--device cpu"}, 5},
      {with(forward, {"--mode", "half"}), {"--mode half", "whole or slide"}},
      {with(forward, {"--tile", "0"}), {"--tile 0", "from 32"}},
  });
}

}  // namespace
}  // namespace hornet::testing
