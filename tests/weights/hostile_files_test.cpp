#include "helpers.h"

namespace hornet::weights {
namespace {

struct Refusal {
  const char* file;
  const char* message;
};

class HostileFiles : public ::testing::TestWithParam<Refusal> {};

TEST_P(HostileFiles, AreRefusedWithAReason) {
  const auto path = checkpoint(GetParam().file);
  const std::string message = error_of([&path] { read(path); });
  expect_contains(message, path.string());
  expect_contains(message, GetParam().message);
  EXPECT_FALSE(std::filesystem::exists("pickle_was_executed"));
}

INSTANTIATE_TEST_SUITE_P(
    Files, HostileFiles,
    ::testing::Values(
        Refusal{"hostile_state_dict.pth", "posix.system"},
        Refusal{"hostile_legacy.pth", "posix.system"},
        Refusal{"hostile_module.pth", "save model.state_dict() instead"},
        Refusal{"short_storage.pth", "needs 24 bytes of a storage that has 16"},
        Refusal{"offset_outside.pth", "needs 20 bytes of a storage that has 16"},
        Refusal{"negative_offset.pth", "begins before its storage"},
        Refusal{"negative_stride.pth", "negative stride"},
        Refusal{"negative_size.pth", "dimension is negative"},
        Refusal{"huge_shape.pth", "exceeds 64 bits"}, Refusal{"huge_stride.pth", "exceeds 64 bits"},
        Refusal{"huge_offset.pth", "exceeds 64 bits"},
        Refusal{"huge_expand.pth", "larger than its file"},
        Refusal{"rank_mismatch.pth", "2 dimensions and 1 strides"},
        Refusal{"complex.pth", "type that is not read"},
        Refusal{"sparse.pth", "only dense tensors are read"},
        Refusal{"no_tensors.pth", "its keys are 'epoch'"}, Refusal{"deflated.pth", "is compressed"},
        Refusal{"big_endian.pth", "byte order is 'big'"}, Refusal{"torchscript.pt", "TorchScript"},
        Refusal{"plain.pkl", "not one of torch.save"}, Refusal{"absent.pth", "No such file"}));

TEST(HostileFiles, HaveNothingOfThemExecuted) {
  EXPECT_EQ(read(checkpoint("hostile_args.pth")).tensors.size(), 3u);
  const File file = read(checkpoint("hostile_tensor.pth"));
  EXPECT_EQ(file.tensors.count("good"), 1u);
  EXPECT_EQ(file.tensors.count("bad"), 0u);
  EXPECT_FALSE(std::filesystem::exists("pickle_was_executed"));
}

TEST(HostileFiles, AreRefusedAtAnyTruncation) {
  for (const char* name : {"zip.pth", "legacy.pth", "small.safetensors"}) {
    const std::string whole = load_bytes(checkpoint(name));
    ASSERT_NO_THROW(parse_text(whole));
    for (size_t size = 0; size < whole.size(); ++size) {
      EXPECT_THROW(parse_text(whole.substr(0, size)), Error) << name << " at " << size;
    }
  }
}

// Whatever a flipped byte makes of a file, what is read can be touched.
TEST(HostileFiles, SurviveAnyFlippedByte) {
  for (const char* name : {"views.pth", "views_legacy.pth", "small.safetensors"}) {
    const std::string whole = load_bytes(checkpoint(name));
    for (size_t at = 0; at < whole.size(); ++at) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ 0xff);
      try {
        for (const auto& [key, tensor] : parse_text(flipped).tensors) {
          if (element_size(tensor.dtype) == 4) values<float>(tensor);
        }
      } catch (const Error&) {
      }
    }
  }
}

TEST(HostileFiles, AreToldFromWhatPeopleMistakeForThem) {
  expect_contains(error_of_text(""), "neither");
  expect_contains(error_of_text("<!DOCTYPE html>"), "web page");
  expect_contains(error_of_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull");
  std::string tar(512, '\0');
  tar.replace(257, 5, "ustar");
  expect_contains(error_of_text(tar), "tar layout");
  const std::filesystem::path folder = HORNET_TEST_DATA;
  expect_contains(error_of([&folder] { read(folder); }), "not a file");
}

}  // namespace
}  // namespace hornet::weights
