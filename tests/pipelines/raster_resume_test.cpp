#include <hornet/pipelines/resume_state.h>

#include "raster_formats.h"
#include "temporary_folder.h"

namespace hornet {
namespace {

// What a run makes that stops after some rows in each of the ways in which runs stop, and goes on.
class InterruptedRun : public TemporaryFolder, public ::testing::WithParamInterface<RasterFormat> {
 protected:
  void SetUp() override {
    planes_.resize(GetParam().bands);
    if (!large()) planes_ = planes_of(GetParam());
  }

  bool large() const { return GetParam().size.width > 10000; }
  int rows() const { return large() ? 5 : rows_of_blocks(GetParam()); }

  void write(RasterWriter& writer, int row) {
    if (!large()) return write_row(writer, GetParam(), planes_, row);
    cv::Mat block(kBlock, kBlock, CV_8UC1, cv::Scalar(row));
    for (int x = 0; x < 5; ++x) {
      block.colRange(x, x + 9).setTo(x);
      writer.write({x * 50 * kBlock, row * 50 * kBlock, kBlock, kBlock}, {block});
    }
  }

  void go_on(RasterWriter& writer, int row) {
    for (; row < rows(); ++row) {
      write(writer, row);
      writer.flush();
    }
    writer.close();
  }

  std::string uninterrupted() {
    RasterWriter writer(path("whole.tif"), GetParam(), utm());
    go_on(writer, 0);
    return read_file(path("whole.tif"));
  }

  std::string resumed(const std::string& name, int row) {
    RasterWriter writer = RasterWriter::reopen(path(name), GetParam());
    go_on(writer, row);
    return read_file(path(name));
  }

  std::vector<cv::Mat> planes_;
};

TEST_P(InterruptedRun, MakesTheSameBytesWhenClosed) {
  const std::string expected = uninterrupted();
  for (int stop = 0; stop < rows(); ++stop) {
    {
      RasterWriter writer(path("a.tif"), GetParam(), utm());
      for (int row = 0; row < stop; ++row) {
        write(writer, row);
        writer.flush();
      }
      if (stop % 2 == 1) writer.close();
    }
    EXPECT_TRUE(resumed("a.tif", stop) == expected) << "stopped before row " << stop;
  }
}

TEST_P(InterruptedRun, MakesTheSameBytesWhenKilled) {
  const std::string expected = uninterrupted();
  const auto overwrite = std::filesystem::copy_options::overwrite_existing;
  RasterWriter writer(path("a.tif"), GetParam(), utm());
  for (int row = 0; row < rows(); ++row) {
    std::filesystem::copy_file(path("a.tif"), path("flushed.tif"), overwrite);
    EXPECT_TRUE(resumed("flushed.tif", row) == expected) << "killed before row " << row;
    // Some of the next row has reached the disk, and no offsets have.
    write(writer, row);
    std::filesystem::copy_file(path("a.tif"), path("torn.tif"), overwrite);
    write_file(path("torn.tif"), read_file(path("torn.tif")) + std::string(12345, 'x'));
    EXPECT_TRUE(resumed("torn.tif", row) == expected) << "killed in row " << row;
    writer.flush();
  }
}

TEST_P(InterruptedRun, MayRepeatTheLastRows) {
  const std::string expected = uninterrupted();
  {
    RasterWriter writer(path("a.tif"), GetParam(), utm());
    for (int row = 0; row < 3; ++row) write(writer, row);
    writer.flush();
  }
  EXPECT_TRUE(resumed("a.tif", 1) == expected);
}

TEST_P(InterruptedRun, MakesTheSameOverviews) {
  if (large()) GTEST_SKIP() << "70000 x 70000 pixels take long";
  const auto finish = [&](RasterWriter writer, const char* name) {
    for (int row = 2; row < rows(); ++row) write(writer, row);
    writer.build_overviews();
    std::filesystem::copy_file(path(name), path("built.tif"),
                               std::filesystem::copy_options::overwrite_existing);
    writer.close();
    return read_file(path(name));
  };
  RasterWriter writer(path("a.tif"), GetParam(), utm());
  for (int row = 0; row < 2; ++row) write(writer, row);
  writer.flush();
  std::filesystem::copy_file(path("a.tif"), path("b.tif"));
  const std::string expected = finish(std::move(writer), "a.tif");
  EXPECT_TRUE(finish(RasterWriter::reopen(path("b.tif"), GetParam()), "b.tif") == expected);
  // Killed while building them: they are built again.
  RasterWriter again = RasterWriter::reopen(path("built.tif"), GetParam());
  again.build_overviews();
  again.close();
  EXPECT_TRUE(read_file(path("built.tif")) == expected);
}

std::string name_of(const ::testing::TestParamInfo<RasterFormat>& info) {
  const std::vector<std::string> names = {"labels", "wideLabels", "probabilities", "overlay",
                                          "large"};
  return names[info.index];
}

using StateOfARun = TemporaryFolder;

TEST_F(StateOfARun, IsGoneFromTheDiskBeforeARunStartsOver) {
  const std::filesystem::path file = path("labels.partial.json");
  const nlohmann::ordered_json job = {{"--tile", 64}};
  const std::vector<cv::Rect> regions = {{0, 0, 100, 600}};
  {
    ResumeState state(
        file, job, [&] { return regions; }, false, false);
    state.rows[0] = 256;
    state.save();
  }
  const auto fails = []() -> std::vector<cv::Rect> { throw std::runtime_error("no plan"); };
  EXPECT_THROW(ResumeState(file, job, fails, false, true), std::runtime_error);
  EXPECT_EQ(ResumeState(file, job, fails, true, false).rows[0], 256);
  {
    const ResumeState killed(
        file, job, [&] { return regions; }, false, true);
    EXPECT_EQ(killed.rows[0], 0);
    EXPECT_FALSE(std::filesystem::exists(file));
  }
  EXPECT_FALSE(ResumeState(
                   file, job, [&] { return regions; }, true, false)
                   .is_continued());
}

INSTANTIATE_TEST_SUITE_P(Formats, InterruptedRun,
                         ::testing::Values(kLabels, kWideLabels, kProbabilities, kOverlay, kLarge),
                         name_of);

}  // namespace
}  // namespace hornet
