#define HORNET_LANES 16
#define HORNET_REGISTERS 32
#define HORNET_BF16
#define HORNET_TILES
#include <hornet/backbone/plan/products_source.h>

namespace hornet::plan {

extern const ProductKernels kAmxProducts;
const ProductKernels kAmxProducts = kProducts;

}  // namespace hornet::plan
