#define HORNET_LANES 4
#define HORNET_REGISTERS 16
#define HORNET_BF16
#include <hornet/backbone/plan/products_source.h>

namespace hornet::plan {

extern const ProductKernels kPortableBf16Products;
const ProductKernels kPortableBf16Products = kProducts;

}  // namespace hornet::plan
