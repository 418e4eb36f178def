#include <gtest/gtest.h>
#include <hornet/pipelines/forward.h>

#include <string>

namespace hornet {
namespace {

// The windows that a checkpoint with this configuration asks for.
SlideOptions slide_of(const std::string& config) {
  static LoadedModel model = load_model(weights::read(
      std::string(HORNET_TEST_DATA) + "/fixtures/upernet_hornet_tiny_gf_s2/model.pth"));
  model.meta.entries["config"] = config;
  return official_slide(model);
}

void expect_slide(const std::string& config, int64_t tile, int64_t stride) {
  const SlideOptions slide = slide_of(config);
  EXPECT_EQ(slide.tile, tile) << config.substr(0, 100);
  EXPECT_EQ(slide.stride, stride) << config.substr(0, 100);
}

TEST(OfficialSlide, ReadsTheConfigurationInEverySpelling) {
  expect_slide("'test_cfg': {'mode': 'slide', 'crop_size': (640, 640), 'stride': (426, 426)}", 640,
               426);
  expect_slide("test_cfg=dict(mode='slide', crop_size=(320, 320), stride=(200, 200))", 320, 200);
  expect_slide(R"({"crop_size": [96, 96], "mode": "slide", "stride": [64, 64]})", 96, 64);
  expect_slide("landslide = 1\ntest_cfg=dict(mode='slide', crop_size=(96, 96), stride=(64, 64))",
               96, 64);
}

TEST(OfficialSlide, IsTheAuthorsWithoutAUsableConfiguration) {
  for (const char* config : {"", "test_cfg=dict(mode='whole')", "mode='slide'",
                             "mode='slide', crop_size=(16, 16), stride=(8, 8)",
                             "mode='slide', crop_size=(64, 64), stride=(99, 99)",
                             "mode='slide', crop_size=(64, 64), stride=(0, 0)"}) {
    expect_slide(config, 512, 341);
  }
}

TEST(OfficialSlide, SurvivesALongConfiguration) {
  const std::string blank(4 << 20, ' ');
  expect_slide("mode" + blank + "= 'slide'", 512, 341);
  expect_slide("mode='slide', crop_size=" + blank + "(96, 96)", 512, 341);
  expect_slide(blank + "mode='slide', crop_size=(96, 96), stride=(64, 64)" + blank, 96, 64);
}

}  // namespace
}  // namespace hornet
