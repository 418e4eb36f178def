// The log of a run: tables, files, curves.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/training/training_log.h>

#include <cmath>
#include <opencv2/imgcodecs.hpp>

#include "tests/pipelines/temporary_folder.h"

namespace hornet {
namespace {

TEST(LogTable, GrowsColumnsAndRoundTrips) {
  LogTable table;
  table.add(10, {{"loss", 0.5}, {"IoU road, wet", 0.25}});
  table.add(20, {{"loss", 0.125}, {"a \"b\"", 3}});
  EXPECT_EQ(table.csv(),
            "iteration,loss,\"IoU road, wet\",\"a \"\"b\"\"\"\n10,0.5,0.25,\n20,0.125,,3\n");
  const LogTable read = parse_log(table.csv(), "memory");
  EXPECT_EQ(read.columns, table.columns);
  EXPECT_EQ(read.iterations, table.iterations);
  EXPECT_EQ(read.csv(), table.csv());
  EXPECT_TRUE(std::isnan(read.rows[1][1]));
}

TEST(LogTable, DropsWhatComesAfter) {
  LogTable table;
  for (int64_t i = 1; i <= 5; ++i) table.add(10 * i, {{"loss", 1.0 / static_cast<double>(i)}});
  table.drop_after(30);
  EXPECT_EQ(table.iterations, (std::vector<int64_t>{10, 20, 30}));
  EXPECT_EQ(table.rows.size(), 3);
}

TEST(LogTable, RefusesOtherFiles) {
  EXPECT_THROW(parse_log("name,loss\n", "x.csv"), Error);
  EXPECT_THROW(parse_log("iteration,loss\n1,2,3\n", "x.csv"), Error);
  EXPECT_THROW(parse_log("iteration,loss\n1,much\n", "x.csv"), Error);
  EXPECT_TRUE(parse_log("", "x.csv").rows.empty());
}

class Log : public TemporaryFolder {};

TEST_F(Log, GoesOnWhereAnotherStopped) {
  {
    TrainingLog log(path(""));
    log.add_losses(20, {{"loss", 2}, {"decode", 1.5}, {"rate", 1e-3}});
    log.add_losses(40, {{"loss", 1}, {"decode", 0.5}, {"rate", 1e-4}});
    log.add_metrics(40, {{"mIoU", 0.25}});
    log.save();
  }
  TrainingLog log(path(""));
  log.drop_after(20);
  log.add_losses(40, {{"loss", 0.75}, {"decode", 0.5}, {"rate", 1e-4}});
  log.save();
  EXPECT_EQ(read_file(path("losses.csv")),
            "iteration,loss,decode,rate\n20,2,1.5,0.001\n40,0.75,0.5,0.0001\n");
  EXPECT_EQ(log.metrics().rows.size(), 0);
  EXPECT_FALSE(cv::imread(path("curves.png").string()).empty());
}

TEST(Curves, GoThroughTheirPoints) {
  LogTable table;
  for (int64_t i = 0; i < 40; ++i) {
    const double t = static_cast<double>(i);
    table.add(i, {{"loss", std::exp(-t / 10)}, {"other", std::nan("")}});
  }
  const cv::Mat empty = draw_curves(table, {"nothing", {}}, {300, 200});
  for (const bool logarithmic : {false, true}) {
    const PlotPanel panel{"loss", {"loss", "other", "not there"}, logarithmic};
    const cv::Mat plot = draw_curves(table, panel, {300, 200});
    EXPECT_EQ(plot.size(), cv::Size(300, 200));
    EXPECT_GT(cv::norm(plot, empty, cv::NORM_L1), 0);
  }
  // One value alone, zero, and no row at all: nothing to divide by.
  LogTable one;
  one.add(5, {{"loss", 0}});
  draw_curves(one, {"loss", {"loss"}, true}, {300, 200});
  draw_curves({}, {"loss", {"loss"}, true}, {300, 200});
  // Values that differ in their last digit: an axis of such steps would never end.
  LogTable same;
  same.add(5, {{"loss", 1}, {"other", 1 - 1e-16}});
  same.add(6, {{"loss", 1 + 3e-16}, {"other", 1}});
  draw_curves(same, {"loss", {"loss", "other"}}, {300, 200});
}

}  // namespace
}  // namespace hornet
