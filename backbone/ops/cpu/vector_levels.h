// HORNET_VECTOR_LEVELS before a function: the compiler makes one copy of it for each level, and the
// loader takes the best that the processor has. None of them has fused multiply-adds: all levels
// give the same bits.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#define HORNET_VECTOR_LEVELS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define HORNET_VECTOR_LEVELS
#endif
