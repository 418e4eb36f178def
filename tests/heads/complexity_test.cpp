// The parameters and FLOPs of every official model, as the authors' code and tools measure them.
#include <gtest/gtest.h>
#include <hornet/heads/complexity.h>

#include <map>
#include <ostream>
#include <string>

namespace hornet {
namespace {

const std::map<std::string, int64_t> kBaseDims = {
    {"tiny", 64}, {"small", 96}, {"base", 128}, {"large", 192}};

// Global filters belong to stages 2 and 3. Their size is that of the images of pre-training, or
// of the larger ones: 384 pixels, UPerNet's crops, and HorNet-L's detector.
enum class Mixer { k7x7, kFilter, kLargeFilter };

BackboneNumbers backbone(const std::string& width, Mixer mixer) {
  BackboneNumbers numbers;
  numbers.base_dim = kBaseDims.at(width);
  if (mixer == Mixer::kFilter) {
    numbers.mixers[2].filter = GridSize{14, 8};
    numbers.mixers[3].filter = GridSize{7, 4};
  } else if (mixer == Mixer::kLargeFilter) {
    numbers.mixers[2].filter = GridSize{24, 13};
    numbers.mixers[3].filter = GridSize{12, 7};
  }
  return numbers;
}

const GnConvNumbers kPyramid7x7 = {2, {}};
const GnConvNumbers kPyramidFilter = {2, GridSize{32, 17}};

struct Row {
  std::string name, width;
  Mixer mixer;
  double megaparameters, gigaflops;
};

std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }

void expect(const Complexity& complexity, const Row& row) {
  EXPECT_NEAR(static_cast<double>(complexity.parameters) / 1e6, row.megaparameters, 0.005) << row;
  EXPECT_NEAR(static_cast<double>(complexity.flops) / 1e9, row.gigaflops, 0.005) << row;
}

TEST(Complexity, OfClassifiersIsFvcores) {
  for (const Row& row : {Row{"hornet_tiny_7x7", "tiny", Mixer::k7x7, 22.41, 3.98},
                         Row{"hornet_tiny_gf", "tiny", Mixer::kFilter, 22.99, 3.91},
                         Row{"hornet_small_7x7", "small", Mixer::k7x7, 49.53, 8.83},
                         Row{"hornet_small_gf", "small", Mixer::kFilter, 50.40, 8.73},
                         Row{"hornet_base_7x7", "base", Mixer::k7x7, 87.26, 15.58},
                         Row{"hornet_base_gf", "base", Mixer::kFilter, 88.42, 15.46},
                         Row{"hornet_large_7x7", "large", Mixer::k7x7, 194.54, 34.82},
                         Row{"hornet_large_gf", "large", Mixer::kFilter, 196.29, 34.64}}) {
    expect(classifier_complexity(backbone(row.width, row.mixer), 1000, {224, 224}), row);
  }
  for (const Row& row :
       {Row{"hornet_base_gf_img384", "base", Mixer::kLargeFilter, 92.10, 45.44},
        Row{"hornet_large_gf_img384", "large", Mixer::kLargeFilter, 201.81, 101.81}}) {
    expect(classifier_complexity(backbone(row.width, row.mixer), 1000, {384, 384}), row);
  }
}

TEST(Complexity, OfMaskRcnnIsMmcvs) {
  DetectorNumbers detector;
  detector.stages = 1;
  detector.shared_convs = 0;
  detector.shared_fcs = 2;
  const auto check = [&](const Row& row) {
    expect(detector_complexity(backbone(row.width, row.mixer), detector, {1280, 800}), row);
  };
  check({"fpn_mask_rcnn_hornet_small_7x7", "small", Mixer::k7x7, 69.03, 351.34});
  detector.mixer = kPyramid7x7;
  check({"horfpn_7x7_mask_rcnn_hornet_small_7x7", "small", Mixer::k7x7, 67.67, 322.40});
  detector.mixer = kPyramidFilter;
  check({"horfpn_gf_mask_rcnn_hornet_small_7x7", "small", Mixer::k7x7, 68.44, 320.91});
}

TEST(Complexity, OfCascadeMaskRcnnIsMmcvs) {
  for (const Row& row :
       {Row{"cascade_mask_rcnn_hornet_tiny_7x7", "tiny", Mixer::k7x7, 79.88, 729.94},
        Row{"cascade_mask_rcnn_hornet_tiny_gf", "tiny", Mixer::kFilter, 80.47, 728.27},
        Row{"cascade_mask_rcnn_hornet_small_7x7", "small", Mixer::k7x7, 106.87, 829.91},
        Row{"cascade_mask_rcnn_hornet_small_gf", "small", Mixer::kFilter, 107.74, 827.42},
        Row{"cascade_mask_rcnn_hornet_base_7x7", "base", Mixer::k7x7, 144.47, 968.82},
        Row{"cascade_mask_rcnn_hornet_base_gf", "base", Mixer::kFilter, 145.63, 965.49},
        Row{"cascade_mask_rcnn_hornet_large_7x7", "large", Mixer::k7x7, 251.49, 1363.43},
        Row{"cascade_mask_rcnn_hornet_large_gf", "large", Mixer::kLargeFilter, 258.75, 1358.44}}) {
    expect(detector_complexity(backbone(row.width, row.mixer), {}, {1280, 800}), row);
  }
}

TEST(Complexity, OfUperNetIsMmcvs) {
  for (const Row& row :
       {Row{"upernet_hornet_tiny_7x7", "tiny", Mixer::k7x7, 52.21, 925.58},
        Row{"upernet_hornet_tiny_gf", "tiny", Mixer::kLargeFilter, 54.63, 923.87},
        Row{"upernet_hornet_small_7x7", "small", Mixer::k7x7, 81.18, 1030.04},
        Row{"upernet_hornet_small_gf", "small", Mixer::kLargeFilter, 84.81, 1027.49},
        Row{"upernet_hornet_base_7x7", "base", Mixer::k7x7, 120.77, 1174.37},
        Row{"upernet_hornet_base_gf", "base", Mixer::kLargeFilter, 125.61, 1170.97}}) {
    expect(segmentor_complexity(backbone(row.width, row.mixer), {}, {2048, 512}), row);
  }
  for (const Row& row :
       {Row{"upernet_hornet_large_7x7", "large", Mixer::k7x7, 231.77, 2472.83},
        Row{"upernet_hornet_large_gf", "large", Mixer::kLargeFilter, 239.03, 2464.85}}) {
    expect(segmentor_complexity(backbone(row.width, row.mixer), {}, {2560, 640}), row);
  }
}

TEST(Complexity, OfUperNetWithHorFpnIsMmcvs) {
  SegmentorNumbers segmentor;
  const auto check = [&](const Row& row) {
    expect(segmentor_complexity(backbone(row.width, row.mixer), segmentor, {2048, 512}), row);
  };
  segmentor.fusion = kPyramid7x7;
  check({"horfpn_7x7_upernet_hornet_small_7x7", "small", Mixer::k7x7, 74.28, 577.43});
  segmentor.fusion = kPyramidFilter;
  check({"horfpn_gf_upernet_hornet_small_7x7", "small", Mixer::k7x7, 74.66, 575.14});
}

// Models of the same code with few channels, small enough to count to the last parameter.
TEST(Complexity, CountsEveryParameter) {
  const auto narrow = [](int64_t base_dim, Mixer mixer) {
    BackboneNumbers numbers = backbone("tiny", mixer);
    numbers.base_dim = base_dim;
    return numbers;
  };
  const GridSize input = {64, 64};
  EXPECT_EQ(classifier_complexity(narrow(10, Mixer::k7x7), 1000, input).parameters, 704860);
  EXPECT_EQ(classifier_complexity(narrow(4, Mixer::kLargeFilter), 1000, input).parameters, 309552);

  DetectorNumbers detector;
  detector.channels = 16;
  detector.fc_channels = 32;
  EXPECT_EQ(detector_complexity(narrow(8, Mixer::kFilter), detector, input).parameters, 681074);
  detector.stages = 1;
  detector.shared_convs = 0;
  detector.shared_fcs = 2;
  detector.mixer = kPyramidFilter;
  EXPECT_EQ(detector_complexity(narrow(8, Mixer::k7x7), detector, input).parameters, 528840);

  SegmentorNumbers segmentor;
  segmentor.channels = 16;
  segmentor.auxiliary_channels = 8;
  EXPECT_EQ(segmentor_complexity(narrow(8, Mixer::k7x7), segmentor, input).parameters, 462468);
  segmentor.fusion = kPyramidFilter;
  EXPECT_EQ(segmentor_complexity(narrow(8, Mixer::k7x7), segmentor, input).parameters, 469008);
}

TEST(Complexity, CountsWhatIsThere) {
  BackboneNumbers plain = backbone("tiny", Mixer::k7x7);
  plain.layer_scale = false;
  const int64_t scales = 2 * 64 * (2 * 1 + 3 * 2 + 18 * 4 + 2 * 8);
  EXPECT_EQ(classifier_complexity(backbone("tiny", Mixer::k7x7), 10, {64, 96}).parameters -
                classifier_complexity(plain, 10, {64, 96}).parameters,
            scales);

  SegmentorNumbers bare;
  bare.auxiliary_channels = 0;
  const Complexity with = segmentor_complexity(plain, {}, {512, 512});
  const Complexity without = segmentor_complexity(plain, bare, {512, 512});
  EXPECT_EQ(with.flops, without.flops);
  EXPECT_EQ(with.parameters - without.parameters, 256 * 256 * 9 + 2 * 256 + 256 * 150 + 150);
}

}  // namespace
}  // namespace hornet
