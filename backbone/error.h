// What a user can fix: a file, a key, an option.
//
// Everything in HorNet that fails because of its input throws hornet::Error with one sentence
// that names the thing, what was expected, what was found and what to try. The code doubles as
// the exit code of the program `hornet`. Contracts between parts of the library are TORCH_CHECKs
// and throw c10::Error; reaching one of them is a bug in the caller.
#pragma once

#include <stdexcept>
#include <string>

namespace hornet {

enum class ErrorCode {
  kRuntime = 1,       // anything that has no better code
  kUsage = 2,         // an unknown option, a value outside its range
  kInput = 3,         // an image, video, raster or tensor file that cannot be read
  kWeights = 4,       // a checkpoint that cannot be read, or is of another model
  kDevice = 5,        // no such device, or out of memory
  kPartial = 6,       // some inputs failed; the results of the rest are written
  kOutput = 7,        // an output that exists already or cannot be written
  kInterrupted = 130  // Ctrl-C or SIGTERM; what was finished is written
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace hornet
