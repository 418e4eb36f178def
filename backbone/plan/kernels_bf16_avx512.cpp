#define HORNET_LANES 16
#define HORNET_REGISTERS 32
#define HORNET_BF16
#include <hornet/backbone/plan/products_source.h>

namespace hornet::plan {

extern const ProductKernels kAvx512Bf16Products;
const ProductKernels kAvx512Bf16Products = kProducts;

}  // namespace hornet::plan
