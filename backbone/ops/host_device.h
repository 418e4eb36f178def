// Marks the arithmetic that the CPU and the CUDA kernels of an op share.
#pragma once

#ifdef __CUDACC__
#define HORNET_HOST_DEVICE __host__ __device__
#else
#define HORNET_HOST_DEVICE
#endif
