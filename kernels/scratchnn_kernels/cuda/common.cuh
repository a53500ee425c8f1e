// What all kernels share: 16 bytes at a time, and numbers that NVRTC does not name.
#pragma once
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

// As many numbers as one instruction loads or stores.
template <class T> struct __align__(16) Pack {
  static constexpr int SIZE = 16 / sizeof(T);
  T value[SIZE];
};

template <class T> __device__ bool aligned(const T *p) { return (size_t)p % 16 == 0; }

__device__ inline int thread_of_grid() { return blockIdx.x * blockDim.x + threadIdx.x; }
