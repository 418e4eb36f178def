// How a process that runs networks over and over treats freed memory.
#pragma once

namespace hornet {

// Every run takes and frees the same hundreds of megabytes. What is given back to the system comes
// again page by page and zeroed, a fifth of the time of a training step; so it is kept from now on,
// and the process stays as large as its largest run. For the start of a program, as `hornet` does
// itself. Without effect where malloc is not glibc's.
void keep_freed_memory();

}  // namespace hornet
