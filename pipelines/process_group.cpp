#include <hornet/backbone/error.h>
#include <hornet/pipelines/work_queue.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>

namespace hornet {
namespace {

constexpr int kMaxProcesses = 1 << 20;
constexpr int64_t kFirstSlurmPort = 20000;
constexpr int64_t kSlurmPorts = 20000;
constexpr int64_t kStepStride = 1009;  // steps of one job get ports of their own
constexpr int64_t kFirstOwnStepId =
    0xfffffff0;  // from here on, Slurm's own: batch, interactive, ...

struct Launcher {
  const char* rank;
  const char* size;
};
constexpr Launcher kTorchrun = {"RANK", "WORLD_SIZE"};
constexpr Launcher kOpenMpi = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"};
constexpr Launcher kPmi = {"PMI_RANK", "PMI_SIZE"};
constexpr Launcher kSlurm = {"SLURM_PROCID", "SLURM_NTASKS"};

// What an empty variable says is nothing.
std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

std::optional<int64_t> parsed(const std::string& text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

int integer(const char* name, int first, int last) {
  const std::string expected =
      "expected an integer from " + std::to_string(first) + " to " + std::to_string(last);
  const std::optional<std::string> text = variable(name);
  if (!text) {
    throw Error(ErrorCode::kUsage, std::string(name) + ": " + expected + ", but it is not set");
  }
  const std::optional<int64_t> value = parsed(*text);
  if (!value || *value < first || *value > last) {
    throw Error(ErrorCode::kUsage, std::string(name) + ": " + expected + ", found '" + *text +
                                       "'; correct or unset the environment variable");
  }
  return static_cast<int>(*value);
}

bool started_by(const Launcher& launcher) {
  return variable(launcher.rank) || variable(launcher.size);
}

// Whether srun started this process among others. The shell of an sbatch script, or of salloc, is
// one process although Slurm has set SLURM_PROCID=0 and SLURM_NTASKS to what the job asked for:
// there is no step, or one with a number that Slurm keeps for itself. Only the tasks of a step that
// srun began have an ordinary step number, and as many processes as SLURM_NTASKS says.
bool in_slurm_step() {
  const std::optional<std::string> step = variable("SLURM_STEP_ID");
  if (!step || !variable(kSlurm.rank)) return false;
  const std::optional<int64_t> id = parsed(*step);
  const std::optional<int64_t> tasks = parsed(variable(kSlurm.size).value_or("1"));
  return id && *id < kFirstOwnStepId && tasks != 1;
}

// The first host of Slurm's notation: rack[0-1]n[07-12,15],login -> rack0n07.
std::string first_host(const char* name, const std::string& list) {
  std::string host;
  for (size_t at = 0; at < list.size() && list[at] != ','; ++at) {
    if (list[at] != '[') {
      host += list[at];
      continue;
    }
    const size_t close = list.find(']', at);
    const size_t end = list.find_first_of(",-]", at);
    if (close == std::string::npos || end == at + 1) {
      throw Error(ErrorCode::kUsage, std::string(name) + ": expected a list of hosts such as " +
                                         "node[01-04],login, found '" + list +
                                         "'; set MASTER_ADDR to the host of rank 0");
    }
    host += list.substr(at + 1, end - at - 1);
    at = close;
  }
  return host;
}

// A step may run on some of the job's nodes; mpirun runs on all of them, from the first on, and its
// processes see steps that it uses for itself.
std::optional<std::string> slurm_host(bool step) {
  for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"}) {
    if (!step && name == std::string("SLURM_STEP_NODELIST")) continue;
    if (const auto list = variable(name)) return first_host(name, *list);
  }
  return std::nullopt;
}

// The same in all processes of a job, different between jobs that run at the same time.
std::optional<int> slurm_port(bool step) {
  const std::optional<int64_t> job = parsed(variable("SLURM_JOB_ID").value_or(""));
  if (!job || *job < 0) return std::nullopt;
  const int64_t step_id = step ? parsed(variable("SLURM_STEP_ID").value_or("0")).value_or(0) : 0;
  return static_cast<int>(kFirstSlurmPort +
                          (*job % kSlurmPorts + step_id % kSlurmPorts * kStepStride) % kSlurmPorts);
}

// How many of the processes run on this host, as far as mpirun says.
std::optional<int64_t> local_processes() {
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"}) {
    if (const auto text = variable(name)) return parsed(*text);
  }
  return std::nullopt;
}

// By any launcher's word; a launcher may show each of its processes one GPU and no number.
int number_on_host() {
  for (const char* name :
       {"LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}) {
    if (variable(name)) return integer(name, 0, kMaxProcesses);
  }
  return 0;
}

void set_address(ProcessGroup& group, bool may_ask_slurm) {
  const bool step = in_slurm_step();
  std::optional<std::string> host = variable("MASTER_ADDR");
  if (!host && may_ask_slurm) host = slurm_host(step);
  if (!host && local_processes().value_or(group.size) != group.size) {
    throw Error(ErrorCode::kUsage,
                "MASTER_ADDR: expected the host of rank 0, since the processes run on several "
                "hosts, but it is not set");
  }
  if (host) group.host = *host;
  if (variable("MASTER_PORT")) {
    group.port = integer("MASTER_PORT", 1, std::numeric_limits<uint16_t>::max());
  } else if (may_ask_slurm) {
    group.port = slurm_port(step).value_or(group.port);
  }
}

// A group that torchrun starts again meets the same store: its keys must be others.
void set_torchrun(ProcessGroup& group) {
  const std::string agent = variable("TORCHELASTIC_USE_AGENT_STORE").value_or("");
  group.agent_store = agent == "True" || agent == "true" || agent == "1";
  const std::string restarts = variable("TORCHELASTIC_RESTART_COUNT").value_or("0");
  group.run = variable("TORCHELASTIC_RUN_ID").value_or("") + "." + restarts;
  group.restarted = restarts != "0";
}

}  // namespace

ProcessGroup ProcessGroup::from_environment(bool with_address) {
  const Launcher* launcher = nullptr;
  for (const Launcher* each : {&kTorchrun, &kOpenMpi, &kPmi}) {
    if (launcher == nullptr && started_by(*each)) launcher = each;
  }
  if (launcher == nullptr && in_slurm_step()) launcher = &kSlurm;
  ProcessGroup group;
  if (launcher == nullptr) return group;
  group.size = integer(launcher->size, 1, kMaxProcesses);
  group.rank = integer(launcher->rank, 0, group.size - 1);
  if (group.size > 1) group.local_rank = number_on_host();
  if (group.size == 1 || !with_address) return group;
  set_address(group, /*may_ask_slurm=*/launcher != &kTorchrun);
  if (launcher == &kTorchrun) set_torchrun(group);
  return group;
}

}  // namespace hornet
