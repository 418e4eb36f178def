#include <c10/util/Logging.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/work_queue.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <future>
#include <map>
#include <numeric>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

namespace hornet {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;
using std::chrono::milliseconds;
using StorePtr = c10::intrusive_ptr<c10d::Store>;

constexpr milliseconds kPoll{100};
constexpr Seconds kPulse{1};            // no process says more often that it lives
constexpr Seconds kLeastPatience{2};    // before a share is taken over
constexpr Seconds kPatienceOfIdle{60};  // of processes without a share of their own so far
constexpr Seconds kLeastQuiet{10};      // before a process counts as ended
constexpr ptrdiff_t kKeysPerQuestion = 1000;
constexpr size_t kMaxResultBytes = 1 << 20;

std::string first_line(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  const std::string text =
      torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  const std::string line = text.substr(0, text.find('\n'));
  return line.substr(0, line.find_last_not_of('.') + 1);
}

// Keeps c10d's log, which repeats each error with a stack trace, from stderr while it lives.
// TORCH_CPP_LOG_LEVEL brings it back.
class QuietStore {
 public:
  QuietStore() : level_(FLAGS_caffe2_log_level) {
    constexpr int kFatal = 3;
    if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = kFatal;
  }
  ~QuietStore() { FLAGS_caffe2_log_level = level_; }

 private:
  int level_;
};

// f() in a thread of its own, which is left behind if it does not return in time: c10d waits
// without limit for the answer of a host that has lost its power. `f` must own what it uses, and is
// gone before its result is here.
template <typename F>
auto bounded(Seconds timeout, F f) {
  auto promise = std::make_shared<std::promise<decltype(f())>>();
  auto result = promise->get_future();
  std::thread([promise, f = std::optional<F>(std::move(f))]() mutable {
    try {
      auto value = (*f)();
      f.reset();
      promise->set_value(std::move(value));
    } catch (...) {
      f.reset();
      promise->set_exception(std::current_exception());
    }
  }).detach();
  if (result.wait_for(timeout) != std::future_status::ready) {
    throw std::runtime_error("no answer within " + std::to_string(std::llround(timeout.count())) +
                             " s");
  }
  return result.get();
}

std::string address(const ProcessGroup& group) {
  return group.host + ":" + std::to_string(group.port);
}

StorePtr open_store(const ProcessGroup& group, Seconds timeout) {
  if (group.size == 1) return c10::make_intrusive<c10d::HashStore>();
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(group.port);
  options.isServer = group.rank == 0 && !group.agent_store;
  options.waitWorkers = false;
  options.timeout = std::chrono::duration_cast<milliseconds>(timeout);
  try {
    return bounded(timeout, [host = group.host, options]() -> StorePtr {
      return c10::make_intrusive<c10d::TCPStore>(host, options);
    });
  } catch (const std::exception& error) {
    const std::string cause = first_line(error);
    if (options.isServer) {
      throw Error(ErrorCode::kRuntime, address(group) + ": rank 0 cannot hold the work queue: " +
                                           cause + "; set MASTER_PORT to a free port");
    }
    throw Error(ErrorCode::kRuntime,
                address(group) + ": the work queue of rank 0 cannot be reached: " + cause +
                    "; check that rank 0 runs, and MASTER_ADDR and MASTER_PORT");
  }
}

// Claims of a share as this process has last seen them change.
struct Watch {
  int64_t claims = -1;
  Clock::time_point since;
};

}  // namespace

struct WorkQueue::Impl {
  std::optional<QuietStore> quiet;  // of groups
  ProcessGroup group;
  std::string prefix;
  Seconds timeout{};
  StorePtr store;
  Clock::time_point opened = Clock::now();
  bool started = false;
  bool all_handed_out = false;
  int64_t shares = 0;
  std::vector<int64_t> unfinished;           // all that are, and maybe some that are not
  std::map<int64_t, Watch> watched;          // of those
  Clock::time_point look_again;              // when a share may be overdue
  std::map<int64_t, Clock::time_point> own;  // begun and not finished
  Seconds own_time{};                        // of those that were finished
  int64_t own_finished = 0;
  std::atomic<Clock::rep> last_pulse{0};
  mutable std::atomic<bool> lost{false};  // the store

  std::string key(const char* what) const { return prefix + what; }
  std::string key(const char* what, int64_t index) const {
    return prefix + what + "/" + std::to_string(index);
  }

  // f(store), whose failures become ours.
  template <typename F>
  auto ask(F f) const {
    try {
      if (group.size == 1) return f(*store);
      return bounded(timeout, [store = store, f = std::move(f)] { return f(*store); });
    } catch (const std::exception& error) {
      lost = true;
      throw Error(ErrorCode::kRuntime,
                  address(group) + ": the work queue of rank 0 is gone: " + first_line(error) +
                      "; what was finished is kept, start again to go on");
    }
  }

