#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/work_queue.h>
#include <stdlib.h>
#include <unistd.h>

#include <functional>
#include <map>

namespace hornet {
namespace {

using Environment = std::map<std::string, std::string>;

void expect_error(const std::function<void()>& action, ErrorCode code, const std::string& part) {
  try {
    action();
    FAIL() << "no error with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
  }
}

class GroupFromEnvironment : public ::testing::Test {
 protected:
  GroupFromEnvironment() {
    for (const char* prefix : {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_", "OMPI_", "PMI_",
                               "MPI_", "SLURM_", "TORCHELASTIC_"}) {
      unset(prefix);
    }
  }
  ~GroupFromEnvironment() override {
    for (const auto& [name, value] : set_) unsetenv(name.c_str());
  }

  ProcessGroup from(const Environment& environment) {
    for (const auto& [name, value] : set_) unsetenv(name.c_str());
    set_ = environment;
    for (const auto& [name, value] : set_) setenv(name.c_str(), value.c_str(), 1);
    return ProcessGroup::from_environment();
  }

  void expect_usage(const Environment& environment, const std::string& part) {
    expect_error([&] { from(environment); }, ErrorCode::kUsage, part);
  }

  static Environment srun(Environment more) {
    more.insert({{"SLURM_JOB_ID", "41234"},
                 {"SLURM_STEP_ID", "0"},
                 {"SLURM_PROCID", "3"},
                 {"SLURM_NTASKS", "8"},
                 {"SLURM_JOB_NODELIST", "node[01-04,07],x3"}});
    return more;
  }

 private:
  static void unset(const std::string& prefix) {
    std::vector<std::string> names;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string text = *entry;
      if (text.compare(0, prefix.size(), prefix) == 0)
        names.push_back(text.substr(0, text.find('=')));
    }
    for (const std::string& name : names) unsetenv(name.c_str());
  }

