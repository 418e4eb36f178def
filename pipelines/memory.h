// How the program's subcommands that run a network over and over treat freed memory.
#pragma once

namespace hornet::cli {

// Every step takes and frees the same hundreds of megabytes. What is given back to the system comes
// again page by page and zeroed, a fifth of the time of a training step; so it is kept from now on.
// Without effect where malloc is not glibc's.
void keep_freed_memory();

}  // namespace hornet::cli
