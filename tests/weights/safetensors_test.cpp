#include "helpers.h"

namespace hornet::weights {
namespace {

std::string safetensors(const std::string& header, const std::string& data = "") {
  return bytes_of<uint64_t>(header.size()) + header + data;
}

std::string refusal(const std::string& header, const std::string& data = "") {
  return error_of_text(safetensors(header, data));
}

TEST(Safetensors, ReadsWhatItsPythonPackageWrites) {
  const File file = read(checkpoint("small.safetensors"));
  EXPECT_EQ(file.format, "safetensors");
  ASSERT_EQ(file.tensors.size(), 3u);
  EXPECT_EQ(values<float>(file.tensors.at("conv.weight")), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(values<uint16_t>(file.tensors.at("half")), (std::vector<uint16_t>{0, 0x3c00, 0x4000}));
  EXPECT_EQ(values<uint8_t>(file.tensors.at("flag")), (std::vector<uint8_t>{1, 0}));
  EXPECT_EQ(file.meta.classes, (std::vector<std::string>{"person", "dog"}));
  ASSERT_EQ(file.meta.palette.size(), 2u);
  EXPECT_EQ(file.meta.palette[1], (std::array<uint8_t, 3>{0, 0, 142}));
  EXPECT_EQ(file.meta.entries, (std::map<std::string, std::string>{{"format", "pt"}}));
}

TEST(Safetensors, ReadsScalarsAndEmptyTensors) {
  const File file =
      parse_text(safetensors(R"({"s":{"dtype":"U8","shape":[],"data_offsets":[0,1]},)"
                             R"("e":{"dtype":"F32","shape":[2,0],"data_offsets":[1,1]}})",
                             "\x07"));
  EXPECT_EQ(values<uint8_t>(file.tensors.at("s")), std::vector<uint8_t>{7});
  EXPECT_EQ(file.tensors.at("e").numel(), 0);
}

TEST(Safetensors, ChecksEveryExtent) {
  const std::string data(8, 'x');
  expect_contains(refusal(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", data),
                  "cut short");
  expect_contains(refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", data),
                  "cut short");
  expect_contains(refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", data),
                  "takes 4 bytes");
  expect_contains(refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", data),
                  "takes 8 bytes");
  expect_contains(refusal(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],)"
                          R"("data_offsets":[0,0]}})",
                          data),
                  "exceeds 64 bits");
  expect_contains(
      refusal(R"({"a":{"dtype":"U8","shape":[0,18446744073709551615],"data_offsets":[0,0]}})"),
      "no sizes");
  expect_contains(refusal(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}})"), "no sizes");
}

TEST(Safetensors, ChecksItsHeader) {
  expect_contains(refusal(R"({"a":{"dtype":"F8_E4M3","shape":[],"data_offsets":[0,1]}})", "x"),
                  "'F8_E4M3' is not read");
  expect_contains(refusal(R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},)"
                          R"("a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})",
                          "x"),
                  "'a' twice");
  expect_contains(refusal(R"({"a":3})"), "not described");
  expect_contains(refusal(R"({"a":{"dtype":1,"shape":[],"data_offsets":[0,1]}})", "x"), "JSON");
  expect_contains(refusal(R"({"__metadata__":{"epoch":3}})"), "is no text");
  expect_contains(refusal(R"({"a":)"), "JSON");
  expect_contains(refusal("{" + std::string(100000, '[')), "JSON");
  expect_contains(refusal(R"({"a":{"dtype":)" + std::string(100000, '[')), "nested too deeply");
  expect_contains(error_of_text(bytes_of<uint64_t>(1000) + "{}"), "does not fit the file");
  expect_contains(error_of_text(bytes_of<uint64_t>(UINT64_MAX) + "{}"), "does not fit the file");
}

TEST(Safetensors, KeepsEntriesThatOnlyLookLikeClasses) {
  const File file = parse_text(
      safetensors(R"({"__metadata__":{"classes":"80","palette":"[[1,2]]","note":"x"}})"));
  EXPECT_TRUE(file.meta.classes.empty());
  EXPECT_TRUE(file.meta.palette.empty());
  EXPECT_EQ(file.meta.entries.size(), 3u);
}

}  // namespace
}  // namespace hornet::weights