  int64_t add(const std::string& key, int64_t value) const {
    return ask([=](c10d::Store& store) { return store.add(key, value); });
  }
  bool check(std::vector<std::string> keys) const {
    return ask([keys = std::move(keys)](c10d::Store& store) { return store.check(keys); });
  }
  void set(const std::string& key, const std::string& value) const {
    ask([=](c10d::Store& store) { return store.set(key, value), true; });
  }
  // Only of keys that exist: others block.
  std::string get(const std::string& key) const {
    return ask([=](c10d::Store& store) { return store.get_to_str(key); });
  }

  void check_share(int64_t share) const {
    TORCH_CHECK(share >= 0 && share < shares, "share ", share, " of ", shares);
  }

  // Whether this result is the share's first. The mark in front tells "" from no result.
  bool put_result(int64_t share, const std::string& result) const {
    check_share(share);
    TORCH_CHECK(result.size() <= kMaxResultBytes, "a result of ", result.size(), " bytes");
    const std::string mine = "=" + std::to_string(group.rank) + "=" + result;
    const std::string kept = ask([key = key("done", share), mine](c10d::Store& store) {
      return store.compareSet(key, "", mine);
    });
    return kept == mine;
  }

  // Says that this process lives, at most once in kPulse.
  void pulse() {
    if (group.size == 1) return;
    const Clock::rep now = Clock::now().time_since_epoch().count();
    Clock::rep last = last_pulse;
    if (last != 0 && Clock::duration(now - last) < kPulse) return;
    if (last_pulse.compare_exchange_strong(last, now)) add(key("pulse", group.rank), 1);
  }

  std::optional<int64_t> begin(int64_t share) {
    own[share] = Clock::now();
    return share;
  }

  Seconds patience() const {
    if (own_finished == 0) return kPatienceOfIdle;
    return std::max(kLeastPatience, 2 * own_time / double(own_finished));
  }

  void set_shares(int64_t count) {
    shares = count;
    unfinished.resize(static_cast<size_t>(count));
    std::iota(unfinished.begin(), unfinished.end(), int64_t{0});
  }

  bool await_start(const std::function<bool()>& stop);
  std::optional<int64_t> hand_out();
  bool done(const int64_t* first, const int64_t* last) const;
  bool all_done() const;
  void prune(const int64_t* first, const int64_t* last, std::vector<int64_t>& left) const;
  std::optional<int64_t> take_over();
  bool gone(int rank, Watch& watch) const;
};