  Environment set_;
};

TEST_F(GroupFromEnvironment, IsOneProcessWithoutALauncher) {
  const ProcessGroup group = from({});
  EXPECT_EQ(group.rank, 0);
  EXPECT_EQ(group.size, 1);
  EXPECT_EQ(from({{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"MASTER_PORT", "none"}}).size, 1);
}

TEST_F(GroupFromEnvironment, OfTorchrun) {
  Environment environment = {{"RANK", "2"},
                             {"WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "gpu7"},
                             {"MASTER_PORT", "1234"},
                             {"SLURM_JOB_NODELIST", "other"}};
  const ProcessGroup plain = from(environment);
  EXPECT_EQ(plain.rank, 2);
  EXPECT_EQ(plain.size, 4);
  EXPECT_EQ(plain.host, "gpu7");
  EXPECT_EQ(plain.port, 1234);
  EXPECT_FALSE(plain.agent_store);
  EXPECT_EQ(plain.local_rank, 0);
  environment["LOCAL_RANK"] = "1";
  EXPECT_EQ(from(environment).local_rank, 1);
  environment["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  environment["TORCHELASTIC_RUN_ID"] = "abc";
  environment["TORCHELASTIC_RESTART_COUNT"] = "2";
  const ProcessGroup elastic = from(environment);
  EXPECT_TRUE(elastic.agent_store);
  EXPECT_EQ(elastic.run, "abc.2");
  EXPECT_EQ(from({{"RANK", "1"}, {"WORLD_SIZE", "2"}}).host, "127.0.0.1");
}

TEST_F(GroupFromEnvironment, OfMpirun) {
  const ProcessGroup open_mpi = from({{"OMPI_COMM_WORLD_RANK", "1"},
                                      {"OMPI_COMM_WORLD_SIZE", "2"},
                                      {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                                      {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}});
  EXPECT_EQ(open_mpi.local_rank, 1);
  EXPECT_EQ(open_mpi.rank, 1);
  EXPECT_EQ(open_mpi.size, 2);
  EXPECT_EQ(open_mpi.host, "127.0.0.1");
  EXPECT_EQ(open_mpi.port, 29500);
  const ProcessGroup mpich = from({{"PMI_RANK", "5"}, {"PMI_SIZE", "6"}, {"MASTER_ADDR", "a"}});
  EXPECT_EQ(mpich.rank, 5);
  EXPECT_EQ(mpich.host, "a");
  expect_usage({{"OMPI_COMM_WORLD_RANK", "1"},
                {"OMPI_COMM_WORLD_SIZE", "4"},
                {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}},
               "MASTER_ADDR: expected the host of rank 0");
  EXPECT_EQ(ProcessGroup::from_environment(/*with_address=*/false).size, 4);
}

TEST_F(GroupFromEnvironment, OfMpirunInASlurmJobMeetsOnItsFirstNode) {
  const ProcessGroup group = from({{"OMPI_COMM_WORLD_RANK", "1"},
                                   {"OMPI_COMM_WORLD_SIZE", "4"},
                                   {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                                   {"SLURM_JOB_ID", "7"},
                                   {"SLURM_JOB_NODELIST", "n[3-4]"},
                                   {"SLURM_STEP_NODELIST", "n4"}});
  EXPECT_EQ(group.rank, 1);
  EXPECT_EQ(group.host, "n3");
  EXPECT_EQ(group.port, 20007);
}

TEST_F(GroupFromEnvironment, OfSrun) {
  const ProcessGroup group = from(srun({}));
  EXPECT_EQ(group.rank, 3);
  EXPECT_EQ(group.size, 8);
  EXPECT_EQ(group.host, "node01");
  EXPECT_EQ(group.port, 21234);
  EXPECT_NE(from(srun({{"SLURM_STEP_ID", "1"}})).port, 21234);
  const ProcessGroup named = from(srun({{"MASTER_ADDR", "b"}, {"MASTER_PORT", "99"}}));
  EXPECT_EQ(named.host, "b");
  EXPECT_EQ(named.port, 99);
  EXPECT_EQ(from(srun({{"SLURM_STEP_NODELIST", "x3"}})).host, "x3");
}

TEST_F(GroupFromEnvironment, OfAnSbatchScriptIsOneProcess) {
  EXPECT_EQ(from(srun({{"SLURM_STEP_ID", ""}})).size, 1) << "no step";
  EXPECT_EQ(from(srun({{"SLURM_STEP_ID", "4294967291"}})).size, 1) << "the script's own step";
  EXPECT_EQ(from(srun({{"SLURM_PROCID", ""}})).size, 1);
  EXPECT_EQ(from(srun({{"SLURM_NTASKS", "1"}})).size, 1);
}

TEST_F(GroupFromEnvironment, ExpandsListsOfHosts) {
  const auto first = [&](const std::string& list) {
    return from(srun({{"SLURM_STEP_NODELIST", list}})).host;
  };
  EXPECT_EQ(first("login"), "login");
  EXPECT_EQ(first("a,b"), "a");
  EXPECT_EQ(first("node[007]"), "node007");
  EXPECT_EQ(first("node[12,1-3].cluster,x"), "node12.cluster");
  EXPECT_EQ(first("rack[0-1]n[07-12,15]"), "rack0n07");
  for (const std::string list : {"node[", "node[01", "node[]", "node[-2]"}) {
    expect_usage(srun({{"SLURM_STEP_NODELIST", list}}), "expected a list of hosts");
  }
}

TEST_F(GroupFromEnvironment, OfNonsenseIsAnError) {
  expect_usage({{"RANK", "0"}}, "WORLD_SIZE: expected an integer from 1");
  expect_usage({{"WORLD_SIZE", "2"}}, "RANK: expected an integer from 0 to 1, but it is not set");
  expect_usage({{"RANK", "2"}, {"WORLD_SIZE", "2"}}, "RANK: expected an integer from 0 to 1");
  expect_usage({{"RANK", "-1"}, {"WORLD_SIZE", "2"}}, "found '-1'");
  expect_usage({{"RANK", "1x"}, {"WORLD_SIZE", "2"}}, "found '1x'");
  expect_usage({{"RANK", "0"}, {"WORLD_SIZE", "0"}}, "WORLD_SIZE");
  expect_usage({{"RANK", "0"}, {"WORLD_SIZE", "99999999999999999999"}}, "WORLD_SIZE");
  const Environment two = {{"RANK", "0"}, {"WORLD_SIZE", "2"}};
  for (const std::string port : {"0", "65536", "http"}) {
    Environment environment = two;
    environment["MASTER_PORT"] = port;
    expect_usage(environment, "MASTER_PORT: expected an integer from 1 to 65535, found '" + port);
  }
  expect_usage(srun({{"SLURM_NTASKS", "many"}}), "SLURM_NTASKS");
  expect_usage(srun({{"SLURM_PROCID", "8"}}), "SLURM_PROCID");
}

}  // namespace
}  // namespace hornet
