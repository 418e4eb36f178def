#define HORNET_LANES 8
#define HORNET_REGISTERS 16
#define HORNET_BF16
#include <hornet/backbone/plan/products_source.h>

namespace hornet::plan {

extern const ProductKernels kAvx2Bf16Products;
const ProductKernels kAvx2Bf16Products = kProducts;

}  // namespace hornet::plan