bool WorkQueue::Impl::await_start(const std::function<bool()>& stop) {
  while (!started) {
    if (check({key("started")})) {
      const std::string expected = get(key("started"));
      if (shares == kAsRankZero) set_shares(std::stoll(expected));
      if (expected != std::to_string(shares)) {
        throw Error(ErrorCode::kRuntime,
                    address(group) + ": rank 0 has " + expected + " shares to do, this process " +
                        std::to_string(shares) + "; start all processes with the same inputs");
      }
      started = true;
      return true;
    }
    if (stop && stop()) return false;
    pulse();
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

std::optional<int64_t> WorkQueue::Impl::hand_out() {
  while (!all_handed_out) {
    const int64_t share = add(key("next"), 1) - 1;
    if (share >= shares) {
      all_handed_out = true;
    } else if (!check({key("done", share)})) {
      add(key("claims", share), 1);
      return begin(share);
    }
  }
  return std::nullopt;
}

// Whether these shares are all finished, by one question.
bool WorkQueue::Impl::done(const int64_t* first, const int64_t* last) const {
  std::vector<std::string> keys;
  std::transform(first, last, std::back_inserter(keys),
                 [&](int64_t share) { return key("done", share); });
  return check(std::move(keys));
}

bool WorkQueue::Impl::all_done() const {
  const int64_t* end = unfinished.data() + unfinished.size();
  for (const int64_t* first = unfinished.data(); first != end;) {
    const int64_t* last = first + std::min(kKeysPerQuestion, end - first);
    if (!done(first, last)) return false;
    first = last;
  }
  return true;
}

// Appends the unfinished ones, found by halving: few questions, since few are left at the end.
void WorkQueue::Impl::prune(const int64_t* first, const int64_t* last,
                            std::vector<int64_t>& left) const {
  if (first == last) return;
  if (last - first <= kKeysPerQuestion && done(first, last)) return;
  if (last - first == 1) {
    left.push_back(*first);
    return;
  }
  const int64_t* middle = first + (last - first) / 2;
  prune(first, middle, left);
  prune(middle, last, left);
}

// A share that nobody has begun or finished for this process's patience.
std::optional<int64_t> WorkQueue::Impl::take_over() {
  const Clock::time_point now = Clock::now();
  if (now < look_again) return std::nullopt;
  std::vector<int64_t> left;
  prune(unfinished.data(), unfinished.data() + unfinished.size(), left);
  unfinished = std::move(left);
  const auto wait = std::chrono::duration_cast<Clock::duration>(patience());
  look_again = now + wait;
  std::optional<int64_t> best;
  for (const int64_t share : unfinished) {
    Watch& watch = watched[share];
    const int64_t claims = add(key("claims", share), 0);
    if (claims != watch.claims) watch = {claims, now};
    look_again = std::min(look_again, watch.since + wait);
    const bool overdue = now - watch.since >= wait;
    if (overdue && (!best || claims < watched[*best].claims)) best = share;
  }
  if (!best) return std::nullopt;
  // Of several who reach for it at once, the first has it.
  Watch& watch = watched[*best];
  const int64_t claims = add(key("claims", *best), 1);
  const bool first = claims == watch.claims + 1;
  watch = {claims, now};
  return first ? begin(*best) : std::nullopt;
}

// Whether `rank` has said goodbye, or nothing for so long that it will not ask again. Those who
// have not come yet have as much time as they take to give up.
bool WorkQueue::Impl::gone(int rank, Watch& watch) const {
  if (check({key("left", rank)})) return true;
  const Clock::time_point now = Clock::now();
  const int64_t pulses = add(key("pulse", rank), 0);
  if (pulses == 0) return now - opened >= timeout;
  if (pulses != watch.claims) watch = {pulses, now};
  const Seconds share = own_finished == 0 ? Seconds(0) : own_time / double(own_finished);
  return now - watch.since >= std::max(kLeastQuiet, 2 * share);
}

WorkQueue::WorkQueue(const ProcessGroup& group, const std::string& job, int64_t shares,
                     double timeout_seconds)
    : impl_(std::make_unique<Impl>()) {
  TORCH_CHECK(shares >= 0 || (shares == kAsRankZero && group.rank != 0), shares, " shares");
  if (group.size > 1) impl_->quiet.emplace();
  impl_->group = group;
  impl_->prefix = "hornet/" + group.run + "/" + job + "/";
  impl_->timeout = Seconds(timeout_seconds);
  impl_->shares = shares;
  if (shares != kAsRankZero) impl_->set_shares(shares);
  impl_->store = open_store(group, impl_->timeout);
  impl_->pulse();
}

WorkQueue::~WorkQueue() {
  if (impl_->group.rank == 0 || impl_->lost) return;
  try {
    impl_->set(impl_->key("left", impl_->group.rank), "left");
  } catch (const std::exception&) {  // rank 0 has gone first
  }
}

void WorkQueue::skip(int64_t share, const std::string& result) {
  TORCH_CHECK(impl_->group.rank == 0 && !impl_->started, "skip() is rank 0's, before start()");
  impl_->put_result(share, result);
}

void WorkQueue::start(const std::string& plan) {
  if (impl_->group.rank != 0 || impl_->started) return;
  impl_->set(impl_->key("plan"), "=" + plan);  // the mark in front: values must not be empty
  impl_->set(impl_->key("started"), std::to_string(impl_->shares));
  impl_->started = true;
}

std::optional<std::string> WorkQueue::plan(const std::function<bool()>& stop) {
  start();
  if (!impl_->await_start(stop)) return std::nullopt;
  return impl_->get(impl_->key("plan")).substr(1);
}

std::optional<int64_t> WorkQueue::next(const std::function<bool()>& stop) {
  start();
  if (!impl_->await_start(stop)) return std::nullopt;
  while (!(stop && stop())) {
    if (const auto share = impl_->hand_out()) return share;
    if (impl_->all_done()) return std::nullopt;
    if (const auto share = impl_->take_over()) return share;
    impl_->pulse();
    std::this_thread::sleep_for(kPoll);
  }
  return std::nullopt;
}

bool WorkQueue::is_done(int64_t share) {
  impl_->check_share(share);
  impl_->pulse();
  return impl_->check({impl_->key("done", share)});
}

void WorkQueue::finish(int64_t share, const std::string& result) {
  const bool first = impl_->put_result(share, result);
  const auto begun = impl_->own.find(share);
  if (begun == impl_->own.end()) return;
  if (first) {
    impl_->own_time += Clock::now() - begun->second;
    ++impl_->own_finished;
  }
  impl_->own.erase(begun);
}

std::vector<std::string> WorkQueue::results() {
  TORCH_CHECK(impl_->all_done(), "results() before all shares are finished");
  std::vector<std::string> results;
  for (int64_t share = 0; share < impl_->shares; ++share) {
    const std::string marked = impl_->get(impl_->key("done", share));
    results.push_back(marked.substr(marked.find('=', 1) + 1));
  }
  return results;
}

void WorkQueue::wait_for_others() {
  if (impl_->group.rank != 0 || impl_->group.agent_store) return;
  std::vector<std::pair<int, Watch>> others;
  for (int rank = 1; rank < impl_->group.size; ++rank) others.emplace_back(rank, Watch{});
  for (;;) {
    const auto is_gone = [&](auto& other) { return impl_->gone(other.first, other.second); };
    others.erase(std::remove_if(others.begin(), others.end(), is_gone), others.end());
    if (others.empty()) return;
    std::this_thread::sleep_for(kPoll);
  }
}

}  // namespace hornet
