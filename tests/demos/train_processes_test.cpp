// `mpirun -n 2 hornet train`, next to one process. The program that runs here is mpirun.
#include <gtest/gtest.h>
#include <hornet/backbone/weights/checkpoint.h>
#include <hornet/backbone/weights/tensor_file.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <opencv2/imgcodecs.hpp>
#include <sstream>
#include <thread>

#include "tests/demos/program.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

class ProcessesTrain : public TemporaryFolder {
 protected:
  ProcessesTrain() {
    for (const char* name : {"blue", "red"}) {
      std::filesystem::create_directories(path("data") / name);
      const cv::Scalar colour = *name == 'b' ? cv::Scalar(220, 40, 30) : cv::Scalar(30, 40, 220);
      for (int i = 0; i < 3; ++i) {
        cv::Mat image(50, 60, CV_8UC3, colour);
        image(cv::Rect(10 + 10 * i, 10, 12, 12)).setTo(cv::Scalar::all(90));
        cv::imwrite((path("data") / name / (std::to_string(i) + ".png")).string(), image);
      }
    }
  }

  static Arguments processes(int count, const Arguments& command) {
    return with({"-n", std::to_string(count), HORNET_COMMAND}, command);
  }

  Arguments line(const std::string& output, const std::string& batch_size = "4",
                 const std::string& iterations = "20",
                 const std::string& validation = "data") const {
    return {"train",
            "--task",
            "classify",
            "--data",
            path("data"),
            "--validation",
            path(validation),
            "--output",
            path(output),
            "--width",
            "8",
            "--depths",
            "1,1,1,1",
            "--crop",
            "64",
            "--batch-size",
            batch_size,
            "--iterations",
            iterations,
            "--lr",
            "0.0005",
            "--export",
            "fp32",
            "--save-every",
            "0"};
  }

  // The table of a .csv file, without its head.
  std::vector<std::vector<double>> table(const std::string& file) const {
    std::vector<std::vector<double>> rows;
    for (const std::string& text : lines_of(read_file(path(file)))) {
      if (!isdigit(text[0])) continue;
      rows.emplace_back();
      std::istringstream stream(text);
      for (std::string field; std::getline(stream, field, ',');) {
        rows.back().push_back(std::stod(field));
      }
    }
    return rows;
  }
};

int count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

std::vector<pid_t> children_of(pid_t process) {
  std::vector<pid_t> children;
  for (const auto& thread :
       std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task")) {
    std::ifstream stream(thread.path() / "children");
    for (pid_t child; stream >> child;) children.push_back(child);
  }
  return children;
}

TEST_F(ProcessesTrain, AsOneDoesWithTheBatchOfBoth) {
  const Outcome one = run_hornet(processes(1, line("one")));
  ASSERT_EQ(one.code, 0) << one.err;
  const Outcome two = run_hornet(processes(2, line("two")));
  ASSERT_EQ(two.code, 0) << two.err;
  EXPECT_NE(two.err.find("2 processes, each cpu"), std::string::npos) << two.err;
  EXPECT_EQ(count_of(two.err, "hornet: training "), 1) << two.err;
  EXPECT_EQ(table("one/metrics.csv"), table("two/metrics.csv"));
  const auto left = table("one/losses.csv"), right = table("two/losses.csv");
  ASSERT_EQ(left.size(), 1u);  // a row each 20 iterations
  ASSERT_EQ(right.size(), 1u);
  for (size_t row = 0; row < left.size(); ++row) {
    ASSERT_EQ(left[row].size(), right[row].size());
    for (size_t i = 0; i < left[row].size(); ++i) {
      EXPECT_NEAR(left[row][i], right[row][i], 1e-4 * std::abs(left[row][i]));
    }
  }
  const auto a = weights::read(path("one/state.safetensors")),
             b = weights::read(path("two/state.safetensors"));
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) {
    const torch::Tensor expected = weights::to_torch(tensor);
    const double difference =
        (weights::to_torch(b.tensors.at(name)) - expected).abs().max().item<double>();
    EXPECT_LE(difference, 1e-4 * (1 + expected.abs().max().item<double>())) << name;
  }
}

TEST_F(ProcessesTrain, UntilOneIsInterrupted) {
  Program program(processes(2, line("run", "4", "1000000")));
  while (!program.has_ended() && !std::filesystem::exists(path("run/model.safetensors"))) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (program.has_ended()) FAIL() << program.wait().err;
  const std::vector<pid_t> ranks = children_of(children_of(getpid()).at(0));  // mpirun's
  ASSERT_EQ(ranks.size(), 2u);
  kill(ranks[1], SIGINT);
  const Outcome outcome = program.wait();
  EXPECT_EQ(outcome.code, 130) << outcome.err;
  const auto state = weights::read(path("run/state.safetensors"));
  const Outcome again = run_hornet(
      processes(1, with(line("run", "4", state.meta.entries.at("iteration")), {"--resume"})));
  EXPECT_EQ(again.code, 0) << again.err;
}

TEST_F(ProcessesTrain, EndTogetherAtAnError) {
  const Outcome odd = run_hornet(processes(2, line("odd", "3")));
  EXPECT_EQ(odd.code, 2) << odd.err;
  EXPECT_EQ(count_of(odd.err, "hornet: --batch-size 3"), 1) << odd.err;
  EXPECT_FALSE(std::filesystem::exists(path("odd")));
  // The second image is the second process's, when they validate.
  std::filesystem::create_directories(path("broken/blue"));
  std::filesystem::copy(path("data/blue/0.png"), path("broken/blue/0.png"));
  write_file(path("broken/blue/1.png"), "no image");
  const Outcome broken =
      run_hornet(processes(2, with(line("run", "4", "20", "broken"), {"--validate-every", "2"})));
  EXPECT_EQ(broken.code, 3) << broken.err;
  EXPECT_NE(broken.err.find("hornet: process 1 of 2: "), std::string::npos) << broken.err;
  EXPECT_NE(broken.err.find("1.png"), std::string::npos) << broken.err;
  EXPECT_EQ(weights::read(path("run/state.safetensors")).meta.entries.at("iteration"), "2");
}

}  // namespace
}  // namespace hornet::testing
