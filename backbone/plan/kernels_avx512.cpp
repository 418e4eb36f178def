#define HORNET_LANES 16
#define HORNET_REGISTERS 32
#include <hornet/backbone/plan/kernels_source.h>

namespace hornet::plan {

extern const Kernels kAvx512Kernels;
const Kernels kAvx512Kernels = kKernels;

}  // namespace hornet::plan
