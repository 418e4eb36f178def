// `hornet segment` by several processes, as torchrun, mpirun or srun start them.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>

#include "tests/demos/program.h"
#include "tests/demos/rasters.h"
#include "tests/demos/samples.h"
#include "tests/pipelines/temporary_folder.h"

namespace hornet::testing {
namespace {

// A port that nobody listens on at the moment.
int free_port() {
  const int file = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(bind(file, reinterpret_cast<sockaddr*>(&address), size), 0);
  getsockname(file, reinterpret_cast<sockaddr*>(&address), &size);
  close(file);
  return ntohs(address.sin_port);
}

class ProgramSegmentsTogether : public TemporaryFolder {
 protected:
  Arguments line(const std::string& output, const Arguments& more = {}) const {
    return with({"segment", "--weights", checkpoint("upernet_hornet_tiny_gf_s2"), "--input",
                 path("in.tif"), "--output", path(output), "--tile", "64", "--blend", "hann"},
                more);
  }

  static Environment torchrun(int rank, int size, int port) {
    return {"RANK=" + std::to_string(rank), "WORLD_SIZE=" + std::to_string(size),
            "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + std::to_string(port)};
  }
  static Environment mpirun(int rank, int size, int port) {
    return {"OMPI_COMM_WORLD_RANK=" + std::to_string(rank),
            "OMPI_COMM_WORLD_SIZE=" + std::to_string(size), "MASTER_ADDR=127.0.0.1",
            "MASTER_PORT=" + std::to_string(port)};
  }

  void expect_same_labels(const std::string& a, const std::string& b) const {
    const cv::Mat left = read_raster(path(a)).labels, right = read_raster(path(b)).labels;
    ASSERT_EQ(left.size(), right.size());
    EXPECT_EQ(cv::countNonZero(left != right), 0);
  }

  int parts(const std::string& folder) const {
    if (!std::filesystem::exists(path(folder))) return 0;
    int count = 0;
    for (const std::string& name : names_in(path(folder))) {
      count += name.rfind("part-", 0) == 0 && name.find("partial") == std::string::npos ? 1 : 0;
    }
    return count;
  }
};

TEST_F(ProgramSegmentsTogether, TwoGiveTheLabelsOfOne) {
  RasterLook look;
  look.georeferenced = true;
  write_raster(path("in.tif"), {500, 1300}, look);
  expect_clean(run_hornet(line("alone.tif")));
  for (const bool merges : {false, true}) {
    const int port = free_port();
    const Arguments arguments =
        merges ? line("merged.tif", {"--merge-output", "--overlay", path("look.tif")})
               : line("both.vrt");
    const auto launched = merges ? mpirun : torchrun;
    Program first(arguments, launched(0, 2, port)), second(arguments, launched(1, 2, port));
    expect_clean(first.wait());
    expect_clean(second.wait());
  }
  expect_same_labels("alone.tif", "both.vrt");
  expect_same_labels("alone.tif", "merged.tif");
  EXPECT_EQ(read_raster(path("both.vrt")).geo_transform,
            read_raster(path("alone.tif")).geo_transform);
  EXPECT_TRUE(read_raster(path("both.vrt")).has_colors);
  EXPECT_GE(parts("both.parts"), 2);
  EXPECT_FALSE(std::filesystem::exists(path("merged.parts")));
}

TEST_F(ProgramSegmentsTogether, AKilledWorkersShareIsTakenOver) {
  write_raster(path("in.tif"), {700, 2600});
  expect_clean(run_hornet(line("alone.tif")));
  const int port = free_port();
  std::vector<std::unique_ptr<Program>> workers;
  for (int rank = 0; rank < 3; ++rank) {
    workers.push_back(std::make_unique<Program>(line("out.vrt"), torchrun(rank, 3, port)));
  }
  for (int i = 0; i < 6000 && parts("out.parts") < 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  workers[2]->send(SIGKILL);
  EXPECT_EQ(workers[2]->wait().code, 128 + SIGKILL);
  expect_clean(workers[0]->wait());
  expect_clean(workers[1]->wait());
  expect_same_labels("alone.tif", "out.vrt");
}

TEST_F(ProgramSegmentsTogether, AFolderIsSplitByFile) {
  std::filesystem::create_directory(path("in"));
  for (int i = 0; i < 6; ++i) {
    write_image(path("in/" + std::to_string(i) + ".png"), scene({90, 70}, i));
  }
  const auto folder = [&](const std::string& output) -> Arguments {
    return {"segment",    "--weights", checkpoint("upernet_hornet_tiny_gf_s2"),
            "--input",    path("in"),  "--output",
            path(output), "--tile",    "64"};
  };
  expect_clean(run_hornet(folder("alone")));
  const int port = free_port();
  Program first(folder("both"), torchrun(0, 2, port)), second(folder("both"), torchrun(1, 2, port));
  expect_clean(first.wait());
  expect_clean(second.wait());
  for (int i = 0; i < 6; ++i) {
    const std::string name = "/" + std::to_string(i) + ".png";
    expect_same_labels("alone" + name, "both" + name);
  }
}

TEST_F(ProgramSegmentsTogether, AFolderGoesOnAfterARestart) {
  std::filesystem::create_directory(path("in"));
  for (const char* name : {"a", "b"}) {
    write_image(path("in/" + std::string(name) + ".png"), scene({90, 70}, 3));
  }
  const Arguments folder = {"segment",   "--weights", checkpoint("upernet_hornet_tiny_gf_s2"),
                            "--input",   path("in"),  "--output",
                            path("out"), "--tile",    "64"};
  expect_clean(run_hornet(folder));
  std::filesystem::remove(path("out/b.png"));
  const int port = free_port();
  std::vector<std::unique_ptr<Program>> workers;
  for (int rank = 0; rank < 2; ++rank) {
    Environment environment = torchrun(rank, 2, port);
    environment.push_back("TORCHELASTIC_RESTART_COUNT=1");
    workers.push_back(std::make_unique<Program>(folder, environment));
  }
  for (const auto& worker : workers) expect_clean(worker->wait());
  expect_same_labels("out/a.png", "out/b.png");
}

TEST_F(ProgramSegmentsTogether, AnEarlierResultStaysUntilTheNextIsComplete) {
  write_raster(path("in.tif"), {300, 700});
  expect_clean(run_hornet(line("out.vrt")));
  const cv::Mat before = read_raster(path("out.vrt")).labels;
  const auto expect_as_before = [&] {
    EXPECT_EQ(cv::countNonZero(read_raster(path("out.vrt")).labels != before), 0);
  };
  expect_error(run_hornet(line("out.vrt", {"--force", "--max-memory", "1M"})), 2, {"--max-memory"});
  expect_as_before();
  Program killed(line("out.vrt", {"--force"}));
  for (int i = 0; i < 3000 && !std::filesystem::exists(path("out.parts-2/plan.json")); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  killed.send(SIGKILL);
  EXPECT_EQ(killed.wait().code, 128 + SIGKILL);
  expect_as_before();
  expect_clean(run_hornet(line("out.vrt", {"--force", "--resume"})));
  expect_as_before();
  EXPECT_EQ(names_in(path("")), (std::vector<std::string>{"in.tif", "out.classes.json",
                                                          "out.parts-2", "out.vrt", "run.json"}));
  expect_clean(run_hornet(line("out.vrt", {"--force"})));
  expect_as_before();
  EXPECT_FALSE(std::filesystem::exists(path("out.parts-2")));
}

TEST_F(ProgramSegmentsTogether, SayWhatTheyNeed) {
  write_raster(path("in.tif"), {200, 300});
  const int port = free_port();
  const Environment second = torchrun(1, 2, port);
  Program wants_vrt(line("out.tif"), second),
      wants_tif(line("out.vrt", {"--merge-output"}), second),
      planes(line("out.vrt", {"--probabilities", path("p.tif")}), second);
  expect_error(wants_vrt.wait(), 2, {"out.tif", ".vrt", "--merge-output"});
  expect_error(wants_tif.wait(), 2, {"out.vrt", "--merge-output"});
  expect_error(planes.wait(), 2, {"--probabilities"});
}

}  // namespace
}  // namespace hornet::testing
