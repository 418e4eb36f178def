// What checkpoints say about how they want to be used.
#include <gtest/gtest.h>
#include <hornet/pipelines/model_defaults.h>

namespace hornet {
namespace {

SegmentDefaults defaults_of(std::map<std::string, std::string> entries) {
  weights::Metadata meta;
  meta.entries = std::move(entries);
  return segment_defaults(meta);
}

TEST(ModelDefaults, RoundTrip) {
  weights::Metadata meta;
  set_segment_defaults(meta, {true, 320, 213, cv::Size(480, 360), 0});
  EXPECT_EQ(meta.entries.at("hornet.mode"), "whole");
  const SegmentDefaults read = segment_defaults(meta);
  EXPECT_EQ(read.whole, true);
  EXPECT_EQ(read.tile, 320);
  EXPECT_EQ(read.stride, 213);
  EXPECT_EQ(read.size, cv::Size(480, 360));
  EXPECT_EQ(read.ignore_label, 0);
  weights::Metadata nothing;
  set_segment_defaults(nothing, {});
  EXPECT_TRUE(nothing.entries.empty());
}

TEST(ModelDefaults, OtherTextCountsAsMissing) {
  for (const char* wrong : {"", "-1", "none", "65536"}) {
    EXPECT_FALSE(defaults_of({{"hornet.ignore_label", wrong}}).ignore_label) << wrong;
  }
  for (const char* wrong : {"", "x", "0", "-5", "99999", "123456789012345678901", "1e3", "5 "}) {
    EXPECT_FALSE(defaults_of({{"hornet.tile", wrong}}).tile) << wrong;
    EXPECT_FALSE(defaults_of({{"hornet.size", wrong}}).size) << wrong;
    EXPECT_FALSE(defaults_of({{"hornet.size", std::string("64x") + wrong}}).size) << wrong;
    EXPECT_FALSE(defaults_of({{"hornet.mode", wrong}}).whole) << wrong;
  }
  EXPECT_EQ(defaults_of({{"hornet.mode", "slide"}}).whole, false);
}

}  // namespace
}  // namespace hornet
