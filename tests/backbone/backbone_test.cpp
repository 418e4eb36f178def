// The table of variants, the registry of backbones, and the wiring between parts.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/hornet.h>

#include <algorithm>
#include <map>

#include "tests/modules.h"

namespace hornet {

bool operator==(const FilterSize& a, const FilterSize& b) { return a.h == b.h && a.w == b.w; }
bool operator==(const FeatureInfo& a, const FeatureInfo& b) {
  return a.channels == b.channels && a.stride == b.stride;
}

namespace {

using testing::error_of;
using testing::expect_contains;

constexpr FilterUse kUses[] = {FilterUse::kClassification, FilterUse::kDetection,
                               FilterUse::kSegmentation};

const std::map<std::string, int64_t> kBaseDims = {
    {"tiny", 64}, {"small", 96}, {"base", 128}, {"large", 192}};

// Stages 2 and 3 of a variant for one use; none for 7x7 ones. Pictures of 224 pixels have maps of
// 14 and 7 pixels there, pictures of 384 pixels 24 and 12.
std::optional<std::array<FilterSize, 2>> published_filters(const std::string& name, FilterUse use) {
  if (name.find("_gf") == std::string::npos) return std::nullopt;
  const bool large_pictures =
      name.find("img384") != std::string::npos || use == FilterUse::kSegmentation ||
      (name.find("large") != std::string::npos && use == FilterUse::kDetection);
  if (large_pictures) return {{{{24, 13}, {12, 7}}}};
  return {{{{14, 8}, {7, 4}}}};
}

TEST(Variants, AreTheTenPublishedOnes) {
  const std::vector<std::string> names = hornet_variant_names();
  EXPECT_EQ(names.size(), 10);
  for (const auto& [size, base_dim] : kBaseDims) {
    for (const char* mixer : {"_7x7", "_gf"}) {
      EXPECT_EQ(hornet_variant("hornet_" + size + mixer).base_dim, base_dim);
    }
  }
  EXPECT_EQ(hornet_variant("hornet_base_gf_img384").base_dim, 128);
  EXPECT_EQ(hornet_variant("hornet_large_gf_img384").base_dim, 192);
}

TEST(Variants, HaveTheirFiltersForEachUse) {
  for (const std::string& name : hornet_variant_names()) {
    for (const FilterUse use : kUses) {
      SCOPED_TRACE(name + " for use " + std::to_string(static_cast<int>(use)));
      const HorNetOptions options = hornet_variant(name, use);
      const auto filters = published_filters(name, use);
      for (size_t i = 0; i < 4; ++i) {
        const StageOptions& stage = options.stages[i];
        EXPECT_EQ(stage.depth, i == 2 ? 18 : static_cast<int64_t>(i == 1 ? 3 : 2));
        EXPECT_EQ(stage.order, static_cast<int64_t>(i) + 2);
        ASSERT_EQ(stage.global_filter.has_value(), filters && i >= 2);
        if (stage.global_filter) {
          EXPECT_EQ(*stage.global_filter, (*filters)[i - 2]);
        }
      }
      EXPECT_EQ(options.gnconv_scale, 1.0 / 3.0);
    }
  }
}

TEST(Variants, AreFoundByTheirArchitecture) {
  for (const std::string& name : hornet_variant_names()) {
    EXPECT_EQ(variant_name(hornet_variant(name), FilterUse::kClassification), name);
  }
  HorNetOptions deeper = hornet_variant("hornet_tiny_7x7");
  deeper.stages[2].depth = 19;
  EXPECT_EQ(variant_name(deeper, FilterUse::kClassification), "");
}

TEST(Variants, AreListedWhenThereIsNone) {
  const std::string message = error_of([] { hornet_variant("hornet_huge_gf"); }, ErrorCode::kUsage);
  expect_contains(message, "'hornet_huge_gf'");
  for (const std::string& name : hornet_variant_names()) expect_contains(message, name);
}

TEST(Registry, HasTheVariants) {
  const std::vector<std::string> names = backbone_names();
  for (const std::string& name : hornet_variant_names()) {
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  }
  const auto backbone = make_backbone("hornet_tiny_gf");
  EXPECT_EQ(backbone->feature_info(),
            (std::vector<FeatureInfo>{{64, 4}, {128, 8}, {256, 16}, {512, 32}}));
}

TEST(Registry, ListsItsNamesWhenThereIsNone) {
  const std::string message = error_of([] { make_backbone("resnet9000"); }, ErrorCode::kUsage);
  expect_contains(message, "'resnet9000'");
  for (const std::string& name : backbone_names()) expect_contains(message, name);
}

// A user's own network: the image in blocks of 8x8 pixels.
struct Blocks : Backbone {
  Features forward(const torch::Tensor& images) override {
    return {torch::avg_pool2d(images, 8, 8)};
  }
  std::vector<FeatureInfo> feature_info() const override { return {{3, 8}}; }
};

TEST(Registry, TakesAUsersBackbone) {
  register_backbone("blocks", [] { return std::make_shared<Blocks>(); });
  const auto backbone = make_backbone("blocks");
  const Features maps = backbone->forward(torch::ones({2, 3, 32, 40}));
  ASSERT_EQ(maps.size(), backbone->feature_info().size());
  EXPECT_EQ(maps[0].sizes(), (torch::IntArrayRef{2, 3, 4, 5}));
  expect_contains(error_of([] { make_backbone("block"); }, ErrorCode::kUsage), " blocks");
}

TEST(Registry, ReplacesWhatANameMeant) {
  register_backbone("mine", [] { return std::make_shared<Blocks>(); });
  register_backbone("mine", [] { return std::make_shared<HorNetImpl>(testing::narrow_hornet()); });
  EXPECT_EQ(make_backbone("mine")->feature_info().size(), 4);
  const std::vector<std::string> names = backbone_names();
  EXPECT_EQ(std::count(names.begin(), names.end(), "mine"), 1);
}

TEST(Wiring, AcceptsWhatFits) {
  const std::vector<FeatureInfo> levels = {{8, 4}, {16, 8}};
  EXPECT_NO_THROW(check_wiring(levels, levels, "the neck"));
}

TEST(Wiring, NamesBothSides) {
  const auto message = [](const std::vector<FeatureInfo>& given) {
    const std::vector<FeatureInfo> expected = {{96, 4}, {192, 8}};
    return error_of([&] { check_wiring(given, expected, "the neck"); }, ErrorCode::kUsage);
  };
  const std::string other_channels = message({{64, 4}, {128, 8}});
  expect_contains(other_channels,
                  "the neck was built for 96 channels at stride 4, 192 channels at stride 8");
  expect_contains(other_channels, "gives 64 channels at stride 4, 128 channels at stride 8");
  expect_contains(message({{96, 4}, {192, 16}}),
                  "gives 96 channels at stride 4, 192 channels at "
                  "stride 16");
  expect_contains(message({{96, 4}}), "gives 96 channels at stride 4;");
}

}  // namespace
}  // namespace hornet
