// HORNET_VECTOR_LEVELS before a function: the compiler makes one copy of it for each level, and the
// loader takes the best that the processor has. In sources that are compiled with
// -ffp-contract=off all levels give the same bits; else AVX512 fuses multiplications and additions,
// but not those of a loop's last elements.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#define HORNET_VECTOR_LEVELS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define HORNET_VECTOR_LEVELS
#endif
