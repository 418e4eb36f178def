// `hornet info` and `hornet detect` on a Mask R-CNN whose backbone is a ResNet, in both layouts.
#include <gtest/gtest.h>

#include "tests/demos/program.h"
#include "tests/demos/samples.h"
#include "tests/heads/detector_files.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

using nlohmann::json;

class ProgramOnAResNet : public ::hornet::TemporaryFolder {
 protected:
  ProgramOnAResNet() {
    const MaskRcnn model = narrow_resnet_detector();
    weights::write_pth(path("mmdet.pth"), as_mmdet_file(model).tensors);
    weights::write_pth(path("torchvision.pth"), as_torchvision_file(model, false).tensors);
  }
};

TEST_F(ProgramOnAResNet, IsDescribed) {
  const Arguments mmdet = {"info", "--weights", path("mmdet.pth")};
  const Arguments torchvision = {"info", "--weights", path("torchvision.pth")};
  const auto outcomes = run_all({with(mmdet, {"--json"}), with(torchvision, {"--json"}), mmdet});
  for (const Outcome& outcome : outcomes) expect_clean(outcome);
  const json first = json::parse(outcomes[0].out), second = json::parse(outcomes[1].out);
  EXPECT_EQ(first["model"], "mask_rcnn_resnet_width4_1-2-1-1_fpn");
  EXPECT_EQ(second["model"], first["model"]);
  EXPECT_EQ(first["conventions"], "mmdet");
  EXPECT_EQ(second["conventions"], "torchvision");
  EXPECT_EQ(first["depths"], json({1, 2, 1, 1}));
  EXPECT_EQ(first["frozen_norm"], false);
  EXPECT_EQ(second["frozen_norm"], true);
  EXPECT_GT(first["parameters"], second["parameters"]);
  EXPECT_GT(first["flops"].get<double>(), 1e6);
  EXPECT_EQ(second["tensors_loaded"], second["tensors_expected"]);
  EXPECT_NE(outcomes[2].out.find("batch norm   trainable, epsilon 1e-05"), std::string::npos)
      << outcomes[2].out;
}

TEST_F(ProgramOnAResNet, DetectsInEitherLayout) {
  write_image(path("in.png"), scene({151, 113}, 7));
  std::vector<Arguments> lines;
  for (const char* layout : {"mmdet.pth", "torchvision.pth"}) {
    lines.push_back({"detect", "--weights", path(layout), "--input", path("in.png"), "--size",
                     "96x96", "--score-thr", "0.05", "--json", "-"});
  }
  for (const Outcome& outcome : run_all(lines)) {
    expect_clean(outcome);
    const json results = json::parse(outcome.out);
    ASSERT_FALSE(results.empty());
    for (const json& result : results) expect_coco_result(result, {151, 113}, 0.05);
  }
}

}  // namespace
}  // namespace hornet::testing
