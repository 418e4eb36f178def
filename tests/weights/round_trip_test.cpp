#include "helpers.h"

namespace hornet::weights {
namespace {

void expect_equal(const Tensor& actual, const Tensor& expected, const std::string& name) {
  EXPECT_EQ(actual.dtype, expected.dtype) << name;
  EXPECT_EQ(actual.shape, expected.shape) << name;
  EXPECT_TRUE(actual.is_contiguous()) << name;
  switch (element_size(expected.dtype)) {
    case 1:
      EXPECT_EQ(values<uint8_t>(actual), values<uint8_t>(expected)) << name;
      break;
    case 2:
      EXPECT_EQ(values<uint16_t>(actual), values<uint16_t>(expected)) << name;
      break;
    case 4:
      EXPECT_EQ(values<uint32_t>(actual), values<uint32_t>(expected)) << name;
      break;
    default:
      EXPECT_EQ(values<uint64_t>(actual), values<uint64_t>(expected)) << name;
  }
}

void expect_equal(const File& actual, const File& expected) {
  ASSERT_EQ(actual.tensors.size(), expected.tensors.size());
  for (const auto& [name, tensor] : expected.tensors) {
    expect_equal(actual.tensors.at(name), tensor, name);
  }
  EXPECT_EQ(actual.meta.classes, expected.meta.classes);
  EXPECT_EQ(actual.meta.palette, expected.meta.palette);
  EXPECT_EQ(actual.meta.entries, expected.meta.entries);
}

class RoundTrip : public ::testing::TestWithParam<const char*> {};

TEST_P(RoundTrip, KeepsEverything) {
  const TemporaryFolder folder;
  const File file = read(checkpoint(GetParam()));
  write_safetensors(folder / "copy.safetensors", file.tensors, file.meta);
  const File safe = read(folder / "copy.safetensors");
  expect_equal(safe, file);
  write_pth(folder / "copy.pth", safe.tensors, safe.meta);
  const File torch = read(folder / "copy.pth");
  EXPECT_EQ(torch.format, "torch zip");
  expect_equal(torch, file);
  EXPECT_EQ(folder.file_count(), 2u);
}

INSTANTIATE_TEST_SUITE_P(Files, RoundTrip,
                         ::testing::Values("zip.pth", "dtypes.pth", "views.pth", "training.pth",
                                           "mmcv.pth", "mmengine.pth", "small.safetensors"));

// The wheel that LibTorch came from has a Python next to it; a bare LibTorch has not.
TEST(RoundTrip, TorchLoadsWhatItWrites) {
  const std::string python = HORNET_TORCH_PYTHON;
  if (python.empty()) GTEST_SKIP() << "no Python with torch";
  const TemporaryFolder folder;
  const File file = read(checkpoint("dtypes.pth"));
  write_pth(folder / "written.pth", file.tensors, file.meta);
  std::ofstream(folder / "check.py")
      << "import sys, torch\n"
         "written = torch.load(sys.argv[1], weights_only=True)['state_dict']\n"
         "original = torch.load(sys.argv[2], weights_only=True)\n"
         "original = original.get('state_dict', original)\n"
         "assert set(written) == set(original), set(written) ^ set(original)\n"
         "for name, tensor in written.items():\n"
         "    assert tensor.dtype == original[name].dtype and torch.equal(tensor, "
         "original[name])\n";
  const std::string command = "'" + python + "' '" + (folder / "check.py").string() + "' '" +
                              (folder / "written.pth").string() + "' '" +
                              checkpoint("dtypes.pth").string() + "'";
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

TEST(RoundTrip, AlignsWhatItWrites) {
  const TemporaryFolder folder;
  const File file = read(checkpoint("dtypes.pth"));
  write_pth(folder / "aligned.pth", file.tensors);
  write_safetensors(folder / "aligned.safetensors", file.tensors);
  for (const auto& [name, tensor] : read(folder / "aligned.pth").tensors) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data) % 64, 0u) << name;
  }
  for (const auto& [name, tensor] : read(folder / "aligned.safetensors").tensors) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data) % element_size(tensor.dtype), 0u) << name;
  }
}

TEST(RoundTrip, ReplacesTheFileThatItReads) {
  const TemporaryFolder folder;
  const auto path = folder / "model.pth";
  std::filesystem::copy_file(checkpoint("views.pth"), path);
  const File before = read(path);
  write_pth(path, before.tensors, before.meta);
  expect_equal(read(path), before);
}

TEST(RoundTrip, LeavesNothingBehindWhenItFails) {
  const TemporaryFolder folder;
  const File file = read(checkpoint("zip.pth"));
  const auto absent = folder / "no such folder" / "model.pth";
  expect_contains(error_of([&] { write_pth(absent, file.tensors); }, ErrorCode::kOutput),
                  absent.string());
  std::filesystem::create_directory(folder / "taken");
  error_of([&] { write_safetensors(folder / "taken", file.tensors); }, ErrorCode::kOutput);
  Metadata meta;
  meta.entries["note"] = "\xff";
  for (const auto write : {write_pth, write_safetensors}) {
    expect_contains(
        error_of([&] { write(folder / "bad", file.tensors, meta); }, ErrorCode::kOutput),
        "not UTF-8");
  }
  const std::map<std::string, Tensor> reserved = {{"__metadata__", Tensor()}};
  expect_contains(
      error_of([&] { write_safetensors(folder / "bad", reserved); }, ErrorCode::kOutput),
      "reserves");
  EXPECT_EQ(folder.file_count(), 1u);
}

}  // namespace
}  // namespace hornet::weights
