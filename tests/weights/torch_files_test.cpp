#include "helpers.h"

namespace hornet::weights {
namespace {

using Floats = std::vector<float>;

class SameContent : public ::testing::TestWithParam<const char*> {};

TEST_P(SameContent, IsFoundInEveryLayout) {
  const File file = read(checkpoint(GetParam()));
  ASSERT_EQ(file.tensors.size(), 3u);
  const Tensor& weight = file.tensors.at("conv.weight");
  EXPECT_EQ(weight.dtype, DType::kFloat32);
  EXPECT_EQ(weight.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(values<float>(weight), (Floats{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(values<float>(file.tensors.at("conv.bias")), (Floats{10, 11}));
  const Tensor& counter = file.tensors.at("bn.num_batches_tracked");
  EXPECT_TRUE(counter.shape.empty());
  EXPECT_EQ(values<int64_t>(counter), std::vector<int64_t>{7});
}

INSTANTIATE_TEST_SUITE_P(TorchFiles, SameContent,
                         ::testing::Values("zip.pth", "legacy.pth", "bare.pth", "module_prefix.pth",
                                           "protocol4.pth", "python2.pth", "hostile_args.pth"));

TEST(TorchFiles, NameTheirFormat) {
  EXPECT_EQ(read(checkpoint("zip.pth")).format, "torch zip");
  EXPECT_EQ(read(checkpoint("legacy.pth")).format, "torch legacy");
  EXPECT_EQ(read(checkpoint("zip.pth")).path, checkpoint("zip.pth"));
}

template <typename T>
void expect_flags(const File& file, const std::string& name, T one) {
  const Tensor& tensor = file.tensors.at(name);
  EXPECT_EQ(dtype_name(tensor.dtype), name);
  EXPECT_EQ(element_size(tensor.dtype), static_cast<int64_t>(sizeof(T)));
  EXPECT_EQ(values<T>(tensor), (std::vector<T>{0, one, one, 0, one})) << name;
}

TEST(TorchFiles, HoldAnyElementType) {
  for (const char* name : {"dtypes.pth", "dtypes_legacy.pth"}) {
    const File file = read(checkpoint(name));
    EXPECT_EQ(file.tensors.size(), 10u);
    expect_flags<double>(file, "float64", 1);
    expect_flags<float>(file, "float32", 1);
    expect_flags<uint16_t>(file, "float16", 0x3c00);
    expect_flags<uint16_t>(file, "bfloat16", 0x3f80);
    expect_flags<int64_t>(file, "int64", 1);
    expect_flags<int32_t>(file, "int32", 1);
    expect_flags<int16_t>(file, "int16", 1);
    expect_flags<int8_t>(file, "int8", 1);
    expect_flags<uint8_t>(file, "uint8", 1);
    expect_flags<uint8_t>(file, "bool", 1);
  }
}

TEST(TorchFiles, ShareStoragesThroughViews) {
  for (const char* name : {"views.pth", "views_legacy.pth"}) {
    const File file = read(checkpoint(name));
    const Tensor& base = file.tensors.at("base");
    const Tensor& transposed = file.tensors.at("transposed");
    EXPECT_EQ(transposed.data, base.data);
    EXPECT_EQ(transposed.shape, (std::vector<int64_t>{6, 4}));
    EXPECT_TRUE(base.is_contiguous());
    EXPECT_FALSE(transposed.is_contiguous());
    EXPECT_EQ(values<float>(transposed).at(1), 6);
    EXPECT_EQ(values<float>(file.tensors.at("window")), (Floats{8, 9, 10, 14, 15, 16}));
    EXPECT_EQ(values<float>(file.tensors.at("columns")).at(4), 8);
    EXPECT_EQ(values<float>(file.tensors.at("scalar")), Floats{23});
    EXPECT_EQ(values<float>(file.tensors.at("repeated")), (Floats{0, 0, 0}));
    EXPECT_EQ(file.tensors.at("empty").shape, (std::vector<int64_t>{0, 6}));
    EXPECT_EQ(file.tensors.at("empty").numel(), 0);
  }
}

TEST(TorchFiles, UnwrapParametersSubclassesAndOtherVersions) {
  const File file = read(checkpoint("rebuilds.pth"));
  EXPECT_EQ(values<float>(file.tensors.at("parameter")), (Floats{0, 1, 2}));
  EXPECT_EQ(values<float>(file.tensors.at("labelled")), (Floats{3, 4, 5}));
  EXPECT_EQ(values<float>(file.tensors.at("untyped")), (Floats{6, 7, 8}));
  EXPECT_EQ(values<float>(file.tensors.at("old")), (Floats{9, 10, 11}));
}

TEST(TorchFiles, MayCarryObjectsOfAnyClassBesideTheTensors) {
  const File file = read(checkpoint("training.pth"));
  EXPECT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(values<float>(file.tensors.at("linear.weight")), (Floats{0, 1, 2, 3}));
  const std::map<std::string, std::string> scalars = {
      {"epoch", "36"}, {"lr", "1e-05"}, {"amp", "True"}};
  EXPECT_EQ(file.meta.entries, scalars);
}

TEST(TorchFiles, TellMmcvsClassesAndPalette) {
  const Metadata meta = read(checkpoint("mmcv.pth")).meta;
  EXPECT_EQ(meta.classes, (std::vector<std::string>{"person", "b\xc3\xa4r"}));
  ASSERT_EQ(meta.palette.size(), 2u);
  EXPECT_EQ(meta.palette[0], (std::array<uint8_t, 3>{220, 20, 60}));
  const std::map<std::string, std::string> scalars = {
      {"epoch", "12"}, {"iter", "87960"}, {"mmcv_version", "1.4.8"}};
  EXPECT_EQ(meta.entries, scalars);
}

TEST(TorchFiles, TellMmenginesClassesAndPalette) {
  const Metadata meta = read(checkpoint("mmengine.pth")).meta;
  EXPECT_EQ(meta.classes, (std::vector<std::string>{"wall", "sky"}));
  ASSERT_EQ(meta.palette.size(), 2u);
  EXPECT_EQ(meta.palette[1], (std::array<uint8_t, 3>{6, 230, 230}));
  EXPECT_EQ(meta.entries.at("experiment_name"), "demo");
}

TEST(TorchFiles, StayMappedWhileACopyOfTheFileLives) {
  File copy;
  {
    const File file = read(checkpoint("zip.pth"));
    copy = file;
  }
  EXPECT_EQ(values<float>(copy.tensors.at("conv.bias")), (Floats{10, 11}));
}

}  // namespace
}  // namespace hornet::weights
