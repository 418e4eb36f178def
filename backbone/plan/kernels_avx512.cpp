#define HORNET_LANES 16
#define HORNET_REGISTERS 32
#include <hornet/backbone/plan/kernels_source.h>

namespace hornet::plan {

extern const Kernels kAvx512Kernels;
const Kernels kAvx512Kernels = make_kernels(CpuLevel::kAvx512);

}  // namespace hornet::plan
