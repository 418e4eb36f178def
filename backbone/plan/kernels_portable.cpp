#define HORNET_LANES 4
#define HORNET_REGISTERS 16
#include <hornet/backbone/plan/kernels_source.h>

namespace hornet::plan {

extern const Kernels kPortableKernels;
const Kernels kPortableKernels = kKernels;

}  // namespace hornet::plan
