// Where and in which arithmetic a model runs, in words: what runtime.h makes a Runtime of. Apart
// from it because programs that only say so need no LibTorch headers.
#pragma once

#include <string>

namespace hornet {

struct RuntimeOptions {
  std::string device = "auto";  // cpu, cuda, cuda:N; auto: the first GPU, or the CPU
  std::string dtype = "fp32";   // fp32, bf16, fp16
};

}  // namespace hornet
