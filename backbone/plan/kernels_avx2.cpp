#define HORNET_LANES 8
#define HORNET_REGISTERS 16
#include <hornet/backbone/plan/kernels_source.h>

namespace hornet::plan {

extern const Kernels kAvx2Kernels;
const Kernels kAvx2Kernels = kKernels;

}  // namespace hornet::plan
