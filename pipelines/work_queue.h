// Shares of a job, handed out to the processes that `torchrun`, `srun` or `mpirun` started.
//
//   ProcessGroup group = ProcessGroup::from_environment();   // rank, size, where rank 0 listens
//   WorkQueue queue(group, "segment-4711", shares.size());
//   while (auto share = queue.next()) {  // waits, while others may still fail
//     process(*share, [&] { return queue.is_done(*share); });  // gives up if another was faster
//     queue.finish(*share, "ok");
//   }
//   if (group.rank == 0) queue.wait_for_others();
//
// The queue lives in c10d's TCPStore. Shares are handed out in order. When none is left, processes
// that are idle take over shares that others have begun and not finished, the least often taken
// first, once they have waited for twice the time that their own shares took on average (a minute
// if they had none): the share of a process that is dead or slow is done by another, without
// clocks that agree. A share may therefore be done twice; what it writes must appear at once
// (rename) and be the same each time.
//
// Rank 0 holds the store (under torchrun, its agent does): if that process dies, the others end
// with Error(kRuntime), and what was finished stays on disk. A group of one needs no store.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hornet {

struct ProcessGroup {
  int rank = 0;
  int size = 1;
  int local_rank = 0;              // among the processes of this host
  std::string host = "127.0.0.1";  // where the store listens
  int port = 29500;
  bool agent_store = false;  // torchrun's agent runs the store already
  std::string run;           // tells a group that was started again from the one before
  bool restarted = false;    // by torchrun, after a process of the group has died

  // RANK/WORLD_SIZE (torchrun), OMPI_COMM_WORLD_* or PMI_* (mpirun), SLURM_PROCID/SLURM_NTASKS
  // (srun), in this order; MASTER_ADDR and MASTER_PORT, or Slurm's first node. One process without
  // any of them. Error(kUsage) for values that make no sense, or no host where one is needed:
  // processes that only want to be counted, since MPI connects them, ask without an address.
  static ProcessGroup from_environment(bool with_address = true);
};

class WorkQueue {
 public:
  // Shares of processes that learn from rank 0 how many there are.
  static constexpr int64_t kAsRankZero = -1;

  // `job` keeps queues of one store apart. Blocks until the store answers, at most
  // `timeout_seconds`, which is also how long any later question waits for its answer.
  WorkQueue(const ProcessGroup& group, const std::string& job, int64_t shares,
            double timeout_seconds = 300);
  ~WorkQueue();

  // Marks a share as finished before it is handed out, since an earlier run has left its result.
  // By rank 0, before any next(): the others wait for start(), or for rank 0's first next().
  void skip(int64_t share, const std::string& result);
  // `plan` is a text for all processes: what the shares are.
  void start(const std::string& plan = "");

  // What rank 0 gave to start(); the others wait for it. Nothing if `stop` ends the wait.
  std::optional<std::string> plan(const std::function<bool()>& stop = {});

  // The next share to do; nothing once all are finished. Waits where needed; `stop` is asked now
  // and then, and ends the wait with nothing.
  std::optional<int64_t> next(const std::function<bool()>& stop = {});

  // May be asked from any thread.
  bool is_done(int64_t share);
  // `result` is a short text for rank 0. Of several, the first counts. A share that cannot be done
  // is finished too, with a result that says so: otherwise another process will try it.
  void finish(int64_t share, const std::string& result);

  // Results by share, once all are finished.
  std::vector<std::string> results();

  // Rank 0: keeps the store open until the other processes have ended or gone quiet: neither
  // waited nor asked is_done() for twice the time of a share, and ten seconds at least.
  void wait_for_others();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hornet
