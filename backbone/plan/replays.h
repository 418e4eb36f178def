// Forward passes that a device can repeat by itself, one for each size of input: at batch 1 a GPU
// computes faster than a host can tell it what to do next. On CUDA a replay is a CUDA graph.
//
//   Replays replays;
//   Features maps = replays.run(images, at::kHalf, [&](const at::Tensor& input) { return ...; });
//
// The first pass of a size runs as it is, the second is captured, further ones are replayed. The
// last kSizes sizes are kept, for each stream and precision of float32 products apart. Where a
// device has no way to capture, or capturing fails, all passes run as they are.
#pragma once

#include <ATen/core/Tensor.h>
#include <hornet/backbone/backbone.h>

#include <functional>
#include <list>
#include <memory>

namespace hornet::plan {

class Replay {
 public:
  virtual ~Replay() = default;
  virtual void run() = 0;  // queues the work on the current stream
};

// Runs `work`, perhaps more than once, and captures what it does on a device: always with the same
// memory.
using Capture = std::function<std::unique_ptr<Replay>(const c10::Device& device,
                                                      const std::function<void()>& work)>;

// How devices of a type capture; an empty one takes it back. The CUDA half does this when loaded.
void register_capture(c10::DeviceType type, Capture capture);

class Replays {
 public:
  static constexpr size_t kSizes = 4;
  using Work = std::function<Features(const at::Tensor& input)>;

  // work(images as `type` in channels-last order), or what it wrote, copied. Work must depend on
  // nothing but its input and what stays as it is as long as this lives, or it holds itself.
  Features run(const at::Tensor& images, at::ScalarType type, const Work& work);

  size_t captured() const;
  int64_t bytes() const;  // inputs and outputs; intermediate maps lie in the device's own pool

 private:
  struct Key;
  struct Entry;
  Entry& entry_for(const at::Tensor& images);

  std::list<std::shared_ptr<Entry>> entries_;  // the last one used in front
};

}  // namespace hornet::plan
