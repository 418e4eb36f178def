#include <hornet/pipelines/stages.h>
#ifdef _OPENMP
#include <omp.h>
#endif

namespace hornet {

// The number of threads is each thread's own in OpenMP, which is what LibTorch asks.
void keep_to_one_core() {
#ifdef _OPENMP
  omp_set_num_threads(1);
#endif
}

}  // namespace hornet
