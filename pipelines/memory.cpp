#include <hornet/pipelines/memory.h>
#include <malloc.h>

namespace hornet {

void keep_freed_memory() {
#ifdef M_MMAP_MAX
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
#endif
}

}  // namespace hornet
