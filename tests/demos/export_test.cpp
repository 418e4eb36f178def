// `hornet export`: what it writes and says, and what it refuses.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>

#include <opencv2/dnn.hpp>

#include "tests/demos/program.h"
#include "tests/demos/samples.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

class ProgramExport : public TemporaryFolder {};

TEST_F(ProgramExport, WritesAFileThatOpenCvReads) {
  const std::string out = path("model.onnx").string();
  const Outcome outcome = run_hornet(
      {"export", "--weights", classifier_checkpoint(), "--output", out, "--size", "96x64"});
  expect_clean(outcome);
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.err.find("input [N,3,64,96] -> logits [N,1000"), std::string::npos)
      << outcome.err;
  cv::dnn::Net net = cv::dnn::readNet(out);
  net.setInput(cv::dnn::blobFromImage(scene({96, 64}, 1)));
  EXPECT_EQ(net.forward().total(), 1000u);
}

TEST_F(ProgramExport, RefusesWhatItCannotDo) {
  const std::string out = path("model.onnx").string();
  const Arguments line = {"export", "--weights", classifier_checkpoint(), "--output", out};
  expect_error(run_hornet(line), 2, {"--size"});
  expect_error(run_hornet(with(line, {"--size", "16"})), 2, {"--size", "32"});
  expect_error(run_hornet(with(line, {"--size", "64", "--opset", "18"})), 2, {"--opset", "17"});
  expect_error(run_hornet({"export", "--weights", path("none.pth").string(), "--output", out,
                           "--size", "64"}),
               4, {"none.pth"});
  expect_clean(run_hornet(with(line, {"--size", "64"})));
  expect_error(run_hornet(with(line, {"--size", "64"})), 7, {"model.onnx", "--force"});
  expect_clean(run_hornet(with(line, {"--size", "64", "--force"})));
}

}  // namespace
}  // namespace hornet::testing
