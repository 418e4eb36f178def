// Where and in which arithmetic a model runs, in words: what runtime.h makes a Runtime of. Apart
// from it because programs that only say so need no LibTorch headers.
#pragma once

#include <string>

namespace hornet {

struct RuntimeOptions {
  std::string device = "auto";  // cpu, cuda, cuda:N; auto: the first GPU, or the CPU
  std::string dtype = "fp32";   // fp32, tf32 (on GPUs), bf16, fp16
};

// How many GPUs this process sees.
int gpu_count();

// The device of one process among several of a host: where `device` leaves that open (auto, cuda),
// a GPU of its own of `gpus`.
std::string own_device(const std::string& device, int local_rank, int gpus);

// Whether bf16 is asked for on a CPU that has no instructions for it: float32 is faster there, and
// more precise.
bool lacks_bf16(const RuntimeOptions& options);

}  // namespace hornet
