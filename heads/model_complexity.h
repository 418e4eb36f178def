// Parameters and FLOPs of a recognised or published model: complexity.h's arithmetic on an
// Architecture. A HorNet backbone alone is counted as the classifier without its head.
#pragma once

#include <hornet/heads/complexity.h>
#include <hornet/heads/model.h>

namespace hornet {

Complexity model_complexity(const Architecture& architecture, GridSize input);

}  // namespace hornet
