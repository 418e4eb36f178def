#pragma once

#include <hornet/backbone/error.h>

#include <string>

namespace hornet::internal {

[[noreturn]] inline void fail_input(const std::string& what) {
  throw Error(ErrorCode::kInput, what);
}

}  // namespace hornet::internal
