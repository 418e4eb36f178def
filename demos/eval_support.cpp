#include <hornet/backbone/error.h>
#include <hornet/pipelines/bounded_queue.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/stages.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <thread>

#include "demos/eval_job.h"

namespace hornet::cli {
namespace {

constexpr size_t kBatchesAhead = 2;

struct Batch {
  std::vector<EvalItem> items;
  std::vector<SkippedItem> skipped;
  size_t size() const { return items.size() + skipped.size(); }
};

Batch load_batch(const EvalJob& job, size_t begin, size_t end,
                 const std::function<EvalItem(size_t)>& load) {
  Batch batch;
  for (size_t i = begin; i < end; ++i) {
    try {
      batch.items.push_back(load(i));
    } catch (const Error& error) {
      if (!job.skip_unreadable || error.code() != ErrorCode::kInput) throw;
      batch.skipped.push_back({i, error.what()});
    }
  }
  return batch;
}

// A thread that fills a queue, and ends with this.
class Reader {
 public:
  template <typename Body>
  Reader(BoundedQueue<Batch>& queue, Body body)
      : queue_(queue), thread_([&queue, body] {
          keep_to_one_core();
          fill(queue, body);
        }) {}
  ~Reader() {
    queue_.cancel();
    thread_.join();
  }

 private:
  BoundedQueue<Batch>& queue_;
  std::thread thread_;
};

bool exists(double figure) { return !std::isnan(figure) && figure >= 0; }

}  // namespace

std::vector<SkippedItem> for_each_batch(const EvalJob& job, size_t count,
                                        const std::function<EvalItem(size_t)>& load,
                                        const std::function<void(std::vector<EvalItem>&)>& use) {
  const InterruptGuard guard;
  const auto step = static_cast<size_t>(job.batch_size);
  Progress progress({job.progress, "eval", static_cast<int64_t>(count), "images"});
  BoundedQueue<Batch> batches(kBatchesAhead);
  const Reader reader(batches, [&] {
    for (size_t begin = 0; begin < count; begin += step) {
      if (!batches.push(load_batch(job, begin, std::min(count, begin + step), load))) return;
    }
  });
  std::vector<SkippedItem> skipped;
  size_t done = 0;
  while (std::optional<Batch> batch = batches.pop()) {
    if (!batch->items.empty()) use(batch->items);
    skipped.insert(skipped.end(), batch->skipped.begin(), batch->skipped.end());
    done += batch->size();
    progress.advance(static_cast<int64_t>(batch->size()));
    if (!interrupted() || done == count) continue;
    progress.finish();
    throw Error(ErrorCode::kInterrupted, "interrupted after " + std::to_string(done) + " of " +
                                             std::to_string(count) +
                                             " images; no figures are written");
  }
  progress.finish();
  return skipped;
}

void announce(const std::string& model, const weights::LoadReport& report,
              const std::string& device) {
  std::cerr << "hornet: " << model << ", " << report.table() << ", " << device << '\n';
}

std::string figure_text(double figure) {
  if (!exists(figure)) return "-";
  char text[32];
  std::snprintf(text, sizeof(text), "%.4f", figure);
  return text;
}

nlohmann::ordered_json figure_json(double figure) {
  return exists(figure) ? nlohmann::ordered_json(figure) : nlohmann::ordered_json();
}

std::string table_text(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - row[i].size(), ' ');
      text += i == 0 ? row[i] + padding : "  " + padding + row[i];
    }
    text += '\n';
  }
  return text;
}

}  // namespace hornet::cli
